# SPDX-License-Identifier: Apache-2.0
"""Sending through REST, for programs with and without an event loop."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import quote

import httpcore

from serving.client.deadline_stream import Deadline, DeadlineBackend
from serving.client.transports import MAX_ANSWER_BYTES, Endpoint

HEADERS = [("content-type", "application/json")]
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestTransport:
    """Sends through a connection a thread, each of them kept for the next request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._deadline = Deadline()
        self._pool = httpcore.ConnectionPool(max_connections=None, network_backend=DeadlineBackend(self._deadline))

    def exchange(self, body: bytes, timeout: float | None = None) -> bytes:
        """Asks `:predict`. Raises: PredictionError."""
        return self._call("POST", ":predict", body, timeout)

    def metadata(self, timeout: float | None = None) -> bytes:
        """Asks `/metadata`. Raises: PredictionError."""
        return self._call("GET", "/metadata", None, timeout)

    def close(self) -> None:
        """Ends the connections."""
        self._pool.close()

    def _call(self, method: str, suffix: str, body: bytes | None, timeout: float | None) -> bytes:
        self._deadline.set(timeout or self._endpoint.timeout)
        answer = _Answer(self._endpoint)
        with (
            _failures(self._endpoint),
            self._pool.stream(method, _url(self._endpoint, suffix), headers=HEADERS, content=body) as response,
        ):
            for part in response.iter_stream():
                answer.add(part)
        return answer.content(response.status)


class AsyncRestTransport:
    """Sends through as many connections as requests run at once, each of them kept for the next one."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._pool = httpcore.AsyncConnectionPool(max_connections=None)

    async def exchange(self, body: bytes, timeout: float | None = None) -> bytes:
        """Asks `:predict`. Raises: PredictionError."""
        return await self._call("POST", ":predict", body, timeout)

    async def metadata(self, timeout: float | None = None) -> bytes:
        """Asks `/metadata`. Raises: PredictionError."""
        return await self._call("GET", "/metadata", None, timeout)

    async def close(self) -> None:
        """Ends the connections."""
        await self._pool.aclose()

    async def _call(self, method: str, suffix: str, body: bytes | None, timeout: float | None) -> bytes:
        with _failures(self._endpoint):
            return await asyncio.wait_for(
                self._send(method, _url(self._endpoint, suffix), body), timeout or self._endpoint.timeout
            )

    async def _send(self, method: str, url: str, body: bytes | None) -> bytes:
        answer = _Answer(self._endpoint)
        async with self._pool.stream(method, url, headers=HEADERS, content=body) as response:
            async for part in response.aiter_stream():
                answer.add(part)
        return answer.content(response.status)


class _Answer:
    """A body on its way."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._content = bytearray()

    def add(self, part: bytes) -> None:
        self._content += part
        if len(self._content) > MAX_ANSWER_BYTES:
            raise self._endpoint.refused(f"its answer has more than {MAX_ANSWER_BYTES} bytes; is it TF Serving's REST port?")

    def content(self, status: int) -> bytes:
        if status == 200:
            return bytes(self._content)
        try:
            reason = str(json.loads(self._content)["error"])
        except (KeyError, TypeError, ValueError, RecursionError):
            reason = "no reason given; is it TF Serving's REST port?"
        told = f"HTTP status {status}: {' '.join(reason.split())[:1000]}"
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise self._endpoint.busy(told, CODES[status])
        raise self._endpoint.failure(CODES.get(status, "INTERNAL"), told)


@contextmanager
def _failures(endpoint: Endpoint) -> Iterator[None]:
    """Errors of the way to the server as PredictionError."""
    try:
        yield
    except (httpcore.TimeoutException, asyncio.TimeoutError) as error:
        raise endpoint.too_late() from error
    except httpcore.ConnectError as error:
        raise endpoint.unavailable(str(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise endpoint.broken_off(str(error)) from error


def _url(endpoint: Endpoint, suffix: str) -> str:
    path = f"http://{endpoint.address}/v1/models/{quote(endpoint.model, safe='')}"
    if endpoint.version is not None:
        path += f"/versions/{endpoint.version}"
    if endpoint.label is not None:
        path += f"/labels/{quote(endpoint.label, safe='')}"
    return path + suffix
