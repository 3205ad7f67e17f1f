# SPDX-License-Identifier: Apache-2.0
"""A job of several processes on loopback, each with the same command and its own TF_CONFIG."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import tensorflow as tf

Task = tuple[str, int]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


class LocalCluster:
    """`crossdistil train` in every task of a cluster; what they print is kept in `logs`."""

    def __init__(self, sizes: dict[str, int], arguments: list[str], logs: Path):
        logs.mkdir(parents=True, exist_ok=True)
        self._command = [sys.executable, "-m", "tf_crossdistil.cli.main", "train", *arguments]
        self._logs = logs
        ports = iter(free_ports(sum(sizes.values())))
        self._addresses = {kind: [f"127.0.0.1:{next(ports)}" for _ in range(count)] for kind, count in sizes.items()}
        self.processes = {
            (kind, index): self.start((kind, index))
            for kind, addresses in self._addresses.items()
            for index in range(len(addresses))
        }

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def start(self, task: Task) -> subprocess.Popen:
        config = {"cluster": self._addresses, "task": {"type": task[0], "index": task[1]}}
        environment = os.environ | {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": "-1"}
        with self._log(task).open("a", encoding="utf-8") as log:
            return subprocess.Popen(self._command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def wait(self, task: Task, seconds: float = 240) -> int:
        try:
            return self.processes[task].wait(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{task} did not end; it printed: {self.printed(task)}") from error

    def printed(self, task: Task) -> str:
        return self._log(task).read_text(encoding="utf-8")

    def _log(self, task: Task) -> Path:
        return self._logs / f"{task[0]}-{task[1]}.txt"


def train_alone(arguments: list[str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tf_crossdistil.cli.main", "train", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"} | {"CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def wait_for(path: Path, pattern: str, seconds: float = 180) -> None:
    """Until a file of that name is there."""
    end = time.monotonic() + seconds
    while not any(path.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {path}"
        time.sleep(0.05)


def saved_numbers(run: Path) -> dict[str, np.ndarray]:
    """Every number in the newest checkpoint of `last`, by name; all but counts of time."""
    newest = max((run / "checkpoints" / "last").glob("*.index"), key=lambda path: path.stat().st_mtime_ns)
    reader = tf.train.load_checkpoint(str(newest.with_suffix("")))
    names = [name for name, dtype in reader.get_variable_to_dtype_map().items() if dtype in (tf.float32, tf.int64)]
    return {name: reader.get_tensor(name) for name in names}
