"""What TensorBoard shows of a run."""

from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow as tf

# Losses of each step would take more room than they tell.
_EVERY_STEPS = 20


class Scalars:
    """Writes `steps/NAME` every few steps, the running means since the epoch began, and `epochs/NAME`, the history's entries.

    Args:
        directory: where the logs go; each start of a training adds a file.
        is_writing: False in a process that must not write.
    """

    def __init__(self, directory: Path, is_writing: bool):
        self._directory, self._is_writing = directory, is_writing

    def __enter__(self) -> "Scalars":
        create, path = tf.summary.create_file_writer, str(self._directory)
        self._writer = create(path) if self._is_writing else tf.summary.create_noop_writer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._writer.close()

    def add_step(self, step: int, losses: dict[str, float], rows_per_second: float) -> None:
        """What is known after a step, counted over the whole run."""
        if step % _EVERY_STEPS == 0:
            self._write("steps", {**losses, "rows_per_second": rows_per_second}, step)

    def add_epoch(self, entry: dict[str, Any]) -> None:
        """An entry of the history; shown at once."""
        values = {name: value for name, value in entry.items() if name != "epoch" and value is not None}
        self._write("epochs", values, entry["epoch"])
        self._writer.flush()

    def _write(self, section: str, values: dict[str, float], step: int) -> None:
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(f"{section}/{name}", value, step)
