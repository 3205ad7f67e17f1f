"""How an epoch looks on the screen while it is trained."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column


class EpochProgress:
    """A bar with rows a second, time left for the epoch, and losses by name; measures the seconds.

    Args:
        console: where it is drawn, if that is a terminal.
        label: what is trained.
        steps: of the epoch.
        first_step: how many are done already.
        batch_size: rows of a step.
    """

    def __init__(self, console: Console, label: str, steps: int, first_step: int, batch_size: int):
        self._first_step, self._batch_size = first_step, batch_size
        self._started = time.perf_counter()
        self._rows = 0
        self.seconds = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]} rows/s"),
            TimeRemainingColumn(),
            # With many tasks there is no room for every loss.
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            transient=True,
            expand=True,
            # Without a terminal the bar would be nothing but an empty line; the line after each epoch stays.
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=steps, completed=first_step, speed="-", losses="")

    def __enter__(self) -> "EpochProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.stop()

    @property
    def rows_per_second(self) -> float:
        """Since this process began with the epoch."""
        return self._rows / self.seconds if self.seconds else 0.0

    def after_step(self, step: int, losses: dict[str, float]) -> None:
        """Moves the bar to a finished step of the epoch."""
        self.seconds = time.perf_counter() - self._started
        self._rows = (step - self._first_step) * self._batch_size
        shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._bar.update(self._task, completed=step, speed=f"{self.rows_per_second:,.0f}", losses=shown)
