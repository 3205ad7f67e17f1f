"""Failures as data: a worker that gives up leaves its sentence in the run's directory for the launcher.

Runners hand an exception on as pages of traceback, each in its own way; a file reads the same behind all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.runs.reports import WORK_DIRECTORY
from pipelines.runs.sink import write_file
from tf_crossdistil.errors import CrossDistilError


@contextmanager
def recorded_failure(run: Path, step: str) -> Iterator[None]:
    """Ends the body at its first `CrossDistilError` and leaves the sentence, unless the launcher took the run away."""
    try:
        yield
    except CrossDistilError as error:
        if run.is_dir():
            write_file(run, f"{WORK_DIRECTORY}/failure-{step}.txt", str(error).encode("utf-8", "replace"))


def has_failed(run: Path) -> bool:
    """Whether some worker gave up, so that others need not go on."""
    return any((run / WORK_DIRECTORY).glob("failure-*.txt"))


def raise_failure(run: Path) -> None:
    """Raises what the first worker, in the order of the input, gave up for.

    Raises:
        CrossDistilError: there is a failure.
    """
    for path in sorted((run / WORK_DIRECTORY).glob("failure-*.txt")):
        raise CrossDistilError(path.read_text(encoding="utf-8"))
