# SPDX-License-Identifier: Apache-2.0
"""The client library, through both transports."""

import subprocess
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import model_pb2

from serving.client import Client, PredictionError
from serving.client.batches import BATCH_SIZE
from serving.client.transports import Endpoint, ModelInput, ModelSignature
from tests.serving.client.both_clients import TRANSPORTS
from tests.serving.client.hostile_servers import RIGHT, SCRIPTED, Scripted, scripted_grpc, scripted_rest
from tests.serving.server_process import COLUMNS, ROOT, ROWS, Server
from tf_crossdistil.errors import UsageError

SIGNATURE = ModelSignature({"author": ModelInput("DT_STRING"), "duration": ModelInput("DT_FLOAT")}, ("finish", "like"))


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
        ([{"author": "a", "duration": 1e39}], r"'duration' must be a number within .*; row 1 has 1e\+39"),
        ([{"author": ["a"], "duration": 1}], r"'author' must be text, a number or a boolean; row 1 has \['a'\]"),
        ([["a", 1]], "every row must map features to values; row 1 is"),
        ({"author": "ab", "duration": [1, 2]}, "'author' must be a list of values, one a row; received 'ab'"),
        (
            {"author": ["a"], "duration": 1},
            "'duration' must be a list of values, .*; received 1. Give a single row that has lists",
        ),
        ({"author": ["a"], "duration": [1, 2]}, "as many values as there are rows"),
    ],
)
def test_wrong_rows(server: Server, rest: bool, rows: Any, told: str) -> None:
    with connect(server, rest) as client, pytest.raises(PredictionError, match=told):
        client.predict(rows)


