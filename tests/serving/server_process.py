# SPDX-License-Identifier: Apache-2.0
"""Local servers as processes, and the rows that the tests ask for."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tf_crossdistil

ROOT = Path(tf_crossdistil.__file__).parents[1]
ROWS: list[dict[str, Any]] = [
    {"author": "ann", "duration": 1.5},
    {"author": "bob", "duration": 0.0},
    {"author": "nobody", "duration": -3.25},
    {"author": "", "duration": 0.1},
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("author", "duration")}


@dataclass(frozen=True)
class Addresses:
    """Where a local server's faces are: gRPC as host and port, REST as the model's URL."""

    grpc: str
    rest: str

    @property
    def rest_address(self) -> str:
        return self.rest.removeprefix("http://").partition("/")[0]


@dataclass(frozen=True)
class Server(Addresses):
    """A local server's process, and the line that it said first."""

    process: subprocess.Popen[str]
    line: str


def start_server(model: Path, *options: str) -> Server:
    """Starts a server on free ports and waits until it says that it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.local_server", str(model), "--grpc-port", "0", "--rest-port", "0", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"serving (\S+) version (\d+): gRPC (\S+), REST (\S+)\n", line)
    if found is None:
        pytest.fail(f"the server said {line!r} and {process.communicate()[1]!r}")
    return Server(found[3], found[4], process, line)


def end_server(server: Server, number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Sends a signal; returns the exit code and what else the server wrote."""
    os.kill(server.process.pid, number)
    out, err = server.process.communicate(timeout=20)
    return server.process.returncode, out, err
