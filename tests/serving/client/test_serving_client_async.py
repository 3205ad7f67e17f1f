# SPDX-License-Identifier: Apache-2.0
"""What the client of asyncio does beyond the other one: requests at once, and the event loop kept free."""

import asyncio
import time

import numpy as np
import pytest

from serving.client.async_client import CONCURRENCY, AsyncClient, PredictionError
from tests.serving.client.both_clients import TRANSPORTS
from tests.serving.client.hostile_servers import RIGHT, SCRIPTED
from tests.serving.server_process import ROWS, Server
from tf_crossdistil.errors import UsageError


@TRANSPORTS
def test_answers(server: Server, rest: bool, expected: dict[str, np.ndarray]) -> None:
    async def ask() -> None:
        async with AsyncClient(server.rest_address if rest else server.grpc, model="ranker", rest=rest, batch_size=3) as client:
            answers = await client.predict(ROWS * 5)
            assert (await client.signature()).tasks == ("finish", "like")
            assert await client.signature() is await client.signature()
            assert {task: array.shape for task, array in (await client.predict([])).items()} == {"finish": (0,), "like": (0,)}
        for task, probabilities in expected.items():
            np.testing.assert_allclose(answers[task], np.tile(probabilities, 5), rtol=0, atol=1e-6)

    asyncio.run(ask())


@TRANSPORTS
def test_a_large_call_is_some_requests_at_once_and_keeps_its_order(rest: bool) -> None:
    rows = np.arange(250, dtype=np.float32)

    async def ask(address: str) -> np.ndarray:
        async with AsyncClient(address, model="ranker", rest=rest, batch_size=10) as client:
            return (await client.predict({"x": rows}))["task"]

    with SCRIPTED[rest](RIGHT, pause=0.01) as server:
        np.testing.assert_array_equal(asyncio.run(ask(server.address)), rows)
    assert len(server.predicts) == 25
    assert server.most_at_once == CONCURRENCY


@TRANSPORTS
def test_calls_at_once(rest: bool) -> None:
    async def ask(address: str) -> list[dict[str, np.ndarray]]:
        async with AsyncClient(address, model="ranker", rest=rest) as client:
            await client.signature()
            return await asyncio.gather(*(client.predict({"x": [number, number]}) for number in range(16)))

    with SCRIPTED[rest](RIGHT, pause=0.1) as server:
        answers = asyncio.run(ask(server.address))
        assert server.most_at_once > CONCURRENCY
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer["task"], [number, number])


@TRANSPORTS
def test_requests_one_after_the_other_use_one_connection(rest: bool) -> None:
    async def ask(address: str) -> None:
        async with AsyncClient(address, model="ranker", rest=rest) as client:
            for _ in range(20):
                await client.predict({"x": [1.0]})

    with SCRIPTED[rest](RIGHT) as server:
        asyncio.run(ask(server.address))
    assert server.connections == 1
    assert len(server.predicts) == 20


@TRANSPORTS
def test_the_event_loop_goes_on_while_a_server_is_slow(rest: bool) -> None:
    async def ask(address: str) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        async with AsyncClient(address, model="ranker", rest=rest, timeout=0.4) as client:
            with pytest.raises(PredictionError, match="did not answer within"):
                await client.predict({"x": [1.0]})
        ticking.cancel()
        assert ticks > 10

    with SCRIPTED[rest](RIGHT, pause=0.8) as server:
        asyncio.run(ask(server.address))


@TRANSPORTS
def test_a_call_that_is_cancelled_ends_at_once_and_harms_no_other(rest: bool) -> None:
    async def ask(address: str) -> np.ndarray:
        async with AsyncClient(address, model="ranker", rest=rest) as client:
            await client.signature()
            start = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.predict({"x": [1.0]}), 0.05)
            assert time.monotonic() - start < 0.25
            return (await client.predict({"x": [2.0]}))["task"]

    with SCRIPTED[rest](RIGHT, pause=0.3) as server:
        np.testing.assert_array_equal(asyncio.run(ask(server.address)), [2.0])


@TRANSPORTS
def test_use_after_close(rest: bool) -> None:
    async def ask(address: str) -> None:
        client = AsyncClient(address, model="ranker", rest=rest)
        await client.predict({"x": [1.0]})
        await client.close()
        await client.close()
        with pytest.raises(UsageError, match="this client is closed; make a new one"):
            await client.predict({"x": [1.0]})

    with SCRIPTED[rest](RIGHT) as server:
        asyncio.run(ask(server.address))
