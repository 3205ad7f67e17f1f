# SPDX-License-Identifier: Apache-2.0
"""A new version appears, and a broken one, while eight clients send requests."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from serving.local_server.model_store import ModelStore
from serving.local_server.version_watcher import VersionWatcher
from tests.serving.local_server.steady_clients import Client
from tests.serving.served_rows import faces, right_answers
from tests.serving.server_process import Addresses, Server, end_server


def status(server: Addresses) -> dict[str, str]:
    states = httpx.get(server.rest).json()["model_version_status"]
    return {state["version"]: state["state"] for state in states}


def wait_for(server: Addresses, version: str, state: str) -> None:
    deadline = time.monotonic() + 60
    while status(server).get(version) != state:
        assert time.monotonic() < deadline, status(server)
        time.sleep(0.02)


def swap(server: Addresses, directory: Path, model: Path) -> None:
    """Brings a broken version and a right one into the folder of a server of version 1, while clients ask."""
    right = {1: right_answers(model / "3"), 3: right_answers(model / "12")}
    clients = [Client(server, rest, right, pause_seconds=0.02) for rest in (False, True) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.2)
    broken = shutil.copytree(model / "12", directory.parent / "2")
    shutil.rmtree(broken / "variables")
    broken.rename(directory / "2")
    wait_for(server, "2", "END")
    shutil.copytree(model / "12", directory / "3")  # Not at once, as a copy over a network is not.
    wait_for(server, "1", "END")
    shutil.rmtree(directory / "1")
    time.sleep(0.3)
    for client in clients:
        client.ended.set()
    for client in clients:
        client.join(30)
    assert [client.fault for client in clients] == [None] * 8
    assert [client.seen for client in clients] == [[1, 3]] * 8
    assert status(server) == {"3": "AVAILABLE", "2": "END", "1": "END"}
    (broken_status,) = httpx.get(server.rest + "/versions/2").json()["model_version_status"]
    assert "2 cannot be loaded: " in broken_status["status"]["error_message"]
    assert broken_status["status"]["error_code"] == "UNKNOWN"


def assert_told(directory: Path, output: str, errors: str) -> None:
    assert output == "serving ranker version 3\n"
    assert errors.startswith(f"error: {directory}/2 cannot be loaded: ")
    assert errors.endswith("; version 1 keeps serving\n")
    assert errors.count("\n") == 1


@pytest.fixture
def directory(model: Path, tmp_path: Path) -> Path:
    shutil.copytree(model / "3", tmp_path / "ranker" / "1")
    return tmp_path / "ranker"


def test_versions_come_and_go_under_requests(directory: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ModelStore("ranker")
    watcher = VersionWatcher(directory, store)
    watcher.load_first()
    with faces(store) as (grpc_address, rest_address), watcher.watching(0.1):
        swap(Addresses(grpc_address, f"http://{rest_address}/v1/models/ranker"), directory, model)
    store.close()
    assert_told(directory, *capsys.readouterr())


@pytest.mark.slow
def test_versions_come_and_go_in_a_server_process(directory: Path, model: Path, start: Callable[..., Server]) -> None:
    server = start(directory, "--poll-seconds", "0.1")
    swap(server, directory, model)
    code, output, errors = end_server(server)
    assert code == 0
    assert_told(directory, output, errors)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_a_time_between_looks_that_is_none(model: Path, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    from serving.local_server.server import main

    assert main([str(model), "--poll-seconds", seconds]) == 2
    assert "must be more than 0" in capsys.readouterr().err
