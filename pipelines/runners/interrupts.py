# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, kept apart from the errors that a runner makes of it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def kept_interrupt() -> Iterator[None]:
    """Lets a `KeyboardInterrupt` leave the body as such, though a runner wraps or swallows what is raised in its workers."""
    usual = signal.getsignal(signal.SIGINT)
    # Signals are the main thread's business, and those that the process ignores stay ignored.
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    arrived = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        arrived.set()
        usual(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if arrived.is_set():
            raise KeyboardInterrupt
