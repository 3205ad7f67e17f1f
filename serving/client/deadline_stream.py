# SPDX-License-Identifier: Apache-2.0
"""Sockets that keep to one deadline: by themselves their time-outs begin anew with each byte that a slow server sends."""

import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore


class Deadline:
    """When the exchange of the calling thread has to be over."""

    def __init__(self) -> None:
        self._local = threading.local()

    def set(self, seconds: float) -> None:
        """The calling thread's exchange may take so long from now on."""
        self._local.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end. Raises: httpcore.TimeoutException: it has passed."""
        seconds: float = self._local.at - time.monotonic()
        if seconds <= 0:
            raise httpcore.TimeoutException
        return seconds


class DeadlineBackend(httpcore.NetworkBackend):
    """Connects to servers; neither connecting nor any stream of it outlasts the deadline, only the look-up of a name may."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Opens a connection to the first of the host's addresses that takes it; each may take its share of what is left."""
        addresses = _addresses(host, port)
        for untried in range(len(addresses), 0, -1):
            share = self._deadline.left() / untried
            try:
                stream = self._backend.connect_tcp(addresses[-untried], port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if untried == 1:
                    raise
            else:
                return _DeadlineStream(stream, self._deadline)
        raise httpcore.ConnectError(f"{host} has no address")


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Not the stream's own method: its time-out begins anew with each part that a slow server takes.
        sock = self._stream.get_extra_info("socket")
        try:
            sock.settimeout(self._deadline.left())
            sock.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
