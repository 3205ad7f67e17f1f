"""Processes that take training steps in turn, so that whatever else the machine does slows all of them down alike."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.preprocess import ROOT


@dataclass(frozen=True)
class Turns:
    """What one process took: seconds of each step, its peak memory, and the memory of its embedding tables alone."""

    seconds: list[float]
    peak_bytes: int
    table_bytes: int


def take_turns(jobs: Mapping[str, Sequence[str]], turns: int) -> dict[str, Turns]:
    """Runs processes of `benchmarks.training_steps` with these arguments by turns, all pinned to the same core.

    Raises:
        RuntimeError: one failed; its last words are in the message.
    """
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(arguments)) for name, arguments in jobs.items()}
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in track(range(turns), "training steps", console=Console(stderr=True)):
            for name, worker in workers.items():
                seconds[name] += worker.ask("steps")
        return {name: Turns(seconds[name], **worker.ask("memory")) for name, worker in workers.items()}


class _Worker:
    def __init__(self, arguments: Sequence[str], errors: Any):
        command = [sys.executable, "-m", "benchmarks.training_steps", *arguments]
        self._errors = errors
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        )

    def ask(self, question: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            print(question, file=self.process.stdin, flush=True)
        # What a library prints comes before the answer.
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        self._errors.seek(0)
        raise RuntimeError(f"training steps ended with {self.process.wait()}: {self._errors.read()[-2000:]}")


@contextmanager
def _worker(arguments: Sequence[str]) -> Iterator[_Worker]:
    """A process that has made its model already, so that another one can make its own undisturbed."""
    usual = os.sched_getaffinity(0)
    with tempfile.TemporaryFile("w+") as errors:
        os.sched_setaffinity(0, {min(usual)})
        try:
            worker = _Worker(arguments, errors)
        finally:
            os.sched_setaffinity(0, usual)
        with worker.process:
            try:
                worker.ask("steps")
                yield worker
            finally:
                worker.process.kill()
