# SPDX-License-Identifier: Apache-2.0
"""Many large requests at once: the server's memory stays bounded, and others are answered."""

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from serving.local_server.workers import MAX_REQUEST_BYTES
from tests.serving.served_rows import BODY, PREDICT, predict_request
from tests.serving.server_process import Server, end_server

AT_ONCE = 16
MOST_MIB = 1800


def most_resident_mib(server: Server) -> float:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


def ask_rest(server: Server, body: bytes) -> int:
    return httpx.post(server.rest + ":predict", content=body, timeout=300).status_code


def ask_grpc(server: Server, message: bytes) -> str:
    with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary(PREDICT)(message, timeout=300)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process in /proc")
def test_many_large_requests_at_once(model: Path, start: Callable[..., Server]) -> None:
    server = start(model)
    # Short lists take the most memory for their bytes, short texts the most of a message's.
    body = ('{"inputs": {"author": [' + "[]," * ((MAX_REQUEST_BYTES - 100) // 3) + '[]], "duration": [1]}}').encode()
    request = predict_request()
    request.inputs["author"].string_val.extend([b""] * 4_000_000)
    message = request.SerializeToString()
    with ThreadPoolExecutor(4 * AT_ONCE) as pool:
        rest = [pool.submit(ask_rest, server, body) for _ in range(AT_ONCE)]
        asked = [pool.submit(ask_grpc, server, message) for _ in range(3 * AT_ONCE)]
        small = [ask_rest(server, BODY) for _ in range(5)]
        told = Counter(future.result() for future in rest) + Counter(future.result() for future in asked)
    most = most_resident_mib(server)
    print(f"\nanswers {dict(told)}, small ones {small}; at most {most:.0f} MiB resident")
    assert set(told) <= {400, 503, "INVALID_ARGUMENT", "UNAVAILABLE"}
    assert told[400] > 0
    assert told["INVALID_ARGUMENT"] > 0
    assert small == [200] * 5
    assert most < MOST_MIB
    assert ask_rest(server, BODY) == 200
    assert end_server(server) == (0, "", "")
