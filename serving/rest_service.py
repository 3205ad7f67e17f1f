"""TF Serving's REST API: predict, status and metadata of a model."""

import json
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.model_store import ModelStore
from serving.rest_tensors import decode_inputs, encode_outputs, parse_body
from serving.signature import RequestError

HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class RestService:
    """Answers REST requests from a model store; bodies may have `max_body` bytes."""

    def __init__(self, store: ModelStore, max_body: int) -> None:
        self._store = store
        self._max_body = max_body

    def application(self) -> Starlette:
        """The ASGI application."""
        routes = []
        for model in ("/v1/models/{model}/versions/{version:int}", "/v1/models/{model}"):
            routes += [
                Route(f"{model}:predict", self._predict, methods=["POST"]),
                Route(f"{model}/metadata", self._metadata, methods=["GET"]),
                Route(model, self._status, methods=["GET"]),
            ]
        handlers = {RequestError: _request_error, HTTPException: _malformed, ClientDisconnect: _disconnected}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _predict(self, request: Request) -> Response:
        body = await self._body(request)
        return await run_in_threadpool(self._predict_body, body, **request.path_params)

    def _predict_body(self, content: bytes, model: str, version: int | None = None) -> Response:
        servable = self._store.servable(model, version)
        body = parse_body(content)
        signature = servable.signature(body.signature_name)
        outputs = servable.predict(signature, decode_inputs(body, signature))
        return _json(encode_outputs(body, outputs))

    def _status(self, request: Request) -> Response:
        return _json(_as_dict(self._store.status(*_model_and_version(request))))

    def _metadata(self, request: Request) -> Response:
        response = self._store.metadata(*_model_and_version(request))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec = response.model_spec
        return _json(
            {
                "model_spec": {"name": spec.name, "signature_name": "", "version": str(spec.version.value)},
                "metadata": {"signature_def": _as_dict(signatures)},
            }
        )

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_body:
                message = f"the request has more than {self._max_body} bytes, which is the limit; send fewer rows at a time"
                raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        return bytes(body)


def _model_and_version(request: Request) -> tuple[str, int | None]:
    return request.path_params["model"], request.path_params.get("version")


def _as_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    # Not starlette's JSONResponse: it refuses NaN, which a model may answer and TF Serving sends.
    return Response(json.dumps(content), status, media_type="application/json")


def _request_error(_request: Request, error: Exception) -> Response:
    code = error.code if isinstance(error, RequestError) else grpc.StatusCode.INTERNAL
    return _json({"error": str(error)}, HTTP_CODES.get(code, 500))


def _malformed(request: Request, _error: Exception) -> Response:
    """TF Serving calls a path or method that its API does not have malformed."""
    return _json({"error": f"Malformed request: {request.method} {request.url.path}"}, 400)


def _disconnected(_request: Request, _error: Exception) -> Response:
    return _json({"error": "the client closed the connection"}, 400)
