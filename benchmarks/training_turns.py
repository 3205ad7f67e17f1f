# SPDX-License-Identifier: Apache-2.0
"""Processes that take training steps in turn, so that whatever else the machine does slows all of them down alike."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from benchmarks.workers import Worker, worker


@dataclass(frozen=True)
class Turns:
    """What one process took: seconds of each step, its peak memory, and the memory of its embedding tables alone."""

    seconds: list[float]
    peak_bytes: int
    table_bytes: int


def take_turns(jobs: Mapping[str, Sequence[str]], turns: int) -> dict[str, Turns]:
    """Runs processes of `benchmarks.training_steps` with these arguments by turns, all pinned to the same core.

    Raises:
        RuntimeError: one failed; its last words are in the message.
    """
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, arguments in jobs.items():
            workers[name] = stack.enter_context(worker([sys.executable, "-m", "benchmarks.training_steps", *arguments]))
            # It has made its model before the next one starts, which makes its own undisturbed.
            workers[name].ask("steps")
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in track(range(turns), "training steps", console=Console(stderr=True)):
            for name, each in workers.items():
                seconds[name] += each.ask("steps")
        return {name: Turns(seconds[name], **each.ask("memory")) for name, each in workers.items()}
