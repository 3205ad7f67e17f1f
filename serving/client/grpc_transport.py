# SPDX-License-Identifier: Apache-2.0
"""Sending through gRPC, for programs with and without an event loop."""

from functools import cached_property
from typing import Any

import grpc
import grpc.aio

from serving.client.grpc_codec import GrpcCodec
from serving.client.transports import MAX_ANSWER_BYTES, Endpoint, PredictionError

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # By default a client that met a server which was down for a moment stays away for up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # By default all requests go to one of a name's addresses; behind a headless service each is a replica.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
]
# What gRPC says of a server that has no room for another request on the connection (REFUSED_STREAM of HTTP/2).
_REFUSED_STREAM = "RST_STREAM with error code 7"
_TOO_LARGE = "message larger than max"


class GrpcTransport:
    """Sends to PredictionService through one connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._codec = GrpcCodec(endpoint)
        self._channel = grpc.insecure_channel(endpoint.address, OPTIONS)

    def exchange(self, body: bytes, timeout: float | None = None) -> bytes:
        """Asks Predict. Raises: PredictionError."""
        return self._call(PREDICT, body, timeout)

    def metadata(self, timeout: float | None = None) -> bytes:
        """Asks GetModelMetadata. Raises: PredictionError."""
        return self._call(METADATA, self._codec.encode_metadata(), timeout)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _call(self, method: str, body: bytes, timeout: float | None) -> bytes:
        # Bodies stay bytes here: gRPC logs a traceback when a deserializer of its own fails.
        try:
            return bytes(self._channel.unary_unary(method)(body, timeout=timeout or self._endpoint.timeout))
        except grpc.RpcError as error:
            raise _failure(self._endpoint, error) from error


class AsyncGrpcTransport:
    """Sends to PredictionService through one connection, in the event loop of the first request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._codec = GrpcCodec(endpoint)

    async def exchange(self, body: bytes, timeout: float | None = None) -> bytes:
        """Asks Predict. Raises: PredictionError."""
        return await self._call(PREDICT, body, timeout)

    async def metadata(self, timeout: float | None = None) -> bytes:
        """Asks GetModelMetadata. Raises: PredictionError."""
        return await self._call(METADATA, self._codec.encode_metadata(), timeout)

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    @cached_property
    def _channel(self) -> Any:
        # A channel belongs to the event loop that runs when it is made.
        return grpc.aio.insecure_channel(self._endpoint.address, OPTIONS)

    async def _call(self, method: str, body: bytes, timeout: float | None) -> bytes:
        try:
            return bytes(await self._channel.unary_unary(method)(body, timeout=timeout or self._endpoint.timeout))
        except grpc.RpcError as error:
            raise _failure(self._endpoint, error) from error


def _failure(endpoint: Endpoint, error: Any) -> PredictionError:
    code, details = error.code(), error.details()
    reason = " ".join(details.split()) or code.name
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return endpoint.too_late()
    if _REFUSED_STREAM in reason:
        return endpoint.busy(reason)
    if _TOO_LARGE in reason:
        reason += "; give fewer rows in a request (`batch_size`)"
    return endpoint.failure(code.name, reason)
