# SPDX-License-Identifier: Apache-2.0
"""One job at a time on one output."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.runs.storage import RunPath, explained
from tf_crossdistil.errors import CrossDistilError

LOCK_FILE = ".lock"


@contextmanager
def locked(output: RunPath) -> Iterator[None]:
    """Makes the directory `output` and keeps other jobs out of it; the kernel lets them in however this process ends.

    File systems of clouds have no locks: there every job must have an output of its own, or take its turn.

    Raises:
        CrossDistilError: another job is at work there, or the directory cannot be written.
    """
    if not isinstance(output, Path):
        yield
        return
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(output / LOCK_FILE)
    try:
        yield
    finally:
        # Removed while it is still locked; who waits for it will find that it is no longer the one at that path.
        (output / LOCK_FILE).unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise CrossDistilError(
                f"another job is at work in {path.parent}; wait for it to end, or give another --output"
            ) from error
        # The job that had it has just removed it.
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
