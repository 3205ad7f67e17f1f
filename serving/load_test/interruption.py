# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in a load test."""

import asyncio
import signal
from types import FrameType, TracebackType

from typing_extensions import Self


class Interruption:
    """Around measuring and telling what was measured: no Ctrl-C takes away what there is.

    Until `cancels` is called Ctrl-C does what it did before, and on leaving it does so again.
    """

    def __enter__(self) -> Self:
        self._usual = signal.getsignal(signal.SIGINT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._usual)

    def cancels(self, work: "asyncio.Task[None]") -> None:
        """From now on Ctrl-C cancels a task of the running event loop, and does nothing once that has ended."""
        loop = asyncio.get_running_loop()

        def cancel(number: int, frame: FrameType | None) -> None:
            if not work.done():
                loop.call_soon_threadsafe(work.cancel)

        # Not the loop's own signal handlers: after one of them is removed, Ctrl-C raises for a moment.
        signal.signal(signal.SIGINT, cancel)
