# SPDX-License-Identifier: Apache-2.0
"""Beam's portable job server and a pool of worker processes, on the loopback interface."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_SECONDS = 30


@contextlib.contextmanager
def portable_services(folder: Path) -> Iterator[list[str]]:
    """Starts both and gives Beam's options that use them; their logs go to `folder`."""
    port, port_file = _free_port(), folder / "job_port"
    # The pool starts its workers as `python`.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    commands = {
        "job": ["portability.local_job_service_main", f"--port_file={port_file}", f"--staging_dir={folder}/staging"],
        "pool": ["worker.worker_pool_main", f"--service_port={port}"],
    }
    with contextlib.ExitStack() as stack:
        for name, (module, *options) in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", f"apache_beam.runners.{module}", *options],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            stack.callback(_end, process)
        _wait_until(lambda: port_file.is_file() and _answers(port))
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{port_file.read_text()}",
            "--environment_type=EXTERNAL",
            f"--environment_config=127.0.0.1:{port}",
        ]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _wait_until(ready: object) -> None:
    assert callable(ready)
    ends = time.monotonic() + _SECONDS
    while not ready():
        assert time.monotonic() < ends, "Beam's services did not start"
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    # With the workers that the pool has started; each service is a process group of its own.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_SECONDS)
