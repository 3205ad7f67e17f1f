# SPDX-License-Identifier: Apache-2.0
"""The closed loop against transports whose latencies and failures are known."""

import asyncio
import time

import numpy as np
import pytest

from serving.client.transports import Endpoint, PredictionError
from serving.load_test.closed_loop import SAMPLED, ClosedLoop, Requests

BODIES = [b"a", b"b", b"c", b"d"]
DELAY = 0.01
ENDPOINT = Endpoint("127.0.0.1:8500", "ranker")


class FakeServer:
    """Answers after a delay; the failures by the number of the request."""

    def __init__(self, delay=DELAY, failures=None):
        self.delay = delay
        self.failures = failures or (lambda number: None)
        self.received = []
        self.at_once = self.most_at_once = 0

    async def exchange(self, body):
        number = len(self.received)
        self.received.append(body)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.delay)
        self.at_once -= 1
        if failure := self.failures(number):
            raise PredictionError(f"failure {number}", failure)
        return b"answer"


def run(server, concurrency, seconds, check=lambda answer: None, rows=64, endpoint=ENDPOINT):
    loop = ClosedLoop(server.exchange, concurrency, Requests(BODIES, rows, check), endpoint)
    asyncio.run(loop.run(seconds))
    return measured(loop)


def measured(loop):
    level = loop.level()
    assert level is not None
    return level


def test_latency_throughput_and_concurrency_are_the_servers():
    server = FakeServer()
    level = run(server, 8, 0.3)
    assert server.most_at_once == level.concurrency == 8
    assert level.requests == len(server.received)
    assert 1000 * DELAY <= level.latency.p50 <= level.latency.p90 <= level.latency.p99 <= level.latency.max
    # A busy machine makes it slower, nothing makes it faster than the delay.
    assert 0.3 <= level.requests / level.requests_per_second < 3
    assert level.requests_per_second <= 8 / DELAY
    assert level.rows_per_second == pytest.approx(64 * level.requests_per_second)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_each_latency_is_that_of_its_own_request(concurrency):
    """Over many requests; the server measures them too."""
    own = []
    server = FakeServer()

    async def timed(body):
        began = time.perf_counter()
        answer = await server.exchange(body)
        own.append(time.perf_counter() - began)
        return answer

    loop = ClosedLoop(timed, concurrency, Requests(BODIES, 1, lambda answer: None), ENDPOINT)
    asyncio.run(loop.run(0.4))
    latency = measured(loop).latency
    assert len(own) >= 8 * concurrency
    for percentile, received in ((50, latency.p50), (90, latency.p90)):
        assert received == pytest.approx(1000 * np.percentile(own, percentile), abs=3)


@pytest.mark.parametrize("busy", [False, True], ids=["slow server", "busy client"])
def test_an_answer_after_the_timeout_is_an_error(busy):
    """Also one that a transport lets pass."""

    async def exchange(body):
        if body != b"b":
            return b"answer"
        if busy:
            time.sleep(0.1)
        await asyncio.sleep(0.1)
        return b"answer"

    endpoint = Endpoint("127.0.0.1:8500", "ranker", timeout=0.08)
    loop = ClosedLoop(exchange, 1, Requests(BODIES, 1, lambda answer: None), endpoint)
    asyncio.run(loop.run(0.3))
    level = measured(loop)
    assert list(level.errors) == ["DEADLINE_EXCEEDED"] and level.errors["DEADLINE_EXCEEDED"] >= 1
    assert level.latency.max <= 80
    assert level.first_error.startswith("127.0.0.1:8500 did not answer within 0.08 s")


