# SPDX-License-Identifier: Apache-2.0
"""The levels of a load test, one after another."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from serving.load_test.closed_loop import ClosedLoop, Exchange, Requests
from serving.load_test.interruption import Interruption
from serving.load_test.level import Level
from serving.load_test.plan import Plan

# Connections are made and caches filled for this share of a level's time before it counts.
_WARM_UP = 0.2

Show = Callable[[Sequence[Level], str], None]


@dataclass(frozen=True)
class Results:
    """What a load test measured: the levels in the plan's order, fewer where it was interrupted or every request failed."""

    plan: Plan
    levels: Sequence[Level]
    interrupted: bool


async def run_levels(plan: Plan, exchange: Exchange, requests: Requests, show: Show, interruption: Interruption) -> Results:
    """Runs the plan until its end, a level where every request fails, or Ctrl-C.

    Args:
        plan: the levels, and how long they take.
        exchange: sends an encoded body and gives the encoded answer, or raises PredictionError.
        requests: what is sent.
        show: called between levels with those that are measured and what comes next.
        interruption: entered; from now on Ctrl-C ends the measuring and nothing else.
    """
    endpoint = plan.endpoint
    levels: list[Level] = []

    async def measure() -> None:
        for concurrency in plan.concurrency:
            show(levels, f"concurrency {concurrency}: warming up, then measuring for {plan.seconds:g} s ...")
            await ClosedLoop(exchange, concurrency, requests, endpoint).run(plan.seconds * _WARM_UP)
            loop = ClosedLoop(exchange, concurrency, requests, endpoint)
            try:
                await loop.run(plan.seconds)
            finally:
                if level := loop.level():
                    levels.append(level)
            if levels[-1].latency is None:
                return

    work = asyncio.create_task(measure())
    interruption.cancels(work)
    with _few_pauses():
        await asyncio.wait([work])
    if not work.cancelled():
        work.result()
    return Results(plan, levels, interrupted=work.cancelled())


@contextmanager
def _few_pauses() -> Iterator[None]:
    """Lets garbage collection pass over what is there already: its pauses would count as latency."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
