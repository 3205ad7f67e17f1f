# SPDX-License-Identifier: Apache-2.0
"""A client that lives on while the model under it is swapped for one with other outputs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serving.client import AsyncClient, Client
from tests.serving.client.both_clients import CLIENTS, TRANSPORTS
from tests.serving.client.hostile_servers import RIGHT, SCRIPTED, Scripted

VALUES = np.arange(10, dtype=np.float32)


def rows() -> Any:
    """A stream, which can be read once only."""
    table = pa.table({"x": VALUES})
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches())


def ask_each(asynchronous: bool, server: Scripted, rest: bool, versions: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
    """The answers of one client; before each of its calls the model is swapped."""
    options: dict[str, Any] = {"model": "ranker", "rest": rest, "batch_size": 3}
    answers = []

    async def ask_async() -> None:
        async with AsyncClient(server.address, **options) as client:
            for server.outputs in versions:
                answers.append(await client.predict(rows()))

    if asynchronous:
        asyncio.run(ask_async())
        return answers
    with Client(server.address, **options) as client:
        for server.outputs in versions:
            answers.append(client.predict(rows()))
    return answers


@CLIENTS
@TRANSPORTS
@pytest.mark.parametrize(
    "versions",
    [
        [("task",), ("score", "task"), ("task",)],
        [("like", "task"), ("like", "score"), ("like", "score", "task")],
    ],
    ids=["score", "task"],
)
def test_every_answer_has_the_outputs_of_the_version_that_gave_it(
    asynchronous: bool, rest: bool, versions: list[tuple[str, ...]]
) -> None:
    # The last version is there already when it is asked again.
    asked = [*versions, versions[-1]]
    with SCRIPTED[rest](RIGHT) as server:
        answers = ask_each(asynchronous, server, rest, asked)
    assert server.metadata_requests == len(versions)
    for answer, outputs in zip(answers, asked, strict=True):
        assert tuple(answer) == outputs
        for values in answer.values():
            np.testing.assert_array_equal(values, VALUES)
