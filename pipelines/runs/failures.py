# SPDX-License-Identifier: Apache-2.0
"""Failures as data: a worker that gives up leaves its sentence in the run's directory for the launcher.

Runners hand an exception on as pages of traceback, each in its own way; a file reads the same behind all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.runs.attempts import is_current
from pipelines.runs.sink import write_file
from pipelines.runs.storage import WORK_DIRECTORY, RunPath, by_number
from tf_crossdistil.errors import CrossDistilError


@contextmanager
def recorded_failure(run: RunPath, step: str, attempt: str | None = None) -> Iterator[None]:
    """Ends the body at its first `CrossDistilError` and leaves the sentence, unless the launcher took the run away.

    `attempt` is the token of the attempt that the body belongs to; the launcher itself needs none.

    Raises:
        CrossDistilError: the sentence cannot be left, as on a full disk; the runner then hands it on.
    """
    try:
        yield
    except CrossDistilError as error:
        try:
            if _goes_on(run, attempt):
                write_file(run, f"{WORK_DIRECTORY}/failure-{step}.txt", str(error).encode("utf-8", "replace"))
        except (CrossDistilError, OSError):
            raise error from None


def has_failed(run: RunPath, attempt: str | None = None) -> bool:
    """Whether some worker gave up, or the launcher did, so that others need not go on."""
    return any((run / WORK_DIRECTORY).glob("failure-*.txt")) or not _goes_on(run, attempt)


def raise_failure(run: RunPath) -> None:
    """Raises what the first worker, in the order of the input, gave up for.

    Raises:
        CrossDistilError: there is a failure.
    """
    for path in by_number((run / WORK_DIRECTORY).glob("failure-*.txt")):
        raise CrossDistilError(path.read_text(encoding="utf-8"))


def _goes_on(run: RunPath, attempt: str | None) -> bool:
    return (run / WORK_DIRECTORY).is_dir() if attempt is None else is_current(run, attempt)
