# SPDX-License-Identifier: Apache-2.0
"""The client library for programs with an event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType

import numpy as np
from typing_extensions import Self

from serving.client.base_client import BaseClient
from serving.client.grpc_transport import AsyncGrpcTransport
from serving.client.rest_transport import AsyncRestTransport
from serving.client.tables import Rows, Table, read_table
from serving.client.transports import AsyncTransport, Endpoint, ModelSignature, PredictionError

__all__ = ["AsyncClient", "PredictionError"]

# How many requests of one large call are under way at once: enough that the server never waits for the client.
CONCURRENCY = 4


class AsyncClient(BaseClient[AsyncTransport]):
    """`Client` for asyncio: the same arguments, in an `async with` statement; belongs to the event loop of its first request.

    Any number of calls may run at once. A time-out is noticed when the event loop is free: where other work holds the loop up,
    a call ends that much later, with its answer if that came meanwhile.
    """

    async def signature(self) -> ModelSignature:
        """What the model takes and gives; asked of the server once, and again after rows or answers that did not fit.

        Raises:
            PredictionError: the server is down, or does not serve the model.
            UsageError: the client is closed.
        """
        signature = self._signature
        if signature is None:
            answer = await self._send(self._transport.metadata)
            signature = self._signature = self._codec.decode_signature(answer)
        return signature

    async def predict(self, rows: Rows) -> dict[str, np.ndarray]:
        """Asks what the model says of rows, 4 requests of `batch_size` rows at once.

        Args:
            rows: as for `Client.predict`; many thousands of them keep the event loop busy while they are converted.

        Returns:
            Probabilities by binary task and values by regression task, float32 `[rows]`, and `score` where the export has one.

        Raises:
            PredictionError: the rows do not fit the model, or the server cannot be asked.
            UsageError: the client is closed.
        """
        signature = await self.signature()
        try:
            # Some kinds of rows can be read once only.
            table = read_table(rows, signature.inputs)
            parts = await self._ask(table, signature)
            if not self._batches.are_of(parts, signature):
                known, self._signature = signature, None
                signature = await self.signature()
                if signature != known:
                    parts = await self._ask(table, signature)
            return self._batches.join(parts, signature)
        except PredictionError as error:
            self._learn(error)
            raise

    async def close(self) -> None:
        """Ends the connection; the client cannot be used any more."""
        self._closed = True
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, table: Table, signature: ModelSignature) -> list[dict[str, np.ndarray]]:
        batches = enumerate(self._batches.split(table, signature))
        parts: dict[int, dict[str, np.ndarray]] = {}

        async def ask_in_turn() -> None:
            for number, batch in batches:
                answer = await self._send(partial(self._transport.exchange, batch.body))
                parts[number] = self._batches.read(answer, batch, signature)

        await _together([ask_in_turn() for _ in range(CONCURRENCY)])
        return [parts[number] for number in sorted(parts)]

    def _connect(self, endpoint: Endpoint, rest: bool) -> AsyncTransport:
        return AsyncRestTransport(endpoint) if rest else AsyncGrpcTransport(endpoint)

    async def _send(self, exchange: Callable[[float], Awaitable[bytes]]) -> bytes:
        attempts = self._begin()
        while True:
            try:
                return await exchange(attempts.seconds_left())
            except PredictionError as failure:
                pause = attempts.pause_after(failure)
            await asyncio.sleep(pause)


async def _together(works: list[Awaitable[None]]) -> None:
    """Awaits all of them; the first failure ends the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
