# SPDX-License-Identifier: Apache-2.0
"""Both faces of the local server, gRPC and REST, in one event loop in a thread of its own."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread

import grpc
import uvicorn

from serving.local_server.budget import Budget
from serving.local_server.grpc_service import GrpcService
from serving.local_server.model_store import ModelStore
from serving.local_server.rest_connection import Connection
from serving.local_server.rest_service import RestService
from serving.local_server.startup import HOST, port_error
from serving.local_server.workers import MAX_REQUEST_BYTES, Workers

GRACE_SECONDS = 5
# Large requests are answered one at a time, so room for some that wait is enough.
MAX_BYTES = 4 * MAX_REQUEST_BYTES

GRPC_OPTIONS = [
    # Without this a second server would share the port silently and get half of the requests.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    # A connection that says nothing ends, and one alone cannot make others wait for long.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_concurrent_streams", 16),
    # Otherwise megabytes of each request come in before its message is read.
    ("grpc.http2.bdp_probe", 0),
]


@contextmanager
def listening(store: ModelStore, grpc_claim: socket.socket, rest_claim: socket.socket) -> Iterator[None]:
    """Answers requests on both ports within the block; then refuses new ones and ends those that run.

    Raises:
        CrossDistilError: a port cannot be listened on.
    """
    _allow_many_connections()
    started: Future[Callable[[], None]] = Future()
    workers, budget = Workers(), Budget(MAX_BYTES)
    # In the main thread uvicorn would take the signals and raise them again after its end.
    loop = Thread(target=lambda: asyncio.run(_answer(store, workers, budget, grpc_claim, rest_claim, started)), name="requests")
    loop.start()
    try:
        end = started.result()
        try:
            yield
        finally:
            end()
    finally:
        loop.join()
        workers.close()


async def _answer(
    store: ModelStore,
    workers: Workers,
    budget: Budget,
    grpc_claim: socket.socket,
    rest_claim: socket.socket,
    started: Future[Callable[[], None]],
) -> None:
    """Serves both ports until it is told to end; `started` gets the function that tells so."""
    try:
        grpc_server = _grpc_server(store, workers, budget, grpc_claim)
        rest_server = _rest_server(store, workers, budget, rest_claim)
        await grpc_server.start()
    except BaseException as error:
        started.set_exception(error)
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    answering = asyncio.create_task(rest_server.serve(sockets=[rest_claim]))

    def end() -> None:
        loop.call_soon_threadsafe(ended.set)

    started.set_result(end)
    await ended.wait()
    rest_server.should_exit = True
    await asyncio.gather(grpc_server.stop(GRACE_SECONDS), answering)


def _grpc_server(store: ModelStore, workers: Workers, budget: Budget, claim: socket.socket) -> grpc.aio.Server:
    port: int = claim.getsockname()[1]
    server = grpc.aio.server(options=GRPC_OPTIONS)
    GrpcService(store, workers, budget).add_to(server)
    try:
        server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError as error:
        raise port_error(port, "--grpc-port", error) from error
    return server


def _rest_server(store: ModelStore, workers: Workers, budget: Budget, claim: socket.socket) -> uvicorn.Server:
    try:
        claim.listen()
    except OSError as error:
        raise port_error(claim.getsockname()[1], "--rest-port", error) from error
    config = uvicorn.Config(
        RestService(store, workers, budget, MAX_REQUEST_BYTES),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        # What uvicorn writes is of clients that speak no HTTP or do not end; whoever sent that is told by the answer.
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def _allow_many_connections() -> None:
    """Raises the number of files that may be open, and so of connections, as far as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
