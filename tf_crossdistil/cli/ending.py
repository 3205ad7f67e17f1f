# SPDX-License-Identifier: Apache-2.0
"""How a command ends that was told to by a signal."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType
from typing import NoReturn

from tf_crossdistil.training.interruption import INTERRUPTED, TERMINATED, Interrupted, Terminated

# How long a command may take to clean up.
_GRACE_SECONDS = 10.0


def end_process(code: int, sentence: str) -> NoReturn:
    """Ends the process at once, with a sentence on standard error."""
    print(sentence, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a pipeline that was running would hold an ordinary exit up.
    os._exit(code)


def raise_or_end(error: BaseException, code: int, sentence: str) -> NoReturn:
    """What a signal's handler does: raises, and ends the process where a library swallows what is raised."""
    timer = Timer(_GRACE_SECONDS, end_process, (code, sentence))
    timer.daemon = True
    timer.start()
    raise error


@contextmanager
def resumable() -> Iterator[None]:
    """Around a training: SIGTERM ends it with 143 from the first moment on, and what stopped it is told in a sentence."""
    usual = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except Interrupted as stop:
        # Not left to the command line parser, which would lose the sentence.
        end_process(INTERRUPTED, stop.sentence)
    finally:
        signal.signal(signal.SIGTERM, usual)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sentence = "stopped by SIGTERM before training began; start the same command again"
    raise_or_end(Terminated(sentence), TERMINATED, sentence)
