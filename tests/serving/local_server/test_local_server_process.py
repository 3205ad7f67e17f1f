# SPDX-License-Identifier: Apache-2.0
"""The local server as a process: what it prints, how it ends, which errors stop it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.client import Client, PredictionError
from serving.local_server.loading import load
from serving.local_server.server import main
from tests.serving.server_process import ROOT, ROWS, Server, end_server, start_server
from tf_crossdistil.errors import CrossDistilError


@pytest.mark.slow
def test_it_writes_nothing_about_a_client_at_the_wrong_port(model: Path) -> None:
    server = start_server(model)
    for address, rest in ((server.rest_address, False), (server.grpc, True)):
        with Client(address, model="ranker", rest=rest) as client, pytest.raises(PredictionError):
            client.predict(ROWS)
    assert end_server(server) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_the_server_which_answers_what_is_in_flight_and_wrote_only_its_line(model: Path, number: int) -> None:
    server = start_server(model)
    host, port = server.rest_address.split(":")
    assert re.fullmatch(
        rf"serving ranker version 12: gRPC {host}:\d+, REST http://{host}:{port}/v1/models/ranker\n", server.line
    )
    body = json.dumps({"instances": ROWS}).encode()
    head = f"POST /v1/models/ranker:predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\nExpect: 100-continue"
    with socket.create_connection((host, int(port)), timeout=20) as request:
        request.sendall(f"{head}\r\n\r\n".encode())
        assert request.recv(1024).startswith(b"HTTP/1.1 100")  # the server has begun to answer
        os.kill(server.process.pid, number)
        wait_until_refused(host, int(port))
        request.sendall(body)
        answer = http.client.HTTPResponse(request)
        answer.begin()
        assert answer.status == 200
        assert len(json.load(answer)["predictions"]) == len(ROWS)
    assert server.process.communicate(timeout=20) == ("", "")
    assert server.process.returncode == 0


@pytest.mark.slow
def test_a_signal_ends_the_server_in_bounded_time_with_a_stuck_client(model: Path) -> None:
    server = start_server(model)
    host, port = server.rest_address.split(":")
    with socket.create_connection((host, int(port))) as stuck, socket.create_connection((host, int(port))) as idle:
        stuck.sendall(b"POST /v1/models/ranker:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        idle.sendall(b"POST")
        time.sleep(0.5)
        start = time.monotonic()
        assert end_server(server) == (0, "", "")
        assert time.monotonic() - start < 15


def wait_until_refused(host: str, port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        while True:
            socket.create_connection((host, port)).close()
            time.sleep(0.02)


def catches_sigterm(process: int) -> bool:
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="sees in /proc when the server has begun")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_the_server_while_tensorflow_loads(model: Path, number: int) -> None:
    command = [sys.executable, "-m", "serving.local_server", str(model), "--grpc-port", "0", "--rest-port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not catches_sigterm(process.pid):
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(process.pid, number)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_it_listens_on_loopback_only(server: Server) -> None:
    for address in (server.grpc, server.rest_address):
        port = int(address.split(":")[1])
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port))


@pytest.mark.parametrize("option", ["--grpc-port", "--rest-port"])
def test_a_port_in_use(model: Path, server: Server, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for address in (server.grpc, server.rest_address):
        port = address.split(":")[1]
        other = "--rest-port" if option == "--grpc-port" else "--grpc-port"
        assert main([str(model), option, port, other, "0"]) == 1
        error = capsys.readouterr().err
        assert f"port {port} (Address already in use)" in error
        assert option in error
        assert error.count("\n") == 1


def test_no_such_port(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model), "--grpc-port", "70000", "--rest-port", "0"]) == 1
    assert "cannot listen on port 70000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("missing/ranker", "is no directory"),
        ("empty/ranker/assets/", "has no version"),
        ("half/ranker/7/", "7 has no saved_model.pb"),
    ],
)
def test_a_directory_without_a_model(tmp_path: Path, made: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    if made.endswith("/"):
        (tmp_path / made).mkdir(parents=True)
    assert main([str(tmp_path / made.partition("/")[0] / "ranker")]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "crossdistil export" in error
    assert error.count("\n") == 1


def test_a_broken_saved_model(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").write_bytes(b"no model")
    with pytest.raises(CrossDistilError, match="1 cannot be loaded: "):
        load(tmp_path / "1")
