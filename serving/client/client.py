# SPDX-License-Identifier: Apache-2.0
"""The client library: rows of raw features in, probabilities and values by task out, through gRPC or REST."""

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType

import numpy as np
from typing_extensions import Self

from serving.client.base_client import BaseClient
from serving.client.grpc_transport import GrpcTransport
from serving.client.rest_transport import RestTransport
from serving.client.tables import Rows, Table, read_table
from serving.client.transports import Endpoint, ModelSignature, PredictionError, Transport

__all__ = ["Client", "PredictionError"]


class Client(BaseClient[Transport]):
    """A connection to TF Serving, or to the local server, for one model; use it in a `with` statement.

    Threads may share a client. Processes must not: make it after a fork, in the process that uses it.

    Args:
        address: HOST:PORT of the server's gRPC port, or of its REST port when `rest`.
        model: the name under which the server has the model.
        rest: whether to talk REST instead of gRPC.
        timeout: seconds that each request may take, its repetitions and the pauses between them included. A call is one
            request for every `batch_size` rows; the first call also asks once what the model takes.
        version: the version to ask; the newest one when neither it nor `label` is given.
        label: the version to ask by its label, such as `stable`.
        retries: how often a request is sent again, after growing pauses, when nothing is listening, the connection breaks, or
            the server has no room for it (UNAVAILABLE in gRPC, 503 and 429 in REST). Nothing else is repeated, but for a call
            whose answers show that the model gives other outputs by now: that is asked once more.
        batch_size: rows in a request; a server that batches must take so many in one.

    Raises:
        UsageError: the address is not HOST:PORT, a number is out of range, a name cannot be sent, or both a version and a
            label are given.
    """

    @property
    def signature(self) -> ModelSignature:
        """What the model takes and gives; asked of the server once, and again after rows or answers that did not fit.

        Raises:
            PredictionError: the server is down, or does not serve the model.
            UsageError: the client is closed.
        """
        signature = self._signature
        if signature is None:
            signature = self._signature = self._codec.decode_signature(self._send(self._transport.metadata))
        return signature

    def predict(self, rows: Rows) -> dict[str, np.ndarray]:
        """Asks what the model says of rows, one request of `batch_size` rows after the other.

        Args:
            rows: one row, a list of rows, columns by feature, a pandas DataFrame or an Arrow table; see
                `serving.client.tables`.

        Returns:
            Probabilities by binary task and values by regression task, float32 `[rows]`, and `score` where the export has one.

        Raises:
            PredictionError: the rows do not fit the model, or the server cannot be asked.
            UsageError: the client is closed.
        """
        signature = self.signature
        try:
            # Some kinds of rows can be read once only.
            table = read_table(rows, signature.inputs)
            parts = self._ask(table, signature)
            if not self._batches.are_of(parts, signature):
                known, self._signature = signature, None
                signature = self.signature
                if signature != known:
                    parts = self._ask(table, signature)
            return self._batches.join(parts, signature)
        except PredictionError as error:
            self._learn(error)
            raise

    def close(self) -> None:
        """Ends the connection; the client cannot be used any more."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, table: Table, signature: ModelSignature) -> list[dict[str, np.ndarray]]:
        parts = []
        for batch in self._batches.split(table, signature):
            answer = self._send(partial(self._transport.exchange, batch.body))
            parts.append(self._batches.read(answer, batch, signature))
        return parts

    def _connect(self, endpoint: Endpoint, rest: bool) -> Transport:
        return RestTransport(endpoint) if rest else GrpcTransport(endpoint)

    def _send(self, exchange: Callable[[float], bytes]) -> bytes:
        attempts = self._begin()
        while True:
            try:
                return exchange(attempts.seconds_left())
            except PredictionError as failure:
                pause = attempts.pause_after(failure)
            time.sleep(pause)
