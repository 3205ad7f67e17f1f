"""How training looks on the screen: a live bar within an epoch, one line after it."""

import time
from types import TracebackType
from typing import Any

import tf_keras as keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class EpochProgress(keras.callbacks.Callback):
    """A bar with rows a second, loss and time left while `fit` runs one epoch; measures the epoch's seconds."""

    def __init__(self, console: Console, label: str, epoch: int, steps: int, batch_size: int):
        super().__init__()
        self._batch_size = batch_size
        self._started = time.perf_counter()
        self.seconds = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]} rows/s  loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # Without a terminal the bar would be nothing but an empty line; the line after each epoch stays.
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(f"{label} epoch {epoch}", total=steps, speed="-", loss="-")

    def __enter__(self) -> "EpochProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.stop()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        self.seconds = time.perf_counter() - self._started
        speed = f"{(batch + 1) * self._batch_size / self.seconds:,.0f}"
        self._bar.update(self._task, completed=batch + 1, speed=speed, loss=f"{(logs or {}).get('loss', float('nan')):.4f}")