@pytest.mark.parametrize(
    "address",
    [
        *("localhost", "localhost:", ":8500", "127.0.0.1:99999", "127.0.0.1:http", "127.0.0.1:\u0668\u0660", "localhost:0"),
        *("a..b:80", ".a:80", "h\u00e9.test:80", "\ud800:80", f"{'a' * 64}.test:80", "a b:80", "user@host:80"),
        *(":::80", "::1:80", "[::1:80", "[]:80", "[localhost]:80", "http://127.0.0.1:8501", "dns:///localhost:80"),
    ],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match=r"address is HOST:PORT alone, such as 127\.0\.0\.1:8500") as caught:
        Client(address, model="ranker")
    assert str(caught.value).endswith(f"received {address!r}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("address", ["localhost:1", "10.0.0.7:65535", "[::1]:80", "a_b-c.d0.example.:8500"])
def test_addresses(address: str) -> None:
    assert Endpoint(address, "ranker").address == address


@TRANSPORTS
def test_versions(server: Server, rest: bool, expected: dict[str, np.ndarray]) -> None:
    address = server.rest_address if rest else server.grpc
    with Client(address, model="ranker", rest=rest, version=12) as client:
        assert_answers(client.predict(ROWS), expected)
    with (
        Client(address, model="ranker", rest=rest, version=99) as client,
        pytest.raises(PredictionError, match=r"does not serve version 99 of the model 'ranker': ") as caught,
    ):
        client.predict(ROWS)
    assert caught.value.code == "NOT_FOUND"


def test_versions_and_labels_in_requests() -> None:
    with scripted_rest(RIGHT) as rest:
        for options in ({}, {"version": 1}, {"label": "a/b"}):
            with Client(rest.address, model="my model", rest=True, **options) as client:
                client.predict({"x": [1.0]})
        models = [path.removeprefix("/v1/models/") for path in rest.paths]
    assert models == [
        *("my%20model/metadata", "my%20model:predict"),
        *("my%20model/versions/1/metadata", "my%20model/versions/1:predict"),
        *("my%20model/labels/a%2Fb/metadata", "my%20model/labels/a%2Fb:predict"),
    ]
    with scripted_grpc(RIGHT) as grpc:
        for options in ({}, {"version": 2**63 - 1}, {"label": "a/b"}):
            with Client(grpc.address, model="my model", **options) as client:
                client.predict({"x": [1.0]})
        specs = [model_pb2.ModelSpec.FromString(request.model_spec.SerializeToString()) for request in grpc.predicts]
    assert [spec.name for spec in specs] == ["my model"] * 3
    assert [spec.WhichOneof("version_choice") for spec in specs] == [None, "version", "version_label"]
    assert specs[1].version.value == 2**63 - 1
    assert specs[2].version_label == "a/b"


@TRANSPORTS
def test_many_requests_use_one_connection(rest: bool) -> None:
    with SCRIPTED[rest](RIGHT) as server:
        with Client(server.address, model="ranker", rest=rest, batch_size=2) as client:
            np.testing.assert_array_equal(client.predict({"x": np.arange(41)})["task"], np.arange(41))
        assert server.connections == 1
        assert [np.size(x) for x in xs(server, rest)] == [2] * 20 + [1]


def xs(server: Scripted, rest: bool) -> list[Any]:
    if rest:
        return [request["inputs"]["x"] for request in server.predicts]
    return [np.frombuffer(request.inputs["x"].tensor_content, "<f4") for request in server.predicts]


@TRANSPORTS
def test_threads_share_a_client(rest: bool) -> None:
    with SCRIPTED[rest](RIGHT, pause=0.002) as server:
        with Client(server.address, model="ranker", rest=rest, batch_size=50) as client, ThreadPoolExecutor(8) as pool:
            rows = [np.arange(120, dtype=np.float32) + 1000 * number for number in range(80)]
            answers = list(pool.map(lambda values: client.predict({"x": values})["task"], rows))
        for received, given in zip(answers, rows, strict=True):
            np.testing.assert_array_equal(received, given)
        assert len(server.predicts) == 80 * 3
        assert server.most_at_once > 1
        assert server.connections <= 8


@TRANSPORTS
def test_use_after_close(rest: bool) -> None:
    with SCRIPTED[rest](RIGHT) as server:
        with Client(server.address, model="ranker", rest=rest) as client:
            client.predict({"x": [1.0]})
        client.close()
        with pytest.raises(UsageError, match="this client is closed; make a new one"):
            client.predict({"x": [1.0]})


@TRANSPORTS
def test_a_request_of_many_megabytes(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        answers = client.predict([{"author": "x" * 10_000, "duration": 0.0}] * 1000 + [{"author": "ann", "duration": 0.0}])
    assert len(np.unique(answers["like"][:1000])) == 1
    assert answers["like"][1000] != answers["like"][0]


@TRANSPORTS
def test_a_feature_that_no_row_has_warns_once_a_client(server: Server, rest: bool) -> None:
    with connect(server, rest) as client:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            client.predict([])
            some = client.predict([{"author": "ann"}, {"duration": 2.0}, {}, {"author": "ann", "duration": None}])
            explicit = client.predict({"author": ["ann", "", "", "ann"], "duration": [np.nan, 2.0, np.nan, np.nan]})
        for task, probabilities in explicit.items():
            np.testing.assert_array_equal(some[task], probabilities)
        with pytest.warns(
            UserWarning, match="no row has duration, which the model 'ranker' takes: a missing value in every row"
        ):
            client.predict({"author": ["ann"]})
        with pytest.warns(UserWarning, match="no row has author, which") as warned:
            client.predict([{}])
        assert warned[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(client.predict([{}])["like"], explicit["like"][2:3])


@TRANSPORTS
def test_a_model_that_takes_something_else_by_now(rest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After rows that did not fit, the client asks anew what the model takes."""
    with SCRIPTED[rest](RIGHT) as server, Client(server.address, model="ranker", rest=rest) as client:
        monkeypatch.setattr(client, "_signature", SIGNATURE)
        with pytest.raises(PredictionError, match="unknown feature 'x'"):
            client.predict({"x": [1.0]})
        np.testing.assert_array_equal(client.predict({"x": [1.0]})["task"], [1.0])


def test_importing_loads_neither_tensorflow_nor_pandas() -> None:
    modules = "serving.client.client, serving.client.async_client, serving.client.file_predictions, serving.local_server.server"
    program = f"import sys, {modules}; print({{'tensorflow', 'pandas'}} & set(sys.modules))"
    command: Sequence[str] = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "set()\n"
