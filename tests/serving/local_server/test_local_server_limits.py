# SPDX-License-Identifier: Apache-2.0
"""The local server under clients that are slow, silent, stuck, many or too large."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event

import grpc
import httpx
import pytest

from serving.local_server import listening, message_reader, rest_connection, rest_service
from serving.local_server.model_store import ModelStore
from serving.local_server.signature import MAX_ROWS
from serving.local_server.workers import MAX_REQUEST_BYTES
from tests.serving.served_rows import BODY, PREDICT, faces, predict_request
from tests.serving.server_process import ROWS, Server

HEAD = b"POST /v1/models/ranker:predict HTTP/1.1\r\nHost: localhost\r\n"
MAX_BODY = 1 << 20
SECONDS = 0.5


@pytest.fixture(scope="module")
def addresses(store: ModelStore) -> Iterator[tuple[str, str]]:
    """A server with short times and small sizes: one body of MAX_BODY, two of all requests together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_reader, "READ_SECONDS", SECONDS)
        patch.setattr(rest_service, "READ_SECONDS", SECONDS)
        patch.setattr(rest_connection, "HEAD_SECONDS", SECONDS)
        patch.setattr(listening, "MAX_BYTES", 2 * MAX_BODY)
        patch.setattr(listening, "MAX_REQUEST_BYTES", MAX_BODY)
        with faces(store) as made:
            yield made


def connected(address: str) -> socket.socket:
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer_of(connection: socket.socket) -> tuple[int, str]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.load(answer)["error"]


def assert_a_status(connection: socket.socket) -> None:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert json.load(answer)["model_version_status"][0]["state"] == "AVAILABLE"


def assert_both_answer(addresses: tuple[str, str]) -> None:
    start = time.monotonic()
    assert len(httpx.post(f"http://{addresses[1]}/v1/models/ranker:predict", content=BODY).json()["predictions"]) == len(ROWS)
    with grpc.insecure_channel(addresses[0]) as channel:
        channel.unary_unary(PREDICT)(predict_request().SerializeToString(), timeout=10)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("sent", [b"", b"POS", HEAD], ids=["nothing", "half a line", "half a head"])
def test_a_connection_without_a_request_is_closed(addresses: tuple[str, str], sent: bytes) -> None:
    with connected(addresses[1]) as connection:
        connection.sendall(sent)
        start = time.monotonic()
        assert connection.recv(1024) == b""
        assert SECONDS - 0.2 < time.monotonic() - start < 5


def test_a_head_of_a_byte_at_a_time_is_ended(addresses: tuple[str, str]) -> None:
    with connected(addresses[1]) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for byte in HEAD * 3:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)


