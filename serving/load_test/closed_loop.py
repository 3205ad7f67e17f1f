# SPDX-License-Identifier: Apache-2.0
"""Closed-loop load: every caller sends its next request when its last one is answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from serving.client.transports import Endpoint, PredictionError
from serving.load_test.level import Level
from serving.load_test.record import Record

# One answer in so many is decoded; all of them would make the client the limit.
SAMPLED = 16

Exchange = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True)
class Requests:
    """What is sent: encoded bodies of `rows` rows each, and the check of an answer, which raises PredictionError."""

    bodies: Sequence[bytes]
    rows: int
    check: Callable[[bytes], object]

    def starting_at(self, place: float) -> Iterator[bytes]:
        """The bodies again and again, from `place` between 0 and 1 on, so that callers do not send the same ones."""
        return islice(cycle(self.bodies), int(place * len(self.bodies)), None)


class ClosedLoop:
    """The load of one level.

    Args:
        exchange: sends an encoded body and gives the encoded answer, or raises PredictionError.
        concurrency: how many callers there are.
        requests: what they send.
        endpoint: whom they ask, and how long an answer may take; a later one is a failure, however busy the client was.
    """

    def __init__(self, exchange: Exchange, concurrency: int, requests: Requests, endpoint: Endpoint) -> None:
        self._exchange = exchange
        self._endpoint = endpoint
        self._requests = requests
        self._bodies = [requests.starting_at(caller / concurrency) for caller in range(concurrency)]
        self._records: list[Record] = []
        self._client_cpu = 0.0

    async def run(self, seconds: float) -> None:
        """Starts measuring anew, sends requests for so many seconds, at least one a caller, and awaits their answers."""
        self._records = [Record() for _ in self._bodies]
        callers = zip(self._bodies, self._records, strict=True)
        began, worked = time.perf_counter(), time.thread_time()
        try:
            await asyncio.gather(*(self._call(began, seconds, *caller) for caller in callers))
        finally:
            self._client_cpu = (time.thread_time() - worked) / (time.perf_counter() - began)

    def level(self) -> Level | None:
        """What the last `run` measured, also one that was cancelled; None where it saw no answer and no failure."""
        if not any(record.seconds for record in self._records):
            return None
        return Level.of(self._records, self._requests.rows, self._client_cpu)

    async def _call(self, began: float, seconds: float, bodies: Iterator[bytes], record: Record) -> None:
        number = 0
        while record.seconds < seconds or not number:
            body = next(bodies)
            sent = time.perf_counter()
            try:
                answer = await self._exchange(body)
                latency = time.perf_counter() - sent
                if latency > self._endpoint.timeout:
                    raise self._endpoint.too_late()
                if number % SAMPLED == 0:
                    self._requests.check(answer)
            except PredictionError as error:
                record.failed(error.code, str(error))
            else:
                record.succeeded(latency)
            number += 1
            record.seconds = time.perf_counter() - began
