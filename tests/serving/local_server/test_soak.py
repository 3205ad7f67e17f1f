# SPDX-License-Identifier: Apache-2.0
"""Steady load on the local server: `make soak`."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.local_server.steady_clients import Client
from tests.serving.served_rows import right_answers
from tests.serving.server_process import ROWS, Server, end_server

REQUESTS = 10_000
ROWS_EACH = 64
CLIENTS = 8
# Two versions are in memory at once during the swap; the allocator keeps some of that.
GROWTH_MIB = 40.0


def resident_mib(process: int) -> float:
    found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process in /proc")
def test_ten_thousand_requests_with_a_new_version_in_between(model: Path, tmp_path: Path, start: Callable[..., Server]) -> None:
    directory = tmp_path / "ranker"
    shutil.copytree(model / "3", directory / "1")
    server = start(directory, "--poll-seconds", "0.5")
    right = {1: right_answers(model / "3"), 2: right_answers(model / "12")}

    def clients(requests: int) -> list[Client]:
        made = [Client(server, rest, right, ROWS_EACH // len(ROWS), requests) for rest in (False, True) * (CLIENTS // 2)]
        for client in made:
            client.start()
        return made

    def join(asking: list[Client]) -> None:
        for client in asking:
            client.join()
        assert [client.fault for client in asking] == [None] * CLIENTS

    join(clients(100))
    memory = [resident_mib(server.process.pid)]
    began = time.monotonic()
    asking = clients(REQUESTS // CLIENTS)
    while sum(client.answered for client in asking) < REQUESTS // 2 and any(client.is_alive() for client in asking):
        time.sleep(0.01)
    memory.append(resident_mib(server.process.pid))
    shutil.copytree(model / "12", directory / "2")
    join(asking)
    seconds = time.monotonic() - began
    memory.append(resident_mib(server.process.pid))
    print(f"\n{REQUESTS} requests of {ROWS_EACH} rows in {seconds:.1f} s; resident MiB at start, swap and end: {memory}")
    assert sum(client.answered for client in asking) == REQUESTS
    assert [client.seen for client in asking] == [[1, 2]] * CLIENTS
    assert memory[-1] - memory[0] < GROWTH_MIB
    assert end_server(server) == (0, "serving ranker version 2\n", "")
