# SPDX-License-Identifier: Apache-2.0
"""Connecting to a name with several addresses within one deadline."""

import socket
import time
from typing import Any

import httpcore
import pytest

from serving.client import PredictionError
from serving.client.rest_transport import RestTransport
from serving.client.transports import Endpoint
from tests.serving.client.hostile_servers import http, listening, saying


def test_the_addresses_of_a_name_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them, none of which takes connections, are given up in time; one that does is reached behind the others."""
    resolve, connect = socket.getaddrinfo, httpcore.SyncBackend.connect_tcp
    deaf = [f"192.0.2.{number}" for number in range(4)]

    def connect_to(backend: httpcore.SyncBackend, host: str, port: int, timeout: float, *others: Any) -> Any:
        if host not in deaf:
            return connect(backend, host, port, timeout, *others)
        time.sleep(timeout)
        raise httpcore.ConnectTimeout

    def exchange(address: str, resolved: list[str]) -> bytes:
        known = {"ranker.test": [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in resolved]}
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: known.get(host) or resolve(host, *rest))
        return RestTransport(Endpoint(address, "ranker", 0.4)).exchange(b"{}")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_to)
    start = time.monotonic()
    with pytest.raises(PredictionError, match=r"did not answer within 0\.4 s"):
        exchange("ranker.test:80", deaf)
    assert time.monotonic() - start < 2 * 0.4
    with listening(saying(http(b"[]"))) as address:
        assert exchange(address.replace("127.0.0.1", "ranker.test"), [*deaf[:2], "127.0.0.1"]) == b"[]"
