# SPDX-License-Identifier: Apache-2.0
"""Exceptions of a step as one sentence, before a runner makes pages of them."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.graph.job import Job
from pipelines.runs.failures import recorded_failure
from tf_crossdistil.errors import CrossDistilError


@contextmanager
def guarded_step(job: Job, step: str, doing: str) -> Iterator[None]:
    """Ends the body at its first exception and leaves a sentence for the launcher; `doing` says what the body does."""
    with recorded_failure(job.run, step, job.attempt):
        try:
            yield
        except CrossDistilError:
            raise
        except MemoryError as error:
            raise CrossDistilError(
                f"a worker ran out of memory while {doing} ({_gist(error)}); use fewer workers or a machine with more memory"
            ) from error
        except Exception as error:
            raise CrossDistilError(
                f"a worker failed while {doing}: {_gist(error)}; this is a fault of the program, please report it"
            ) from error


def _gist(error: BaseException) -> str:
    message = " ".join(str(error).split())
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}{f': {message}' if message else ''} at {frame.filename}:{frame.lineno}"
