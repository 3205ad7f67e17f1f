"""Failures as data: a worker that gives up leaves its sentence in the run's directory for the launcher.

Runners hand an exception on as pages of traceback, each in its own way; a file reads the same behind all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.runs.sink import write_file
from pipelines.runs.storage import WORK_DIRECTORY, RunPath
from tf_crossdistil.errors import CrossDistilError


@contextmanager
def recorded_failure(run: RunPath, step: str) -> Iterator[None]:
    """Ends the body at its first `CrossDistilError` and leaves the sentence, unless the launcher took the run away.

    Raises:
        CrossDistilError: the sentence cannot be left, as on a full disk; the runner then hands it on.
    """
    try:
        yield
    except CrossDistilError as error:
        if not (run / WORK_DIRECTORY).is_dir():
            return
        try:
            write_file(run, f"{WORK_DIRECTORY}/failure-{step}.txt", str(error).encode("utf-8", "replace"))
        except CrossDistilError:
            raise error from None


def has_failed(run: RunPath) -> bool:
    """Whether some worker gave up, so that others need not go on."""
    return any((run / WORK_DIRECTORY).glob("failure-*.txt"))


def raise_failure(run: RunPath) -> None:
    """Raises what the first worker, in the order of the input, gave up for.

    Raises:
        CrossDistilError: there is a failure.
    """
    for path in sorted((run / WORK_DIRECTORY).glob("failure-*.txt")):
        raise CrossDistilError(path.read_text(encoding="utf-8"))
