# SPDX-License-Identifier: Apache-2.0
"""What a server process does around its work: ports and signals."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tf_crossdistil.errors import CrossDistilError

HOST = "127.0.0.1"


@contextmanager
def claimed_port(port: int, option: str) -> Iterator[socket.socket]:
    """A socket bound to a loopback port, not yet listening; port 0 takes a free one.

    Raises:
        CrossDistilError: the port cannot be had; names `option`, which chooses another one.
    """
    # asyncio sets TCP_NODELAY only where the protocol is named; without it every REST answer waits 40 ms for an ACK.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as claim:
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            claim.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise port_error(port, option, error) from error
        yield claim


def port_error(port: int, option: str, error: Exception) -> CrossDistilError:
    """The sentence for a port that cannot be listened on."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return CrossDistilError(f"cannot listen on port {port} ({reason}); choose another one with {option}, 0 picks a free one")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turns SIGTERM and SIGINT (Ctrl-C) into the end of the block; must be entered in the main thread."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
