# SPDX-License-Identifier: Apache-2.0
"""What the clients with and without an event loop share."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from serving.client.batches import BATCH_SIZE, Batches
from serving.client.grpc_codec import GrpcCodec
from serving.client.rest_codec import RestCodec
from serving.client.retries import RETRIES, Attempts, Retries
from serving.client.transports import TIMEOUT, Codec, Endpoint, ModelSignature, PredictionError
from tf_crossdistil.errors import UsageError

Connection = TypeVar("Connection")


class BaseClient(ABC, Generic[Connection]):
    """A client of one model; `Client` says what the arguments are, and what is raised for wrong ones."""

    def __init__(
        self,
        address: str,
        *,
        model: str,
        rest: bool = False,
        timeout: float = TIMEOUT,
        version: int | None = None,
        label: str | None = None,
        retries: int = RETRIES,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        endpoint = Endpoint(address, model, timeout, version, label)
        self._codec: Codec = RestCodec(endpoint) if rest else GrpcCodec(endpoint)
        self._batches = Batches(endpoint, self._codec, batch_size)
        self._retries = Retries(timeout, retries)
        self._transport = self._connect(endpoint, rest)
        self._signature: ModelSignature | None = None
        self._closed = False

    @abstractmethod
    def _connect(self, endpoint: Endpoint, rest: bool) -> Connection:
        """The transport to send through."""

    def _begin(self) -> Attempts:
        if self._closed:
            raise UsageError("this client is closed; make a new one")
        return self._retries.begin()

    def _learn(self, error: PredictionError) -> None:
        """A server may have a newer version by now, which takes something else: the next call asks what."""
        if error.code in ("INVALID_ARGUMENT", "INTERNAL"):
            self._signature = None
