# SPDX-License-Identifier: Apache-2.0
"""One training at a time in a run directory, or at whatever else has a lock file."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tf_crossdistil.errors import CrossDistilError

_LOCK_FILE = ".lock"


@contextmanager
def only_training_in(directory: Path) -> Iterator[None]:
    """Keeps other trainings out of a run directory.

    Raises:
        CrossDistilError: another training is at work there.
    """
    refusal = CrossDistilError(f"another training is at work in {directory}; wait for it to end, or give another --run")
    with holding(directory / _LOCK_FILE, refusal):
        yield


@contextmanager
def holding(file: Path, refusal: CrossDistilError) -> Iterator[None]:
    """Keeps others from holding a lock file, which is made where it is not; the kernel lets them however this process ends.

    Where nothing can be written, or the file system has no locks, it does nothing.

    Raises:
        CrossDistilError: another process, or another block of this one, holds it; it is `refusal`.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield
        return
    try:
        lock(descriptor, refusal)
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, refusal: CrossDistilError) -> None:
    """Locks an open file until it is closed; where the file system has no locks, it does nothing.

    Raises:
        CrossDistilError: another process has locked it; it is `refusal`.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise refusal from error
    except OSError:
        return
