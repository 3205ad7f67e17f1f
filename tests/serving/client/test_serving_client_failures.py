# SPDX-License-Identifier: Apache-2.0
"""The clients against servers that are down, slow, silent, broken or of another kind: bounded time and one clear error."""

import asyncio
import pickle
import socket
import time

import grpc
import numpy as np
import pytest

import serving.client.grpc_transport
import serving.client.rest_transport
import serving.client.retries
from serving.client import PredictionError
from serving.client.rest_transport import AsyncRestTransport, RestTransport
from serving.client.transports import Endpoint
from tests.serving.client.both_clients import CLIENTS, TRANSPORTS, ask
from tests.serving.client.hostile_servers import (
    RIGHT,
    SCRIPTED,
    Talk,
    closing,
    endless,
    grpc_answer,
    http,
    listening,
    resetting,
    saying,
    scripted_grpc,
    scripted_rest,
    silent,
)
from tests.serving.server_process import Server

TIMEOUT = 0.25
# Of HTTP/2.
SETTINGS, RST_STREAM, REFUSED_STREAM = 4, 3, 7
# What a busy machine may add to it.
SLACK = 1.5
ROWS = [{"x": 0.25}, {"x": 0.75}]


def failure(asynchronous: bool, address: str, rest: bool, timeout: float = 5.0) -> PredictionError:
    """The error of asking, which must come in time and be one line."""
    start = time.monotonic()
    with pytest.raises(PredictionError) as caught:
        ask(asynchronous, address, ROWS, model="ranker", rest=rest, timeout=timeout)
    # What the model takes is the first request, the predictions are the second.
    assert time.monotonic() - start < 2 * timeout + SLACK
    assert caught.value.exit_code == 1
    told = str(caught.value)
    assert "\n" not in told
    assert address in told
    return caught.value


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts that a test can wait for."""
    monkeypatch.setattr(serving.client.retries, "FIRST_PAUSE", 0.01)


@CLIENTS
@TRANSPORTS
def test_a_server_that_is_down(asynchronous: bool, rest: bool) -> None:
    with listening(silent) as address:
        pass
    error = failure(asynchronous, address, rest)
    assert f"no server answers at {address}" in str(error)
    assert "crossdistil serve DIR/ranker" in str(error)
    assert error.code == "UNAVAILABLE"
    assert error.retryable


@CLIENTS
@TRANSPORTS
def test_a_server_that_says_nothing(asynchronous: bool, rest: bool) -> None:
    with listening(silent) as address:
        error = failure(asynchronous, address, rest, TIMEOUT)
    assert f"{address} did not answer within 0.25 s" in str(error)
    assert error.code == "DEADLINE_EXCEEDED"
    assert not error.retryable


@CLIENTS
@TRANSPORTS
@pytest.mark.parametrize("talk", [resetting, closing, saying(b"garbage\r\n\r\n")], ids=["resets", "closes", "garbage"])
def test_a_server_that_breaks_off(asynchronous: bool, rest: bool, talk: Talk) -> None:
    with listening(talk) as address:
        assert failure(asynchronous, address, rest).code == "UNAVAILABLE"


@CLIENTS
@TRANSPORTS
def test_a_server_that_sends_garbage_without_end(asynchronous: bool, rest: bool) -> None:
    with listening(endless(b"")) as address:
        failure(asynchronous, address, rest)


@CLIENTS
@pytest.mark.parametrize(
    "content", [http(b"{}" * 50), b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + b" " * 99], ids=["head", "body"]
)
def test_an_answer_that_comes_byte_by_byte(asynchronous: bool, content: bytes) -> None:
    with listening(saying(content, pause=0.05)) as address:
        assert "did not answer within 0.25 s" in str(failure(asynchronous, address, True, TIMEOUT))


def test_a_server_that_takes_a_large_request_byte_by_byte() -> None:
    def read_slowly(connection: socket.socket) -> None:
        while connection.recv(1):
            time.sleep(0.02)

    with listening(read_slowly) as address:
        endpoint = Endpoint(address, "ranker", TIMEOUT)
        start = time.monotonic()
        with pytest.raises(PredictionError, match=r"did not answer within 0\.25 s"):
            RestTransport(endpoint).exchange(b" " * (32 << 20))
        with pytest.raises(PredictionError, match=r"did not answer within 0\.25 s"):
            asyncio.run(AsyncRestTransport(endpoint).exchange(b" " * (32 << 20)))
        assert time.monotonic() - start < 2 * TIMEOUT + SLACK


@CLIENTS
def test_an_answer_that_ends_too_early(asynchronous: bool) -> None:
    with listening(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", then=lambda c: c.close())) as address:
        error = failure(asynchronous, address, rest=True)
    assert "did not answer to the end" in str(error)
    assert error.code == "UNAVAILABLE"


@CLIENTS
@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 503 No\r\ncontent-length: 999999999999\r\n\r\n"])
def test_an_endless_rest_answer_takes_no_endless_memory(asynchronous: bool, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.client.rest_transport, "MAX_ANSWER_BYTES", 1 << 20)
    with listening(endless(head.encode())) as address:
        assert "more than 1048576 bytes" in str(failure(asynchronous, address, rest=True))


@CLIENTS
def test_a_grpc_answer_that_is_too_large(asynchronous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.client.grpc_transport, "OPTIONS", [("grpc.max_receive_message_length", 1 << 16)])
    with scripted_grpc(b" " * (1 << 17)) as server:
        error = failure(asynchronous, server.address, rest=False)
    assert error.code == "RESOURCE_EXHAUSTED"
    assert not error.retryable
    assert len(server.predicts) == 1


@CLIENTS
def test_a_grpc_request_that_is_too_large_for_the_server(asynchronous: bool) -> None:
    with scripted_grpc(RIGHT) as server, pytest.raises(PredictionError, match="larger than max") as caught:
        ask(asynchronous, server.address, {"x": np.zeros(1_100_000)}, model="ranker", batch_size=1_100_000)
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert "give fewer rows in a request (`batch_size`)" in str(caught.value)
    assert not server.predicts


@CLIENTS
def test_a_grpc_server_without_room_for_another_stream(asynchronous: bool) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]))
        time.sleep(0.1)
        connection.sendall(bytes([0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, REFUSED_STREAM]))

    with listening(refuse) as address, pytest.raises(PredictionError) as caught:
        ask(asynchronous, address, ROWS, model="ranker", retries=0)
    assert f"{address} has no room for the request now" in str(caught.value)
    assert "no server" not in str(caught.value)
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)


@CLIENTS
@pytest.mark.parametrize("status", [400, 404, 408, 413, 500, 501, 504])
def test_an_html_page_in_place_of_an_answer(asynchronous: bool, status: int) -> None:
    codes = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED", 501: "UNIMPLEMENTED"}
    codes |= {408: "DEADLINE_EXCEEDED", 500: "INTERNAL", 504: "DEADLINE_EXCEEDED"}
    with scripted_rest(http(b"<html>\n<b>Oh", status, "text/html")) as server:
        error = failure(asynchronous, server.address, rest=True)
    assert f"HTTP status {status}" in str(error)
    assert "REST port" in str(error)
    assert error.code == codes[status]
    assert len(server.predicts) == 1


WRONG_REST = [b"<html>", b"[]", b'{"outputs": {"task": [[1], [1, 2]]}}', b'{"outputs": ["a", "b"]}', b'{"outputs": {}}', b"["]
WRONG_REST += [b'{"outputs": [0.5]}', b'{"outputs": [[0.5], [0.5]]}', b'{"outputs": {"another": [0.5, 0.5]}}', b"[" * 200_000]


@CLIENTS
@pytest.mark.parametrize("body", WRONG_REST, ids=lambda body: body[:40].decode())
def test_rest_answers_that_are_no_predictions(asynchronous: bool, body: bytes) -> None:
    with scripted_rest(http(body)) as server:
        error = failure(asynchronous, server.address, rest=True)
    assert "could not answer for the model 'ranker'" in str(error)
    assert error.code == "INTERNAL"


HALF = np.array([0.5, 0.5], np.float32)
WRONG_GRPC = {
    "no message": b"\xff" * 20,
    "no output": b"",
    "one value": grpc_answer(HALF[:1]),
    "a matrix": grpc_answer(HALF, [2, 1]),
    "another shape": grpc_answer(HALF, [3]),
    "a huge shape": grpc_answer(HALF, [1 << 50]),
    "a negative shape": grpc_answer(HALF, [-1]),
    "integers": grpc_answer(HALF, dtype=3),
}


@CLIENTS
@pytest.mark.parametrize("answer", WRONG_GRPC.values(), ids=WRONG_GRPC)
def test_grpc_answers_that_are_no_predictions(asynchronous: bool, answer: bytes) -> None:
    with scripted_grpc(answer) as server:
        error = failure(asynchronous, server.address, rest=False)
    assert "could not answer for the model 'ranker'" in str(error)
    assert error.code == "INTERNAL"


@CLIENTS
@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"metadata": 1}', b'{"metadata": {"signature_def": {"signature_def": 1}}}']
)
def test_metadata_of_another_kind(asynchronous: bool, body: bytes) -> None:
    with listening(saying(http(body))) as address:
        assert "could not answer for the model 'ranker'" in str(failure(asynchronous, address, rest=True))


@CLIENTS
def test_the_content_type_does_not_matter(asynchronous: bool) -> None:
    with scripted_rest(http(b'{"outputs": [0.25, 0.75]}', content_type="text/plain")) as server:
        answers = ask(asynchronous, server.address, ROWS, model="ranker", rest=True)
    np.testing.assert_array_equal(answers["task"], [0.25, 0.75])


@CLIENTS
@TRANSPORTS
def test_the_other_transports_port(server: Server, asynchronous: bool, rest: bool) -> None:
    address = server.grpc if rest else server.rest_address
    assert "REST" in str(failure(asynchronous, address, rest))


@CLIENTS
@TRANSPORTS
def test_a_model_that_is_not_served(server: Server, asynchronous: bool, rest: bool) -> None:
    address = server.rest_address if rest else server.grpc
    with pytest.raises(PredictionError, match="does not serve the model 'a model'") as caught:
        ask(asynchronous, address, ROWS, model="a model", rest=rest)
    assert caught.value.code == "NOT_FOUND"


@CLIENTS
@TRANSPORTS
def test_one_slow_request_does_not_outlast_its_timeout(asynchronous: bool, rest: bool) -> None:
    with SCRIPTED[rest](RIGHT, pause=0.5) as server:
        assert failure(asynchronous, server.address, rest, TIMEOUT).code == "DEADLINE_EXCEEDED"
        assert len(server.predicts) == 1


def test_the_codes_of_grpc() -> None:
    """Every status that TF Serving may send keeps its name, and only one of them is worth another attempt."""
    for status in set(grpc.StatusCode) - {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}:
        with scripted_grpc(status) as server:
            error = failure(False, server.address, rest=False)
        assert error.code == status.name
        assert not error.retryable
        assert len(server.predicts) == 1


def test_an_error_keeps_its_code_between_processes() -> None:
    error = pickle.loads(pickle.dumps(PredictionError("busy", "UNAVAILABLE")))
    assert (str(error), error.code, error.retryable) == ("busy", "UNAVAILABLE", True)
