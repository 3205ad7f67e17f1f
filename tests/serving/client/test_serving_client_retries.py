# SPDX-License-Identifier: Apache-2.0
"""Repeating requests: what is repeated, how often, and never beyond the timeout."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

import serving.client.retries
from serving.client import AsyncClient, Client, PredictionError
from serving.client.retries import LONGEST_PAUSE, Retries
from tests.serving.client.both_clients import CLIENTS, TRANSPORTS, ask
from tests.serving.client.hostile_servers import RIGHT, SCRIPTED, http, listening, resetting, scripted_grpc, scripted_rest
from tf_crossdistil.errors import UsageError

ROWS = [{"x": 0.25}, {"x": 0.75}]
BUSY = {False: grpc.StatusCode.UNAVAILABLE, True: http(b'{"error": "The batch scheduling queue is full"}', 503)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts that a test can wait for."""
    monkeypatch.setattr(serving.client.retries, "FIRST_PAUSE", 0.01)


@CLIENTS
@TRANSPORTS
def test_a_server_that_is_busy_twice(asynchronous: bool, rest: bool) -> None:
    with SCRIPTED[rest](BUSY[rest], BUSY[rest], RIGHT) as server:
        answers = ask(asynchronous, server.address, ROWS, model="ranker", rest=rest)
    np.testing.assert_array_equal(answers["task"], [0.25, 0.75])
    assert len(server.predicts) == 3


@CLIENTS
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_behind_a_proxy(asynchronous: bool, status: int) -> None:
    with scripted_rest(http(b"<html>busy", status), RIGHT) as server:
        ask(asynchronous, server.address, ROWS, model="ranker", rest=True)
    assert len(server.predicts) == 2


@CLIENTS
def test_a_server_that_stays_too_busy(asynchronous: bool) -> None:
    with scripted_rest(http(b'{"error": "slow down"}', 429)) as server, pytest.raises(PredictionError) as caught:
        ask(asynchronous, server.address, ROWS, model="ranker", rest=True, retries=1)
    assert (caught.value.code, len(server.predicts)) == ("RESOURCE_EXHAUSTED", 2)
    assert f"{server.address} has no room for the request now (HTTP status 429: slow down)" in str(caught.value)


@CLIENTS
@TRANSPORTS
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_the_number_of_retries(asynchronous: bool, rest: bool, retries: int) -> None:
    with SCRIPTED[rest](BUSY[rest]) as server, pytest.raises(PredictionError) as caught:
        ask(asynchronous, server.address, ROWS, model="ranker", rest=rest, retries=retries)
    assert len(server.predicts) == 1 + retries
    assert caught.value.code == "UNAVAILABLE"
    assert ("queue is full" if rest else "this is UNAVAILABLE") in str(caught.value)


@CLIENTS
@TRANSPORTS
def test_never_beyond_the_timeout(asynchronous: bool, rest: bool) -> None:
    with SCRIPTED[rest](BUSY[rest]) as server:
        start = time.monotonic()
        with pytest.raises(PredictionError) as caught:
            ask(asynchronous, server.address, ROWS, model="ranker", rest=rest, retries=1000, timeout=0.5)
        assert time.monotonic() - start < 1.5
    # The server's own words say more than that the time is up.
    assert caught.value.code == "UNAVAILABLE"
    assert 2 < len(server.predicts) < 12


@CLIENTS
@TRANSPORTS
def test_a_server_that_is_back_after_a_moment(asynchronous: bool, rest: bool) -> None:
    with listening(resetting) as address:
        port = int(address.partition(":")[2])

    def ask_early() -> Any:
        return ask(asynchronous, address, ROWS, model="ranker", rest=rest, retries=20)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask_early)
        time.sleep(0.3)
        assert not asked.done()
        with SCRIPTED[rest](RIGHT, port=port):
            np.testing.assert_array_equal(asked.result()["task"], [0.25, 0.75])


@CLIENTS
def test_connections_that_are_reset(asynchronous: bool) -> None:
    connections = []

    def reset(connection: socket.socket) -> None:
        connections.append(connection)
        resetting(connection)

    with listening(reset) as address, pytest.raises(PredictionError):
        ask(asynchronous, address, ROWS, model="ranker", rest=True, retries=2)
    assert len(connections) == 3


@TRANSPORTS
def test_a_connection_that_ended_between_two_requests(rest: bool) -> None:
    with SCRIPTED[rest](RIGHT) as server:
        client = Client(server.address, model="ranker", rest=rest)
        client.predict(ROWS)
        address = server.address
    with client, pytest.raises(PredictionError) as caught:
        client.predict(ROWS)
    assert f"no server answers at {address}" in str(caught.value)


def test_pauses_grow_and_differ() -> None:
    busy = PredictionError("busy", "UNAVAILABLE")
    waits = []
    for _ in range(50):
        attempts = Retries(1000.0, 8).begin()
        waits.append([attempts.pause_after(busy) for _ in range(8)])
    columns = np.array(waits)
    longest = np.minimum(0.01 * 2.0 ** np.arange(8), LONGEST_PAUSE)
    assert np.all(columns <= longest)
    assert np.all(columns >= longest / 2)
    assert np.all(columns.std(axis=0) > 0.05 * longest)
    with pytest.raises(PredictionError, match="busy"):
        attempts.pause_after(busy)


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL"])
def test_what_is_not_repeated(code: str) -> None:
    with pytest.raises(PredictionError, match="a fault"):
        Retries(1000.0, 8).begin().pause_after(PredictionError("a fault", code))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"retries": -1}, "retries is 0 or more; received -1"),
        ({"timeout": 0.0}, "timeout is a number of seconds above 0; received 0.0"),
        ({"timeout": float("nan")}, "timeout is a number of seconds above 0; received nan"),
        ({"timeout": float("inf")}, "timeout is a number of seconds above 0; received inf"),
        ({"batch_size": 0}, "a batch has at least 1 row; received 0"),
        ({"version": 1, "label": "stable"}, "a version or a label, not both; received version 1 and label 'stable'"),
        ({"version": 0}, "a version is a whole number from 1 to 9223372036854775807; received 0"),
        ({"version": 2**63}, "a version is a whole number from 1 to 9223372036854775807; received 9223372036854775808"),
        ({"label": "\ud800"}, r"the label must be text that UTF-8 can write; received '\\ud800'"),
        ({"model": "m\udcff"}, r"the model must be text that UTF-8 can write; received 'm\\udcff'"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_options_that_cannot_be(kind: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        kind("127.0.0.1:8500", **{"model": "ranker"} | options)


def test_the_rest_of_a_large_call_is_not_asked_after_a_failure() -> None:
    async def ask_many(address: str) -> None:
        async with AsyncClient(address, model="ranker", batch_size=1) as client:
            with pytest.raises(PredictionError, match="INVALID_ARGUMENT"):
                await client.predict({"x": np.zeros(200)})

    with scripted_grpc(RIGHT, grpc.StatusCode.INVALID_ARGUMENT, RIGHT) as server:
        asyncio.run(ask_many(server.address))
        assert len(server.predicts) < 12
