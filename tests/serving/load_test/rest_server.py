# SPDX-License-Identifier: Apache-2.0
"""A REST server in a thread whose answers a test decides, and a load test's options for it."""

import asyncio
import json
import threading
from contextlib import contextmanager

SIGNATURE = {
    "inputs": {"author": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}},
    "outputs": {"like": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}},
}
METADATA = {"metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}}}


@contextmanager
def rest_server(answer):
    """A REST server whose answer to the n-th prediction, status and body, is `await answer(n)`; None breaks the connection."""
    numbers = iter(range(1_000_000))
    ready: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = []
    started = threading.Event()

    async def handle(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
                )
                await reader.readexactly(int(length))
                answered = (200, METADATA) if head.startswith(b"GET") else await answer(next(numbers))
                if answered is None:
                    return
                body = json.dumps(answered[1]).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (answered[0], len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve():
        end = asyncio.Event()
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        ready.append((asyncio.get_running_loop(), end, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        started.set()
        await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    loop, end, address = ready[0]
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


GOOD = (200, {"outputs": [0.5] * 4})


def rest_options(address, folder):
    """Options for requests of 4 rows; the results are written to `l.json` in the folder."""
    path = folder / "authors.csv"
    path.write_text("author\nann\nbob\n", encoding="utf-8")
    return ("--server", address, "--rest", "--model", "m", "--input", path, "--rows", 4, "--json", folder / "l.json")
