# SPDX-License-Identifier: Apache-2.0
"""The levels of a load test one after another, and what ends it early; with transports whose behaviour is known."""

import asyncio
import gc
import json
import os
import signal

import numpy as np
import pytest

from serving.client.transports import Endpoint, ModelInput, ModelSignature, PredictionError
from serving.load_test.bodies import encoded_requests
from serving.load_test.closed_loop import Requests
from serving.load_test.interruption import Interruption
from serving.load_test.plan import Plan
from serving.load_test.results_file import save_json
from serving.load_test.run import run_levels
from tf_crossdistil.errors import UsageError

REQUESTS = Requests([b"body"], 8, lambda answer: None)


def plan(concurrency=(1, 2), seconds=0.05):
    return Plan("127.0.0.1:8500", "ranker", rows=8, concurrency=concurrency, seconds=seconds)


def run(exchange, the_plan):
    shown = []

    def show(levels, sentence):
        shown.append((len(levels), sentence))

    with Interruption() as interruption:
        results = asyncio.run(run_levels(the_plan, exchange, REQUESTS, show, interruption))
    return results, shown


async def answer(body):
    await asyncio.sleep(0.002)
    return b"answer"


def test_every_level_is_measured_and_shown_in_turn(tmp_path):
    results, shown = run(answer, plan((1, 2, 5)))
    assert [level.concurrency for level in results.levels] == [1, 2, 5]
    assert not results.interrupted
    assert [done for done, _ in shown] == [0, 1, 2]
    assert "concurrency 5" in shown[2][1]
    save_json(results, tmp_path / "load.json")
    document = json.loads((tmp_path / "load.json").read_text())
    assert document.pop("levels") == [level.document() for level in results.levels]
    assert document == {
        "server": "127.0.0.1:8500",
        "model": "ranker",
        "protocol": "gRPC",
        "rows_per_request": 8,
        "seconds_per_level": 0.05,
        "timeout_seconds": 10.0,
        "interrupted": False,
    }


def test_the_warm_up_does_not_count():
    slow_first = [0.08]

    async def exchange(body):
        await asyncio.sleep(slow_first.pop() if slow_first else 0.001)
        return b"answer"

    results, _ = run(exchange, plan((1,)))
    assert not slow_first
    assert results.levels[0].latency.max < 80


def test_a_level_where_every_request_fails_is_the_last():
    under_way, overloaded = 0, False

    async def none_above_two(body):
        nonlocal under_way, overloaded
        under_way += 1
        overloaded = overloaded or under_way > 2
        await asyncio.sleep(0.002)
        under_way -= 1
        if overloaded:
            raise PredictionError("no room", "RESOURCE_EXHAUSTED")
        return b"answer"

    results, shown = run(none_above_two, plan((1, 2, 64, 128), seconds=0.02))
    assert [level.concurrency for level in results.levels][:2] == [1, 2]
    assert results.levels[0].failed == results.levels[1].failed == 0
    last = results.levels[-1]
    assert (last.concurrency, last.latency, last.first_error) == (64, None, "no room")
    assert last.errors == {"RESOURCE_EXHAUSTED": last.requests}
    assert len(shown) == 3


@pytest.mark.parametrize(("at", "kept"), [(1, 0), (2, 0), (5, 3)], ids=["warm-up", "first request", "later"])
def test_ctrl_c_keeps_what_was_measured(monkeypatch, tmp_path, at, kept):
    monkeypatch.setattr("serving.load_test.run._WARM_UP", 0.0)
    sent = []

    async def exchange(body):
        sent.append(body)
        if len(sent) == at:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        return await answer(body)

    usual = signal.getsignal(signal.SIGINT)
    results, _ = run(exchange, plan((1, 2), seconds=60))
    assert results.interrupted
    assert [(level.concurrency, level.requests) for level in results.levels] == [(1, kept)] * bool(kept)
    assert signal.getsignal(signal.SIGINT) is usual
    save_json(results, tmp_path / "load.json")
    assert json.loads((tmp_path / "load.json").read_text())["interrupted"] is True


def test_other_errors_are_not_hidden():
    async def broken(body):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(broken, plan())
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("concurrency", [(), (0, 1), (2, 1), (1, 1), (1, 1025), (-1,)])
def test_levels_that_do_not_rise(concurrency):
    with pytest.raises(UsageError, match="rising whole numbers from 1 to 1024"):
        plan(concurrency)


class FakeCodec:
    """Writes the values of `a`; an answer is the number of its probabilities."""

    def encode_predict(self, inputs):
        return ",".join(inputs["a"]).encode()

    def decode_predict(self, answer):
        return {"like": np.zeros(int(answer), np.float32)}

    def decode_signature(self, answer):
        return SIGNATURE


SIGNATURE = ModelSignature({"a": ModelInput("DT_STRING")}, ("like",))


@pytest.mark.parametrize(
    ("count", "size", "bodies"),
    [(6, 2, [b"0,1", b"2,3", b"4,5"]), (5, 2, [b"0,1", b"2,3", b"4,0"]), (2, 5, [b"0,1,0,1,0"]), (1, 1, [b"0"])],
)
def test_bodies_take_the_rows_in_turn(count, size, bodies):
    rows = [{"a": str(number)} for number in range(count)]
    requests = encoded_requests(rows, size, Endpoint("127.0.0.1:8500", "ranker"), FakeCodec(), SIGNATURE)
    assert (requests.bodies, requests.rows) == (bodies, size)
    requests.check(str(size).encode())
    with pytest.raises(PredictionError, match=f"expected {size} answers"):
        requests.check(b"3")


def test_few_bodies_are_kept_of_many_rows():
    rows = [{"a": "x"}] * 70_000
    requests = encoded_requests(rows, 1000, Endpoint("127.0.0.1:8500", "ranker"), FakeCodec(), SIGNATURE)
    assert len(requests.bodies) == 65
