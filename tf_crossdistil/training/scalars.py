# SPDX-License-Identifier: Apache-2.0
"""What TensorBoard shows of a run."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow as tf

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.training.reasons import disk_reason_of

# Losses of each step would take more room than they tell.
_EVERY_STEPS = 20


class Scalars:
    """Writes `steps/NAME` every few steps, the running means since the epoch began, and `epochs/NAME`, the history's entries.

    Args:
        directory: where the logs go; each start of a training adds a file, as soon as there is something to write.
        is_writing: False in a process that must not write.

    Raises:
        CrossDistilError: the logs cannot be written, which every method tells.
    """

    def __init__(self, directory: Path, is_writing: bool):
        self._directory, self._is_writing = directory, is_writing
        self._writer: tf.summary.SummaryWriter | None = None

    def __enter__(self) -> "Scalars":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._writer is None:
            return
        if error is not None:
            # What stopped the training says more.
            with suppress(OSError, tf.errors.OpError):
                self._writer.close()
            return
        with self._explained():
            self._writer.close()

    def add_step(self, step: int, passed: int, losses: dict[str, float], rows_per_second: float) -> None:
        """What is known after a step, counted over the whole run; `passed`: how many steps there were since the last call."""
        if step // _EVERY_STEPS > (step - passed) // _EVERY_STEPS:
            self._write("steps", {**losses, "rows_per_second": rows_per_second}, step)

    def add_epoch(self, entry: dict[str, Any]) -> None:
        """An entry of the history; shown at once."""
        values = {name: value for name, value in entry.items() if name != "epoch" and value is not None}
        self._write("epochs", values, entry["epoch"])
        if self._writer is not None:
            with self._explained():
                self._writer.flush()

    def _write(self, section: str, values: dict[str, float], step: int) -> None:
        if not self._is_writing:
            return
        with self._explained():
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._directory))
            with self._writer.as_default():
                for name, value in values.items():
                    tf.summary.scalar(f"{section}/{name}", value, step)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise CrossDistilError(
                f"cannot write to {self._directory}: {disk_reason_of(error)}; make room, then go on with --resume"
            ) from error
