# SPDX-License-Identifier: Apache-2.0
"""A small server with TF Serving's API, for development and tests on machines without Docker.

Production runs TF Serving itself: see serving/README.md.
"""

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from serving.local_server.model_directory import newest_version
from serving.local_server.startup import HOST, claimed_port, ended_by_signals
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.startup import quiet_tensorflow

GRPC_PORT = 8500
REST_PORT = 8501
POLL_SECONDS = 1.0


def serve(
    model_directory: Path, grpc_port: int = GRPC_PORT, rest_port: int = REST_PORT, poll_seconds: float = POLL_SECONDS
) -> None:
    """Serves the newest version of an exported model on 127.0.0.1 until SIGTERM or Ctrl-C, and newer ones as they appear.

    Prints one line with both addresses when both ports are listening, and one for each later version. Must be called in the
    main thread.

    Args:
        model_directory: `DIR/NAME`, whose versions are folders with a number as name.
        grpc_port: where to listen for gRPC; 0 picks a free port.
        rest_port: where to listen for REST; 0 picks a free port.
        poll_seconds: the time between two looks at the directory.

    Raises:
        CrossDistilError: there is no model to load, or a port cannot be listened on.
    """
    if not poll_seconds > 0:
        raise UsageError(f"the seconds between two looks at the model must be more than 0; received {poll_seconds}")
    directory = model_directory.absolute()
    newest_version(directory)
    with (
        ended_by_signals(),
        claimed_port(grpc_port, "--grpc-port") as grpc_claim,
        claimed_port(rest_port, "--rest-port") as rest_claim,
        ExitStack() as running,
    ):
        with quiet_tensorflow():
            # TensorFlow takes seconds to import; a wrong directory or port is told before that.
            from serving.local_server.listening import listening
            from serving.local_server.model_store import ModelStore
            from serving.local_server.version_watcher import VersionWatcher

            store = ModelStore(directory.name)
            watcher = VersionWatcher(directory, store)
            version = watcher.load_first()
        running.callback(store.close)
        grpc_port, rest_port = (claim.getsockname()[1] for claim in (grpc_claim, rest_claim))
        running.enter_context(listening(store, grpc_claim, rest_claim))
        running.enter_context(watcher.watching(poll_seconds))
        running.callback(_ignore_signals)
        rest_address = f"http://{HOST}:{rest_port}/v1/models/{store.name}"
        print(f"serving {store.name} version {version}: gRPC {HOST}:{grpc_port}, REST {rest_address}", flush=True)
        Event().wait()


def _ignore_signals() -> None:
    """A second Ctrl-C must not break off the orderly end, which takes some seconds at most."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main(arguments: list[str] | None = None) -> int:
    """Runs the server from a command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving.local_server", description=__doc__)
    parser.add_argument("model_directory", type=Path, metavar="DIR/NAME", help="an exported model")
    parser.add_argument("--grpc-port", type=int, default=GRPC_PORT, help="0 picks a free port (default %(default)s)")
    parser.add_argument("--rest-port", type=int, default=REST_PORT, help="0 picks a free port (default %(default)s)")
    parser.add_argument(
        "--poll-seconds", type=float, default=POLL_SECONDS, help="between two looks for new versions (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        serve(options.model_directory, options.grpc_port, options.rest_port, options.poll_seconds)
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0
