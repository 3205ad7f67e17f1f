# SPDX-License-Identifier: Apache-2.0
"""Processes that work when they are asked, so that several can take turns and whatever slows one down slows all of them."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.processes import ROOT


class Worker:
    """A process that reads questions, one a line, and answers each with a line `answer JSON`.

    Args:
        command: of the process.
        errors: an open file for what it says on stderr.
    """

    def __init__(self, command: Sequence[str], errors: Any):
        self._command, self._errors = command, errors
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=environment
        )

    def ask(self, question: str) -> Any:
        """The answer to a question, once it is there.

        Raises:
            RuntimeError: the process ended; its last words are in the message.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            print(question, file=self.process.stdin, flush=True)
        # What a library prints comes before the answer.
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        self._errors.seek(0)
        raise RuntimeError(f"{' '.join(self._command)} ended with {self.process.wait()}: {self._errors.read()[-2000:]}")

    def end(self) -> None:
        """Kills the process."""
        self.process.kill()
        assert self.process.stdin is not None
        # A question that a dead process did not read would be written again when the pipe is closed.
        with suppress(BrokenPipeError):
            self.process.stdin.close()


@contextmanager
def worker(command: Sequence[str]) -> Iterator[Worker]:
    """A worker that is pinned to one core, the same for all; it is killed at the end."""
    usual = os.sched_getaffinity(0)
    with tempfile.TemporaryFile("w+") as errors:
        os.sched_setaffinity(0, {min(usual)})
        try:
            started = Worker(command, errors)
        finally:
            os.sched_setaffinity(0, usual)
        with started.process:
            try:
                yield started
            finally:
                started.end()
