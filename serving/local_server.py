"""A small server with TF Serving's API, for development and tests on machines without Docker.

Production runs TF Serving itself: see serving/README.md.
"""

import argparse
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from serving.model_directory import newest_version
from serving.startup import HOST, claimed_port, ended_by_signals, port_error
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.startup import quiet_tensorflow

if TYPE_CHECKING:
    from serving.model_store import ModelStore

GRPC_PORT = 8500
REST_PORT = 8501
MAX_REQUEST_BYTES = 64 << 20
GRACE_SECONDS = 5
GRPC_THREADS = 16


def serve(model_directory: Path, grpc_port: int = GRPC_PORT, rest_port: int = REST_PORT) -> None:
    """Serves the newest version of an exported model on 127.0.0.1 until SIGTERM or Ctrl-C.

    Prints one line with both addresses when both ports are listening. Must be called in the main thread.

    Args:
        model_directory: `DIR/NAME`, whose versions are folders with a number as name.
        grpc_port: where to listen for gRPC; 0 picks a free port.
        rest_port: where to listen for REST; 0 picks a free port.

    Raises:
        CrossDistilError: there is no model to load, or a port cannot be listened on.
    """
    version = newest_version(model_directory.absolute())
    with (
        ended_by_signals(),
        claimed_port(grpc_port, "--grpc-port") as grpc_claim,
        claimed_port(rest_port, "--rest-port") as rest_socket,
        ExitStack() as running,
    ):
        with quiet_tensorflow():
            # TensorFlow takes seconds to import; a wrong directory or port is told before that.
            from serving.model_store import ModelStore

            store = ModelStore(version)
        running.callback(store.close)
        grpc_port = running.enter_context(_grpc_running(store, grpc_claim))
        rest_port = running.enter_context(_rest_running(store, rest_socket))
        running.callback(_ignore_signals)
        rest_address = f"http://{HOST}:{rest_port}/v1/models/{store.name}"
        print(f"serving {store.name} version {version.name}: gRPC {HOST}:{grpc_port}, REST {rest_address}", flush=True)
        Event().wait()


@contextmanager
def _grpc_running(store: "ModelStore", claim: socket.socket) -> Iterator[int]:
    import grpc

    from serving.grpc_service import GrpcService

    port: int = claim.getsockname()[1]
    # Without so_reuseport=0 a second server would share the port silently and get half of the requests.
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_REQUEST_BYTES)]
    server = grpc.server(ThreadPoolExecutor(GRPC_THREADS), options=options)
    GrpcService(store).add_to(server)
    try:
        server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError as error:
        raise port_error(port, "--grpc-port", error) from error
    server.start()
    try:
        yield port
    finally:
        server.stop(GRACE_SECONDS).wait()


@contextmanager
def _rest_running(store: "ModelStore", claimed: socket.socket) -> Iterator[int]:
    import uvicorn

    from serving.rest_service import RestService

    port: int = claimed.getsockname()[1]
    try:
        claimed.listen()
    except OSError as error:
        raise port_error(port, "--rest-port", error) from error
    application = RestService(store, MAX_REQUEST_BYTES).application()
    # uvicorn's warnings are of clients that speak no HTTP, such as gRPC's; whoever sent that is told by the answer.
    config = uvicorn.Config(
        application,
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    # In a thread of its own uvicorn leaves the signals to us: in the main one it raises them again after its end.
    thread = Thread(target=server.run, kwargs={"sockets": [claimed]}, name="rest")
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()


def _ignore_signals() -> None:
    """A second Ctrl-C must not break off the orderly end, which takes GRACE_SECONDS at most."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main(arguments: list[str] | None = None) -> int:
    """Runs the server from a command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving.local_server", description=__doc__)
    parser.add_argument("model_directory", type=Path, metavar="DIR/NAME", help="an exported model")
    parser.add_argument("--grpc-port", type=int, default=GRPC_PORT, help="0 picks a free port (default %(default)s)")
    parser.add_argument("--rest-port", type=int, default=REST_PORT, help="0 picks a free port (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        serve(options.model_directory, options.grpc_port, options.rest_port)
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