def test_a_second_head_on_a_connection_is_waited_for_no_longer(addresses: tuple[str, str]) -> None:
    with connected(addresses[1]) as connection:
        connection.sendall(b"GET /v1/models/ranker HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert_a_status(connection)
        time.sleep(2 * SECONDS)  # Silence between two requests may last longer than a head.
        connection.sendall(b"GET /v1/models/ranker HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert_a_status(connection)
        connection.sendall(b"GET")
        assert connection.recv(1024) == b""


def test_a_body_that_does_not_come_is_told_and_ended(addresses: tuple[str, str]) -> None:
    with connected(addresses[1]) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        told = f"the request's body came too slowly: nothing for {SECONDS} seconds, or little for longer"
        assert answer_of(connection) == (408, told)
        assert connection.recv(1024) == b""


def test_a_large_body_whose_end_trickles_is_ended_soon(addresses: tuple[str, str]) -> None:
    with connected(addresses[1]) as connection:
        connection.sendall(HEAD + f"Content-Length: {MAX_BODY}\r\n\r\n".encode() + b" " * (MAX_BODY - 100))
        start = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - start < 3:
                connection.sendall(b" ")
                time.sleep(0.05)


def test_a_message_that_does_not_come_is_told(addresses: tuple[str, str]) -> None:
    never = Event()

    def nothing() -> Iterator[bytes]:
        never.wait()
        yield b""

    with grpc.insecure_channel(addresses[0]) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(PREDICT)(nothing(), timeout=10)
        never.set()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == f"the request's message did not come within {SECONDS} seconds"


def test_slow_and_idle_clients_do_not_hold_up_others(addresses: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((message_reader, "READ_SECONDS"), (rest_service, "READ_SECONDS"), (rest_connection, "HEAD_SECONDS")):
        monkeypatch.setattr(module, name, 30)
    never = Event()

    def nothing() -> Iterator[bytes]:
        never.wait()
        yield b""

    with ExitStack() as stuck:
        stuck.callback(never.set)
        for _ in range(2):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = stuck.enter_context(grpc.insecure_channel(addresses[0], options))
            silent = [channel.stream_unary(PREDICT).future(nothing()) for _ in range(20)]
        for _ in range(40):
            stuck.enter_context(connected(addresses[1])).sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
            stuck.enter_context(connected(addresses[1])).sendall(HEAD)
        for _ in range(150):
            stuck.enter_context(connected(addresses[0]))
            stuck.enter_context(connected(addresses[1]))
        assert_both_answer(addresses)
        pushed_out = next(call for call in silent if call.done())
        assert pushed_out.code() == grpc.StatusCode.UNAVAILABLE
        assert pushed_out.details() == "the request's message comes too slowly while other requests wait; ask again later"


def test_large_requests_together_are_refused_by_both_faces_and_small_ones_pass(addresses: tuple[str, str]) -> None:
    body, message = BODY + b" " * (MAX_BODY // 10), predict_request(["a" * (MAX_BODY // 10)], [1.0]).SerializeToString()
    most = HEAD + f"Content-Length: {MAX_BODY}\r\n\r\n".encode() + b" " * (MAX_BODY - 10)
    url = f"http://{addresses[1]}/v1/models/ranker:predict"
    told = "the requests that are being answered are too large together; ask again later"
    with ExitStack() as stuck:
        for _ in range(2):
            stuck.enter_context(connected(addresses[1])).sendall(most)
        deadline = time.monotonic() + 5
        while (response := httpx.post(url, content=body)).status_code == 200:
            assert time.monotonic() < deadline
        assert (response.status_code, response.json()) == (503, {"error": told})
        assert refusal(addresses[0], message) == (grpc.StatusCode.UNAVAILABLE, told)
        assert_both_answer(addresses)
    while httpx.post(url, content=body).status_code == 503:
        assert time.monotonic() < deadline
    with grpc.insecure_channel(addresses[0]) as channel:
        channel.unary_unary(PREDICT)(message, timeout=10)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_told_at_its_end(addresses: tuple[str, str], announced: bool) -> None:
    body = b" " * (MAX_BODY + 1)
    chunks = body if announced else (body[start : start + 65536] for start in range(0, len(body), 65536))
    response = httpx.post(f"http://{addresses[1]}/v1/models/ranker:predict", content=chunks)
    assert response.status_code == 413
    assert response.json()["error"].startswith(f"the request has more than {MAX_BODY} bytes")


def refusal(address: str, message: bytes) -> tuple[grpc.StatusCode, str]:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(PREDICT)(message, timeout=10)
    return caught.value.code(), caught.value.details()


def test_too_many_rows(addresses: tuple[str, str]) -> None:
    request = predict_request(["a"] * (MAX_ROWS + 1), [0.5] * (MAX_ROWS + 1))
    told = f"a request may have at most {MAX_ROWS} rows; received {MAX_ROWS + 1}, send fewer at a time"
    assert refusal(addresses[0], request.SerializeToString()) == (grpc.StatusCode.INVALID_ARGUMENT, told)


def test_a_message_that_is_too_large(server: Server) -> None:
    code, told = refusal(server.grpc, b" " * (MAX_REQUEST_BYTES + 1))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(MAX_REQUEST_BYTES) in told


def test_messages_that_are_none(addresses: tuple[str, str]) -> None:
    code, told = refusal(addresses[0], b"\xff" * 10)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert told.startswith("the message is no PredictRequest")
    assert refusal(addresses[0], b"") == (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
    with grpc.insecure_channel(addresses[0]) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(PREDICT)(iter(()), timeout=10)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_an_error_about_long_names_reaches_the_client(addresses: tuple[str, str]) -> None:
    request = predict_request()
    request.inputs["日" * 100_000].CopyFrom(request.inputs["author"])
    code, told = refusal(addresses[0], request.SerializeToString())
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert told.startswith("unknown input '日日")


def test_the_end_is_bounded_with_stuck_clients(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "GRACE_SECONDS", 1)
    for module in (message_reader, rest_service):
        monkeypatch.setattr(module, "READ_SECONDS", 30)
    never = Event()

    def nothing() -> Iterator[bytes]:
        never.wait()
        yield b""

    with ExitStack() as stuck:
        stuck.callback(never.set)
        with faces(store) as (grpc_address, rest_address):
            channel = stuck.enter_context(grpc.insecure_channel(grpc_address))
            waiting = channel.stream_unary(PREDICT).future(nothing())
            stuck.enter_context(connected(rest_address)).sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
            stuck.enter_context(connected(rest_address)).sendall(HEAD)
            stuck.enter_context(connected(grpc_address))
            assert_both_answer((grpc_address, rest_address))
            start = time.monotonic()
        assert time.monotonic() - start < 5
        assert waiting.code() == grpc.StatusCode.UNAVAILABLE
