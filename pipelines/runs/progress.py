"""Rows read so far, counted by workers in small files and shown by the launcher."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from pipelines.runs.reports import WORK_DIRECTORY
from pipelines.runs.sink import explained

STEPS = {"survey": "reading the logs", "encode": "writing records"}
_TERMINAL_SECONDS = 0.25
_PLAIN_SECONDS = 10.0


class RowCounter:
    """Counts the rows that a worker has taken from one range in one step."""

    def __init__(self, run: Path, step: str, index: int) -> None:
        self._path = run / WORK_DIRECTORY / f"{step}-{index:05d}.rows"
        self._rows = 0

    def add(self, rows: int) -> None:
        """Adds rows.

        Raises:
            CrossDistilError: the run's directory is gone, since its launcher gave up.
        """
        self._rows += rows
        with explained(self._path):
            self._path.write_text(str(self._rows), encoding="ascii")


def rows_done(run: Path, step: str) -> int:
    """The rows that all workers have taken in a step."""
    return sum(int(path.read_text(encoding="ascii") or 0) for path in (run / WORK_DIRECTORY).glob(f"{step}-*.rows"))


class _RowsColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0.0
        return Text(f"{task.completed:,.0f} rows  {speed:,.0f} rows/s")


@contextmanager
def shown_progress(run: Path, console: Console) -> Iterator[None]:
    """Shows the rows done while the body runs: bars on a terminal, else a line now and then."""
    ended = threading.Event()
    show = _show_bars if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(run, console, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_bars(run: Path, console: Console, ended: threading.Event) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), _RowsColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        survey, encode = (progress.add_task(title, total=None, start=False) for title in STEPS.values())
        while True:
            last = ended.wait(_TERMINAL_SECONDS)
            read, written = rows_done(run, "survey"), rows_done(run, "encode")
            if read:
                progress.start_task(survey)
                progress.update(survey, completed=read, total=read if written else None)
            if written:
                progress.start_task(encode)
                progress.update(encode, completed=written, total=read)
            if last:
                return


def _show_lines(run: Path, console: Console, ended: threading.Event) -> None:
    started = time.monotonic()
    while not ended.wait(_PLAIN_SECONDS):
        read, written = rows_done(run, "survey"), rows_done(run, "encode")
        step, rows = ("encode", written) if written else ("survey", read)
        speed = (read + written) / (time.monotonic() - started)
        console.print(f"{STEPS[step]}: {rows:,} rows, {speed:,.0f} rows/s")
