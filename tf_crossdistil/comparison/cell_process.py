# SPDX-License-Identifier: Apache-2.0
"""A process of its own in which cells are trained, one after another; imports TensorFlow only there."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from tf_crossdistil.startup import load_tensorflow

if TYPE_CHECKING:
    from tf_crossdistil.comparison.cells import Cell, CellResult
    from tf_crossdistil.schema import PreparedData

# How long a process may take to save what it is at when it is told to stop.
_SAVING_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its result, or in a sentence why there is none; and warnings on the way, as (logger, text)."""

    result: "CellResult | str"
    warnings: Sequence[tuple[str, str]]


class CellProcess:
    """A process that trains the cells sent to it; on the data and measured on the split given.

    Signals of the terminal do not reach it: `stop` tells it, so that it saves what it is at. It ends with its parent.
    """

    def __init__(self, data: "PreparedData", split: str):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_train_cells, args=(other,), daemon=True)
        self._process.start()
        other.close()
        self._send((data, split))

    def start(self, cell: "Cell") -> None:
        """Begins a cell; `connection` is ready when it is done."""
        self._send(cell)

    def _send(self, message: Any) -> None:
        # Of a process that is gone, `outcome` tells what became.
        with suppress(ConnectionError):
            self.connection.send(message)

    def outcome(self) -> Outcome:
        """What became of the cell that was begun, also where the process died over it."""
        try:
            found: Outcome = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode or 0
            reason = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return Outcome(f"its process {reason}, perhaps for want of memory; compare again with fewer --jobs", ())
        return found

    @property
    def is_alive(self) -> bool:
        """Whether it can be given another cell."""
        return self._process.is_alive()

    def tell_to_stop(self) -> None:
        """A training saves and ends, anything else ends at once."""
        self._process.terminate()

    def wait_until_stopped(self) -> None:
        """Waits for a process that was told to stop, as long as saving may take."""
        self._process.join(_SAVING_SECONDS)
        self._process.kill()
        self._process.join()
        self.connection.close()


class _Collector(logging.Handler):
    """Keeps warnings, for the parent to show."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._collected: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._collected.append((record.name, record.getMessage()))

    def take(self) -> list[tuple[str, str]]:
        """What came since the last call."""
        taken, self._collected = self._collected, []
        return taken


def _train_cells(connection: Connection) -> None:
    # Ctrl-C in a terminal goes to all processes of a group: only the parent is to get it.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings = _Collector()
    logging.root.addHandler(warnings)
    load_tensorflow()
    from tf_crossdistil.comparison.cells import attempt

    data, split = connection.recv()
    while True:
        try:
            cell: Cell = connection.recv()
        except EOFError:
            return
        connection.send(Outcome(attempt(cell, data, split), warnings.take()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
