# SPDX-License-Identifier: Apache-2.0
"""How an epoch looks on the screen while it is trained."""

import time
from collections.abc import Iterable
from types import TracebackType

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tf_crossdistil.metrics.summary import format_value


class EpochProgress:
    """A bar with rows a second and time left for the epoch, and losses by name below it; measures the seconds.

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
        self._bar = _BarAndLosses(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]} rows/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # Without a terminal the bar would be nothing but an empty line; the line after each epoch stays.
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=steps, completed=first_step, speed="-", losses={})

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
        self._bar.update(self._task, completed=step, speed=f"{self.rows_per_second:,.0f}", losses=losses)


class _BarAndLosses(Progress):
    """The bar, and below it the losses of a task in as many lines as they take."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            yield Columns(
                [Text(f"{name} {format_value(value)}") for name, value in task.fields["losses"].items()], padding=(0, 2)
            )
