# SPDX-License-Identifier: Apache-2.0
"""Commands in processes of their own, pinned to cores, with what they cost."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cost:
    """What one process and those that it waited for took; `peak_bytes` is the memory of the largest of them."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], cores: set[int]) -> Cost:
    """Runs a command on some cores.

    Raises:
        RuntimeError: it failed; its last words are in the message.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        usual = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment, cwd=ROOT)
        os.sched_setaffinity(0, usual)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {errors.read()[-2000:]}")
        return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, output.read())
