# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and Ctrl-C while a run is trained; imports no TensorFlow, so that it can be used before that is loaded."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

# 128 + the signal's number, as shells have it. Kubernetes' training operator starts a worker again that ends with 128 or more.
INTERRUPTED = 128 + int(signal.SIGINT)
TERMINATED = 128 + int(signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a training, which can go on; `sentence` says from where."""

    def __init__(self, sentence: str):
        super().__init__(sentence)
        self.sentence = sentence


class Terminated(SystemExit):
    """SIGTERM stopped a training, which can go on; `sentence` says from where."""

    def __init__(self, sentence: str):
        super().__init__(TERMINATED)
        self.sentence = sentence


class Interruption:
    """Notes the first signal, so that the step can be finished and saved; a second one ends the process at once.

    Where nothing can be lost, the first one raises `Interrupted` or `Terminated` from wherever the main thread is: until
    `defer` is called, and within `at_once`.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._raises = True
        self._usual: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        # Only there Python lets signals be handled.
        if threading.current_thread() is threading.main_thread():
            self._usual = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)

    @property
    def is_asked(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def defer(self) -> None:
        """From here on a signal is only noted."""
        self._raises = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block a signal raises, also one that was noted before."""
        self._raises = True
        try:
            if self.is_asked:
                raise self.error("")
            yield
        finally:
            self._raises = False

    def error(self, position: str) -> Interrupted | Terminated:
        """What to raise, now that everything is saved; without a signal to this process, for one to another worker."""
        name = signal.Signals(self._number or signal.SIGTERM).name
        sentence = f"stopped by {name}{position}; the same command with --resume goes on from there"
        return Interrupted(sentence) if self._number == signal.SIGINT else Terminated(sentence)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked:
            os._exit(128 + number)
        self._number = number
        if self._raises:
            raise self.error(" before the first step")
