"""The client library, through both transports."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from serving.client import BATCH_SIZE, Client, PredictionError
from serving.transports import ModelInput, ModelSignature
from tests.serving.server_process import COLUMNS, ROOT, ROWS, Server
from tf_crossdistil.errors import UsageError

SIGNATURE = ModelSignature({"author": ModelInput("DT_STRING"), "duration": ModelInput("DT_FLOAT")}, ("finish", "like"))
TRANSPORTS = pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])


def connect(server: Server, rest: bool, model: str = "ranker") -> Client:
    return Client(server.rest_address if rest else server.grpc, model=model, rest=rest)


def assert_answers(received: dict[str, np.ndarray], expected: dict[str, np.ndarray], times: int = 1) -> None:
    assert set(received) == set(expected)
    for task, probabilities in expected.items():
        assert received[task].dtype == np.float32
        np.testing.assert_allclose(received[task], np.tile(probabilities, times), rtol=0, atol=1e-6)


@TRANSPORTS
@pytest.mark.parametrize(
    "rows",
    [ROWS, tuple(ROWS), COLUMNS, {"author": np.array(COLUMNS["author"]), "duration": np.array(COLUMNS["duration"])}],
    ids=["list", "tuple", "columns", "arrays"],
)
def test_rows_and_columns(server: Server, rest: bool, rows: Any, expected: dict[str, np.ndarray]) -> None:
    with connect(server, rest) as client:
        assert_answers(client.predict(rows), expected)


@TRANSPORTS
def test_none_is_a_missing_value(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        missing = client.predict([{"author": None, "duration": 2.0}, {"author": "ann", "duration": None}])
        explicit = client.predict([{"author": "", "duration": 2.0}, {"author": "ann", "duration": 0.0}])
    for task, probabilities in explicit.items():
        np.testing.assert_array_equal(missing[task], probabilities)


@TRANSPORTS
def test_whole_floats_are_the_integers_that_logs_hold(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        np.testing.assert_array_equal(
            client.predict([{"author": 3.0, "duration": 1}])["like"], client.predict([{"author": "3", "duration": 1}])["like"]
        )


@TRANSPORTS
def test_large_inputs_keep_their_order(server: Server, rest: bool, expected: dict[str, np.ndarray]) -> None:
    times = BATCH_SIZE // len(ROWS) * 2 + 1
    with connect(server, rest) as client:
        assert_answers(client.predict(ROWS * times), expected, times)


@TRANSPORTS
def test_integers_are_text_where_the_model_wants_text(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        numbers = client.predict([{"author": 7, "duration": 1}, {"author": np.int64(7), "duration": np.float32(1)}])
        text = client.predict([{"author": "7", "duration": 1.0}] * 2)
    assert_answers(numbers, text)


@TRANSPORTS
def test_no_rows(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        assert {task: array.shape for task, array in client.predict([]).items()} == {"finish": (0,), "like": (0,)}


@TRANSPORTS
def test_metadata_is_asked_once(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        assert client.signature == SIGNATURE
        assert client.signature is client.signature


@TRANSPORTS
@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([*ROWS, {"autor": "a", "duration": 1}], r"^row 5 has the unknown feature 'autor'; did you mean author\?$"),
        ([{"hue": 1}], "row 1 has the unknown feature 'hue'; the model takes author, duration"),
        ([{"author": "a"}], "row 1 lacks the feature 'duration'; the model takes author, duration"),
        ({"author": ["a"]}, "the request lacks the feature 'duration'"),
        ([{"author": "a", "duration": 1e39}], r"'duration' must be a number within .*; row 1 has 1e\+39"),
        ([{"author": ["a"], "duration": 1}], r"'author' must be text, a number or a boolean; row 1 has \['a'\]"),
        ([["a", 1]], "every row must map features to values; row 1 is"),
        ({"author": "ab", "duration": [1, 2]}, "'author' must be a list of values, one a row; received 'ab'"),
        ({"author": ["a"], "duration": 1}, "'duration' must be a list of values, one a row; received 1"),
        ({"author": ["a"], "duration": [1, 2]}, "as many values as there are rows"),
    ],
)
def test_wrong_rows(server: Server, rest: bool, rows: Any, told: str) -> None:
    with connect(server, rest) as client, pytest.raises(PredictionError, match=told):
        client.predict(rows)


@TRANSPORTS
def test_a_model_that_is_not_served(server: Server, rest: bool) -> None:
    with (
        connect(server, rest, "a model") as client,
        pytest.raises(PredictionError, match="does not serve the model 'a model'"),
    ):
        client.predict(ROWS)


@TRANSPORTS
def test_the_other_transports_port(server: Server, rest: bool) -> None:
    address = server.grpc if rest else server.rest_address
    with Client(address, model="ranker", rest=rest) as client, pytest.raises(PredictionError, match="REST"):
        client.predict(ROWS)


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """A server that sends `answer` to whoever connects, or accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connections = []
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                if answer is not None:
                    connection.recv(1)
                    connection.sendall(answer)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def failure(address: str, rest: bool, timeout: float = 1.0) -> str:
    """The error of asking an address, which must come within the timeout."""
    start = time.monotonic()
    with Client(address, model="ranker", rest=rest, timeout=timeout) as client, pytest.raises(PredictionError) as caught:
        client.predict(ROWS)
    assert time.monotonic() - start < timeout + 1
    assert caught.value.exit_code == 1
    return str(caught.value)


@TRANSPORTS
def test_a_server_that_is_down(rest: bool) -> None:
    with listening(None) as address:
        pass
    told = failure(address, rest)
    assert f"no server answers at {address}" in told
    assert "crossdistil serve DIR/ranker" in told


@TRANSPORTS
def test_a_server_that_says_nothing(rest: bool) -> None:
    with listening(None) as address:
        assert f"{address} did not answer within 1 s" in failure(address, rest)


@TRANSPORTS
def test_a_server_that_sends_garbage(rest: bool) -> None:
    with listening(b"garbage\r\n\r\n") as address:
        assert address in failure(address, rest)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"metadata": 1}'])
def test_a_rest_server_of_another_kind(body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
    with listening(head.encode() + body) as address:
        assert "could not answer for the model 'ranker'" in failure(address, rest=True)


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":8500", "127.0.0.1:99999", "127.0.0.1:http"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="address is HOST:PORT"):
        Client(address, model="ranker")


@pytest.mark.parametrize(
    "outputs",
    [{"finish": np.zeros(4, np.float32)}, {"finish": np.zeros(4, np.float32), "like": np.zeros(3, np.float32)}],
    ids=["missing", "short"],
)
def test_answers_that_do_not_fit_the_rows(
    monkeypatch: pytest.MonkeyPatch, server: Server, outputs: dict[str, np.ndarray]
) -> None:
    with connect(server, rest=False) as client:
        monkeypatch.setattr(client._transport, "predict", lambda inputs: outputs)
        with pytest.raises(PredictionError, match="expected 4 probabilities of task 'like'"):
            client.predict(ROWS)


@pytest.mark.parametrize("module", ["serving.client", "serving.requests", "serving.local_server"])
def test_importing_loads_no_tensorflow(module: str) -> None:
    program = f"import sys, {module}; print('tensorflow' in sys.modules)"
    command: Sequence[str] = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"
