# SPDX-License-Identifier: Apache-2.0
"""Attempts at a run: whose the working directory is, so that workers of one that was given up stay out of the next.

On an object store there is no directory that goes away under them, so that they have to look.
"""

import uuid

from pipelines.runs.storage import WORK_DIRECTORY, RunPath

_MARK = "attempt-"


def begin_attempt(run: RunPath) -> str:
    """Makes the working directory of `run` and gives the token that its workers know it by."""
    token = uuid.uuid4().hex
    work = run / WORK_DIRECTORY
    work.mkdir(parents=True)
    (work / f"{_MARK}{token}").write_bytes(b"")
    return token


def is_current(run: RunPath, token: str) -> bool:
    """Whether the working directory of `run` still is that attempt's."""
    return (run / WORK_DIRECTORY / f"{_MARK}{token}").is_file()


def is_taken_over(run: RunPath, token: str) -> bool:
    """Whether another attempt has begun in `run`."""
    return any(mark.name != f"{_MARK}{token}" for mark in (run / WORK_DIRECTORY).glob(f"{_MARK}*"))
