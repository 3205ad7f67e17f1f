# SPDX-License-Identifier: Apache-2.0
"""Worker processes of the local runner, whose death ends the pipeline: with Beam's own, the launcher waits for ever."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format, text_format

from pipelines.beam import GrpcWorkerHandler, SubprocessSDKEnvironment, WorkerHandler, beam_fn_api_pb2, endpoints_pb2
from pipelines.runs.failures import has_failed, recorded_failure
from pipelines.runs.storage import RunPath, run_path
from tf_crossdistil.errors import CrossDistilError

_URN = "crossdistil:env:worker_process:v1"
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_END = 3.0
# Beam's threads that talk to a worker, and have nothing to tell about its death that the launcher does not.
_TALKING_THREADS = ("beam_control_read", "read_grpc_client_inputs")


class ProcessEnvironment(SubprocessSDKEnvironment):
    """Makes the runner start workers as `WorkerProcess`, for the run in a directory."""

    def __init__(self, run: RunPath) -> None:
        # Ctrl-C reaches the whole group of processes; workers end when their launcher, whose business it is, lets them go.
        super().__init__(f"trap '' INT; exec {shlex.quote(sys.executable)} -m pipelines.runners.worker {os.getpid()}")
        self._run = run

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """How the runner finds the handler, and what that is told."""
        return _URN, json.dumps([self.command_string, str(self._run)]).encode()


@WorkerHandler.register_environment(_URN, bytes)
class WorkerProcess(GrpcWorkerHandler):
    """One worker process. Its death is a failure of the run: it ends its fellows and all that the runner waits for."""

    def __init__(self, told: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._command, run = json.loads(told)
        self._run = run_path(run)
        self._ends = threading.Event()
        # What the workers of one pipeline share.
        self._fellows: list[WorkerProcess] = grpc_server.__dict__.setdefault("worker_processes", [])

    def start_worker(self) -> None:
        """Starts the process."""
        control = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        environment = {
            **os.environ,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
            "WORKER_ID": self.worker_id,
        }
        self._process = subprocess.Popen(self._command, shell=True, env=environment)
        self._fellows.append(self)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop_worker(self) -> None:
        """Waits until the process has ended, which it does when its connection is closed, unless it was interrupted at work."""
        self._ends.set()
        self._thread.join()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            for fellow in self._fellows:
                fellow._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Ends the process, or what is left of its connections."""
        self._ends.set()
        try:
            super().close()
        except Exception:
            # The connection to a dead worker ends with the error that it died of, which is told by then.
            self._process.kill()
            self.stop_worker()

    def _watch(self) -> None:
        while (code := self._process.poll()) is None:
            if self._ends.wait(_SECONDS_BETWEEN_LOOKS):
                return
        if not has_failed(self._run):
            with recorded_failure(self._run, "worker"):
                raise CrossDistilError(f"a worker process {_how_it_ended(code)}")
        for fellow in self._fellows:
            fellow._process.kill()
        # Requests may still be made until the runner has noticed.
        while not self._ends.wait(_SECONDS_BETWEEN_LOOKS):
            for number in list(self.control_conn._futures_by_id):
                if future := self.control_conn._futures_by_id.pop(number, None):
                    future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=number, error="a worker died"))


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return (
            f"ended with exit code {code} before its work was done; run again with --direct_running_mode=in_memory to see why"
        )
    name = signal.Signals(-code).name
    return f"was killed by {name}, as happens when memory runs out; use fewer workers or a machine with more memory"


@contextlib.contextmanager
def silent_connections() -> Iterator[None]:
    """Keeps the tracebacks of broken connections to workers off the terminal."""
    usual = threading.excepthook

    def tell(failed: Any) -> None:
        if failed.thread is None or failed.thread.name not in _TALKING_THREADS:
            usual(failed)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = usual
