# SPDX-License-Identifier: Apache-2.0
"""One training at a time in a run directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tf_crossdistil.errors import CrossDistilError

_LOCK_FILE = ".lock"


@contextmanager
def only_training_in(directory: Path) -> Iterator[None]:
    """Keeps other trainings out of a run directory; the kernel lets them in however this process ends.

    Where nothing can be written, or the file system has no locks, it does nothing.

    Raises:
        CrossDistilError: another training is at work there.
    """
    try:
        descriptor = os.open(directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield
        return
    try:
        lock(descriptor, f"another training is at work in {directory}; wait for it to end, or give another --run")
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, refusal: str) -> None:
    """Locks an open file until it is closed; where the file system has no locks, it does nothing.

    Raises:
        CrossDistilError: another process has locked it, in the words of `refusal`.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CrossDistilError(refusal) from error
    except OSError:
        return
