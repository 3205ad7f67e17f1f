# SPDX-License-Identifier: Apache-2.0
"""Tests that hold for the client and for the one of asyncio: one function that asks through either."""

import asyncio
from typing import Any

import pytest

from serving.client import AsyncClient, Client


def ask(asynchronous: bool, address: str, rows: Any, **options: Any) -> Any:
    """Asks for the predictions of rows, and ends the client."""

    async def ask_async() -> Any:
        async with AsyncClient(address, **options) as client:
            return await client.predict(rows)

    if asynchronous:
        return asyncio.run(ask_async())
    with Client(address, **options) as client:
        return client.predict(rows)


TRANSPORTS = pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
CLIENTS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
