# SPDX-License-Identifier: Apache-2.0
"""Runs the cells of a comparison, several at a time, tells how far it is, and keeps the failures."""

import logging
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import tensorflow as tf
from rich.console import Console

from tf_crossdistil.comparison.cell_process import CellProcess
from tf_crossdistil.comparison.cells import Cell, CellResult, attempt
from tf_crossdistil.comparison.settings import Setting
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.interruption import Interruption

# A training keeps about so many cores busy.
_CORES = 2


@dataclass(frozen=True)
class Failure:
    """A cell that has no result, and why."""

    method: str
    seed: int
    setting: Setting | None
    error: str

    def __str__(self) -> str:
        tuned = [str(self.setting)] if self.setting is not None and self.setting.values else []
        return " ".join([self.method, *tuned, f"seed {self.seed}"])

    def document(self) -> dict[str, Any]:
        """Its entry in `comparison.json`."""
        values = None if self.setting is None else self.setting.values
        return {"method": self.method, "seed": self.seed, "set": values, "error": self.error}


def usual_jobs() -> int:
    """How many cells this machine trains at a time: one for two cores, and one where they would share a GPU."""
    return 1 if tf.config.list_physical_devices("GPU") else max(1, len(os.sched_getaffinity(0)) // _CORES)


class CellRunner:
    """Runs cells, which are trained and measured where they are not yet.

    Args:
        data: what they are trained on.
        split: what is measured.
        metric: the validation metric that chooses, which progress shows.
        total: how many cells there will be.
        console: where progress is shown.
        jobs: how many are trained at a time; where it is more than one, each in a process of its own.
    """

    def __init__(self, data: PreparedData, split: str, metric: str, total: int, console: Console, jobs: int):
        self.failures: list[Failure] = []
        self.metric = metric
        self._data, self._split, self._console, self._jobs = data, split, console, jobs
        self._number, self._total = 0, total
        self._training = console if console.is_terminal else Console(quiet=True)

    def run(self, cells: Sequence[Cell]) -> list[CellResult | None]:
        """The result of each cell; None where it failed."""
        results: list[CellResult | None] = [None] * len(cells)
        # Closed even where Ctrl-C comes between two results.
        with closing(self._results(cells)) as found:
            for place, result, kept in found:
                if isinstance(result, CellResult):
                    results[place] = result
                    self._tell_result(cells[place], result, kept)
                else:
                    self._fail(Failure(cells[place].method, cells[place].seed, cells[place].setting, result))
        return results

    def skip(self, method: str, seed: int) -> None:
        """Leaves a cell out, since no setting could be trained."""
        self._fail(Failure(method, seed, None, "no setting could be trained"))

    def _results(self, cells: Sequence[Cell]) -> Generator[tuple[int, CellResult | str, bool], None, None]:
        """Each cell's place, what became of it, and whether it was finished before, in the order in which they finish."""
        finished = [cell.is_finished(self._split) for cell in cells]
        together = self._jobs > 1 and finished.count(False) > 1
        for place, cell in enumerate(cells):
            if finished[place] or not together:
                yield place, attempt(cell, self._data, self._split, self._training), finished[place]
        if together:
            waiting = [place for place in range(len(cells)) if not finished[place]]
            yield from ((place, result, False) for place, result in self._in_processes(cells, waiting))

    def _in_processes(self, cells: Sequence[Cell], places: Sequence[int]) -> Iterator[tuple[int, CellResult | str]]:
        waiting, at_work = deque(places), dict[CellProcess, int]()
        idle = [CellProcess(self._data, self._split) for _ in range(min(self._jobs, len(places)))]
        with Interruption(), _stopped(idle, at_work):
            while waiting or at_work:
                while idle and waiting:
                    process, place = idle.pop(), waiting.popleft()
                    at_work[process] = place
                    process.start(cells[place])
                ready = wait([process.connection for process in at_work])
                for process in [process for process in at_work if process.connection in ready]:
                    outcome = process.outcome()
                    for name, text in outcome.warnings:
                        logging.getLogger(name).warning("%s", text)
                    place = at_work.pop(process)
                    idle.append(process if process.is_alive else CellProcess(self._data, self._split))
                    yield place, outcome.result

    def _tell_result(self, cell: Cell, result: CellResult, kept: bool) -> None:
        self._tell(
            f"{cell}: validation {self.metric} {METRICS[self.metric].text(result.validation)}, "
            f"{result.epochs} epoch{'s' * (result.epochs != 1)}, {result.seconds:.0f} s{' (kept)' * kept}"
        )

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._tell(f"{failure}: failed: {' '.join(failure.error.split())}")

    def _tell(self, line: str) -> None:
        self._number += 1
        self._console.print(f"{self._number}/{self._total} {line}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _stopped(idle: list[CellProcess], at_work: dict[CellProcess, int]) -> Iterator[None]:
    """Stops all processes at the end, whatever ends the block; those at work save what they are at."""
    try:
        yield
    finally:
        processes = [*idle, *at_work]
        for process in processes:
            process.tell_to_stop()
        for process in processes:
            process.wait_until_stopped()