def test_failures_are_counted_and_have_no_latency():
    server = FakeServer(failures=lambda number: {1: "DEADLINE_EXCEEDED", 2: "UNAVAILABLE"}.get(number % 4))
    level = run(server, 4, 0.2)
    codes = [server.failures(number) for number in range(level.requests)]
    assert level.errors == {code: codes.count(code) for code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")}
    assert level.first_error == "failure 1"
    assert level.requests == len(server.received)


def test_when_everything_fails():
    level = run(FakeServer(failures=lambda number: "UNAVAILABLE"), 2, 0.05)
    assert level.errors == {"UNAVAILABLE": level.requests}
    assert (level.latency, level.requests_per_second) == (None, 0)


def test_each_caller_asks_at_least_once_and_is_awaited():
    level = run(FakeServer(delay=0.1), 3, 0.01)
    assert level.requests == 3
    assert level.latency.p50 >= 100
    assert 3 <= level.requests_per_second <= 3 / 0.1


def test_callers_send_all_bodies_in_turn_from_different_places():
    received = []

    async def exchange(body):
        received.append(body)
        await asyncio.sleep(DELAY)
        return b"answer"

    loop = ClosedLoop(exchange, 2, Requests(BODIES, 1, lambda answer: None), ENDPOINT)
    asyncio.run(loop.run(0.2))
    assert received[:2] == [b"a", b"c"]
    assert len(received) > 8 and set(received) == set(BODIES)


def test_answers_are_checked_and_wrong_ones_are_errors():
    def check(answer):
        assert answer == b"answer"
        raise PredictionError("expected 64 probabilities", "INTERNAL")

    level = run(FakeServer(delay=0.001), 2, 0.2, check)
    assert level.first_error == "expected 64 probabilities"
    least = 2 * (level.requests // 2 // SAMPLED - 1)
    assert max(2, least) <= level.errors["INTERNAL"] <= 2 + level.requests // SAMPLED


def test_the_check_does_not_count_as_latency():
    level = run(FakeServer(), 1, 0.05, lambda answer: time.sleep(0.4))
    assert level.requests == 1
    assert 1000 * DELAY <= level.latency.max < 400


def test_a_second_run_measures_anew_and_goes_on_with_the_bodies():
    server = FakeServer(delay=0.05)
    loop = ClosedLoop(server.exchange, 1, Requests(BODIES, 1, lambda answer: None), ENDPOINT)

    async def twice():
        await loop.run(0.01)
        await loop.run(0.01)

    asyncio.run(twice())
    assert measured(loop).requests == 1
    assert server.received == [b"a", b"b"]


def test_a_cancelled_run_tells_what_there_is_without_the_requests_on_the_way():
    sent = []

    async def exchange(body):
        sent.append(body)
        if len(sent) > 3:
            await asyncio.Event().wait()
        await asyncio.sleep(DELAY)
        return b"answer"

    loop = ClosedLoop(exchange, 2, Requests(BODIES, 1, lambda answer: None), ENDPOINT)

    async def cancelled():
        run = asyncio.create_task(loop.run(60))
        while len(sent) < 5:
            await asyncio.sleep(DELAY)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    assert loop.level() is None
    asyncio.run(cancelled())
    level = measured(loop)
    assert (level.requests, level.failed) == (3, 0)
    assert 0 < level.requests_per_second <= 2 / DELAY


def test_a_run_that_is_cancelled_before_any_answer():
    loop = ClosedLoop(FakeServer(delay=60).exchange, 1, Requests(BODIES, 1, lambda answer: None), ENDPOINT)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(loop.run(60), DELAY))
    assert loop.level() is None


def test_the_clients_processor_share():
    worked = []

    def busy(answer):
        began = time.thread_time(), time.perf_counter()
        while time.thread_time() < began[0] + 0.05:
            pass
        worked.append((time.thread_time() - began[0]) / (time.perf_counter() - began[1]))

    assert run(FakeServer(delay=0.3), 1, 0.01).client_cpu < 0.3
    # As much as a thread gets on a machine that others use as well.
    level = run(FakeServer(delay=0), 4, 0.001, busy)
    assert 0.5 * min(worked) < level.client_cpu <= 1
    assert level.client_is_the_limit == (level.client_cpu >= 0.9)
