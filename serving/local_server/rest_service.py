# SPDX-License-Identifier: Apache-2.0
"""TF Serving's REST API: predict, status and metadata of a model."""

import asyncio
import json
import re
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.local_server.budget import Budget, Hold
from serving.local_server.model_store import ModelStore
from serving.local_server.rest_tensors import decode_inputs, encode_outputs, parse_body
from serving.local_server.signature import RequestError, invalid, no_label
from serving.local_server.workers import Workers
from tf_crossdistil.model_versions import HIGHEST_VERSION

# As TF Serving maps them; every other one is 500.
HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# A body may be silent for this time, as the server may be busy, and must come at this rate on the whole.
READ_SECONDS = 10
BYTES_A_SECOND = 1 << 18

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT_PATH = re.compile(_MODEL + ":(?P<action>predict|classify|regress)", re.IGNORECASE | re.ASCII)
_MODEL_PATH = re.compile(_MODEL + "(?:/(?P<action>metadata))?", re.IGNORECASE | re.ASCII)
_PATHS = {"POST": _PREDICT_PATH, "GET": _MODEL_PATH}


@dataclass(frozen=True)
class Call:
    """What a path asks of which model; `action` is `status` for the model's bare path."""

    action: str
    model: str
    version: int | None

    @classmethod
    def from_path(cls, method: str, path: str) -> "Call":
        """Reads a path, still percent-encoded.

        Raises:
            RequestError: TF Serving's API does not have the method and path.
        """
        pattern = _PATHS.get(method)
        if pattern is None or (found := pattern.fullmatch(path)) is None:
            raise invalid(f"Malformed request: {method} {path}")
        if label := found["label"]:
            raise no_label(unquote(label))
        version = found["version"]
        # A number of more digits than Python would convert is one, too.
        if version is not None and (len(version) > len(str(HIGHEST_VERSION)) or int(version) > HIGHEST_VERSION):
            raise invalid(f"Failed to convert version: {version} to numeric.")
        return cls((found["action"] or "status").lower(), unquote(found["name"]), None if version is None else int(version))


class BodyError(Exception):
    """A body that cannot be read, and the status that HTTP has for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RestService:
    """An ASGI application that answers REST requests from a model store; a body may have `max_body` bytes."""

    def __init__(self, store: ModelStore, workers: Workers, budget: Budget, max_body: int) -> None:
        self._store = store
        self._workers = workers
        self._budget = budget
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except BodyError as error:
            response = _error(str(error), error.status)
        except RequestError as error:
            response = _error(str(error), HTTP_CODES.get(error.code, 500))
        except Exception as error:
            traceback.print_exc()
            response = _error(f"internal error: {error!r}", 500)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        call = Call.from_path(request.method, request.scope["raw_path"].decode("ascii"))
        if call.action == "predict":
            return await self._predict(request, call)
        if call.action not in self._descriptions:
            message = f"the local server has no {call.action}, only predict; TF Serving itself answers it"
            raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
        return await self._workers.run(0, self._descriptions[call.action], self, call)

    async def _predict(self, request: Request, call: Call) -> Response:
        with self._budget.hold() as hold:
            body = await self._read(request, hold)
            return await self._workers.run(len(body), self._predict_body, body, call)

    def _predict_body(self, content: bytearray, call: Call) -> Response:
        with self._store.use(call.model, call.version) as servable:
            body = parse_body(content)
            signature = servable.signature(body.signature_name)
            outputs = servable.predict(signature, decode_inputs(body, signature))
        return _json(encode_outputs(body, outputs))

    def _status(self, call: Call) -> Response:
        return _json(_as_dict(self._store.status(call.model, call.version)))

    def _metadata(self, call: Call) -> Response:
        response = self._store.metadata(call.model, call.version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec = response.model_spec
        return _json(
            {
                "model_spec": {"name": spec.name, "signature_name": "", "version": str(spec.version.value)},
                "metadata": {"signature_def": _as_dict(signatures)},
            }
        )

    _descriptions: dict[str, Callable[["RestService", Call], Response]] = {"status": _status, "metadata": _metadata}

    async def _read(self, request: Request, hold: Hold) -> bytearray:
        """Reads a body; one that is refused is read to its end, for most clients listen only after that."""
        body = bytearray()
        refusal: BodyError | RequestError | None = None
        async for chunk in _in_time(request.stream()):
            if refusal is not None:
                continue
            try:
                self._check_size(len(body) + len(chunk))
                hold.grow_to(len(body) + len(chunk))
                body += chunk
            except (BodyError, RequestError) as error:
                refusal = error
                body.clear()
                hold.release()
        if refusal is not None:
            raise refusal
        return body

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            message = f"the request has more than {self._max_body} bytes, which is the limit; send fewer rows at a time"
            raise BodyError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)


async def _in_time(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks of a body while they come fast enough."""
    loop = asyncio.get_running_loop()
    end = loop.time() + READ_SECONDS
    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks), end - loop.time())
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError as error:
            message = f"the request's body came too slowly: nothing for {READ_SECONDS} seconds, or little for longer"
            raise BodyError(HTTPStatus.REQUEST_TIMEOUT, message) from error
        yield chunk
        end = min(end + len(chunk) / BYTES_A_SECOND, loop.time() + READ_SECONDS)


def _as_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    # Not starlette's JSONResponse: it refuses NaN, which a model may answer and TF Serving sends.
    return Response(json.dumps(content), status, media_type="application/json")


def _error(message: str, status: int) -> Response:
    response = _json({"error": message}, status)
    if status == HTTPStatus.REQUEST_TIMEOUT:
        # What comes after this time would be the rest of the body.
        response.headers["connection"] = "close"
    return response
