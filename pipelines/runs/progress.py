# SPDX-License-Identifier: Apache-2.0
"""Rows read so far, counted by workers in small files and shown by the launcher."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipelines.encoding.shuffle import shard_count
from pipelines.runs.attempts import is_current
from pipelines.runs.storage import WORK_DIRECTORY, RunPath, explained
from pipelines.sources.blocks import InputRange
from tf_crossdistil.errors import CrossDistilError

STEPS = {"survey": "reading the logs", "encode": "writing records", "shuffle": "shuffling records"}
_TERMINAL_SECONDS = 0.25
# Between lines; also between looks at a distant file system, and between the notes that a worker leaves there.
_PLAIN_SECONDS = 10.0
# What a step that has not ended shows at most.
_NEARLY_DONE = 0.9999
# Share of the work below which the time left is anyone's guess.
_FIRST_SHARE = 0.01


class RowCounter:
    """Counts the rows that a worker of an attempt has taken from one range, or shard, in one step."""

    def __init__(self, run: RunPath, step: str, index: int, attempt: str | None = None) -> None:
        self._run, self._attempt = run, attempt
        self._path = run / WORK_DIRECTORY / f"{step}-{index:05d}.rows"
        self._rows = 0
        self._pause = 0.0 if isinstance(run, Path) else _PLAIN_SECONDS
        self._noted = time.monotonic()

    def add(self, rows: int, done: float = 0.0) -> None:
        """Adds rows, with which about the share `done` of the range is taken, 0 to 1.

        Raises:
            CrossDistilError: the run's directory is gone or another attempt's, since its launcher gave up.
        """
        self._rows += rows
        if time.monotonic() - self._noted >= self._pause:
            self._note(min(done, _NEARLY_DONE))

    def finish(self) -> None:
        """Notes that all rows are taken.

        Raises:
            CrossDistilError: as `add` does.
        """
        self._note(1.0)

    def _note(self, done: float) -> None:
        with explained(self._path):
            if self._attempt is not None and not is_current(self._run, self._attempt):
                raise CrossDistilError(f"the launcher gave {self._run} up, or another has begun it anew")
            self._path.write_bytes(f"{self._rows} {done:.4f}\n".encode())
        self._noted = time.monotonic()


@dataclass(frozen=True)
class Done:
    """Rows taken in one step, and the share of its work that is done, 0 to 1."""

    rows: int
    share: float


class Counts:
    """What the workers of a run have counted."""

    def __init__(self, run: RunPath, ranges: Sequence[InputRange]) -> None:
        self._work = run / WORK_DIRECTORY
        self._weights = {part.index: part.weight for part in ranges}
        self._finished: dict[str, tuple[int, float]] = {}

    def read(self, step: str) -> Done:
        """The work done in a step over the ranges."""
        rows, weight = 0, 0.0
        for path in self._work.glob(f"{step}-*.rows"):
            counted, done = self._finished.get(path.name) or self._count(path)
            rows += counted
            weight += done * self._weights[int(path.name.removeprefix(f"{step}-").removesuffix(".rows"))]
        return Done(rows, weight / (sum(self._weights.values()) or 1.0))

    def read_all(self, shuffles: bool) -> dict[str, Done]:
        """The work done by step; a shuffle is one of shards of about one size."""
        done = {step: self.read(step) for step in ("survey", "encode")}
        if shuffles:
            counted = [self._count(path) for path in self._work.glob("shuffle-*.rows")]
            done["shuffle"] = Done(
                sum(rows for rows, _ in counted), sum(share for _, share in counted) / shard_count(done["encode"].rows)
            )
        return done

    def _count(self, path: RunPath) -> tuple[int, float]:
        try:
            rows, done = path.read_bytes().split()
            counted = int(rows), float(done)
        except (OSError, ValueError):
            # Its worker is about to write it, or the run has just been published.
            return 0, 0.0
        if counted[1] == 1:
            self._finished[path.name] = counted
        return counted


def time_left(share: float, seconds: float) -> str:
    """How long the rest will take if the share of the work done took so many seconds; empty where it is too early to tell."""
    return f"{timedelta(seconds=round(seconds * (1 - share) / share))} left" if share >= _FIRST_SHARE else ""


@contextmanager
def shown_progress(run: RunPath, ranges: Sequence[InputRange], console: Console, shuffles: bool = False) -> Iterator[None]:
    """Shows the rows done while the body runs: bars on a terminal, else a line now and then."""
    if console.quiet:
        yield
        return
    ended = threading.Event()
    show = _show_bars if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(run, ranges, console, ended, shuffles), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_bars(run: RunPath, ranges: Sequence[InputRange], console: Console, ended: threading.Event, shuffles: bool) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[counted]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    counts, started = Counts(run, ranges), time.monotonic()
    pause = _TERMINAL_SECONDS if isinstance(run, Path) else _PLAIN_SECONDS
    with Progress(*columns, console=console) as progress:
        bars = {
            step: progress.add_task(STEPS[step], total=1.0, start=False, counted="", left="")
            for step in counts.read_all(shuffles)
        }
        last = False
        while not last:
            last = ended.wait(pause)
            done = counts.read_all(shuffles)
            left = time_left(_share(done), time.monotonic() - started)
            for step, bar in bars.items():
                if done[step].rows:
                    progress.start_task(bar)
                    speed = done[step].rows / max(progress.tasks[bar].elapsed or 0.0, _TERMINAL_SECONDS)
                    counted = f"{done[step].rows:,} rows  {speed:,.0f} rows/s"
                    shown = left if step == _latest(done) else ""
                    progress.update(bar, completed=done[step].share, counted=counted, left=shown)


def _show_lines(run: RunPath, ranges: Sequence[InputRange], console: Console, ended: threading.Event, shuffles: bool) -> None:
    counts, started = Counts(run, ranges), time.monotonic()
    while not ended.wait(_PLAIN_SECONDS):
        done = counts.read_all(shuffles)
        step, seconds = _latest(done), time.monotonic() - started
        speed = sum(each.rows for each in done.values()) / seconds
        left = time_left(_share(done), seconds)
        console.print(f"{STEPS[step]}: {done[step].rows:,} rows, {speed:,.0f} rows/s{left and ', ' + left}", highlight=False)


def _share(done: dict[str, Done]) -> float:
    return sum(step.share for step in done.values()) / len(done)


def _latest(done: dict[str, Done]) -> str:
    return [step for step in done if done[step].rows or step == "survey"][-1]
