# SPDX-License-Identifier: Apache-2.0
"""The local server's REST API."""

import asyncio
import base64
import time
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf

from serving.local_server.budget import Budget
from serving.local_server.model_store import ModelStore
from serving.local_server.rest_service import RestService
from serving.local_server.rest_tensors import encode_outputs, parse_body
from serving.local_server.signature import RequestError
from serving.local_server.workers import Workers
from tests.serving.server_process import COLUMNS, ROWS, Server


def post(server: Server, body: Any, path: str = ":predict") -> httpx.Response:
    return httpx.post(server.rest + path, json=body)


def error_of(response: httpx.Response) -> str:
    assert list(response.json()) == ["error"]
    error: str = response.json()["error"]
    return error


def assert_rows(response: httpx.Response, expected: dict[str, np.ndarray]) -> None:
    assert response.status_code == 200
    (predictions,) = response.json().values()
    assert len(predictions) == len(ROWS)
    for index, prediction in enumerate(predictions):
        assert prediction == pytest.approx({task: values[index] for task, values in expected.items()}, abs=1e-6)


@pytest.mark.parametrize("path", [":predict", "/versions/12:predict"])
def test_row_format(server: Server, expected: dict[str, np.ndarray], path: str) -> None:
    response = post(server, {"instances": ROWS, "signature_name": "serving_default"}, path)
    assert list(response.json()) == ["predictions"]
    assert_rows(response, expected)


def test_column_format(server: Server, expected: dict[str, np.ndarray]) -> None:
    answer = post(server, {"inputs": COLUMNS}).json()
    assert list(answer) == ["outputs"]
    assert set(answer["outputs"]) == set(expected)
    for task, probabilities in expected.items():
        np.testing.assert_allclose(answer["outputs"][task], probabilities, rtol=0, atol=1e-6)


@pytest.mark.parametrize("named", [False, True])
def test_examples_as_base64(server: Server, expected: dict[str, np.ndarray], named: bool) -> None:
    values = []
    for row in ROWS:
        example = tf.train.Example()
        example.features.feature["author"].bytes_list.value.append(row["author"].encode())
        example.features.feature["duration"].float_list.value.append(row["duration"])
        values.append({"b64": base64.b64encode(example.SerializeToString()).decode()})
    instances = [{"examples": value} for value in values] if named else values
    assert_rows(post(server, {"instances": instances, "signature_name": "predict_examples"}), expected)


def test_a_single_output_stands_without_its_name() -> None:
    outputs = {"finish": np.array([0.5, 0.25], np.float32)}
    rows, columns = (parse_body(b'{"%s": [1, 2]}' % key) for key in (b"instances", b"inputs"))
    assert encode_outputs(rows, outputs) == {"predictions": [0.5, 0.25]}
    assert encode_outputs(columns, outputs) == {"outputs": [0.5, 0.25]}


@pytest.mark.parametrize("path", ["", "/versions/12"])
def test_status(server: Server, path: str) -> None:
    state = {"version": "12", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert httpx.get(server.rest + path).json() == {"model_version_status": [state]}


@pytest.mark.parametrize("path", ["/metadata", "/versions/12/metadata"])
def test_metadata(server: Server, path: str) -> None:
    answer = httpx.get(server.rest + path).json()
    assert answer["model_spec"] == {"name": "ranker", "signature_name": "", "version": "12"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "predict_examples"}
    author = signatures["serving_default"]["inputs"]["author"]
    assert author["dtype"] == "DT_STRING"
    assert author["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize("path", ["/versions/3", "/versions/3/metadata", "x", "x/metadata"])
def test_what_is_not_served(server: Server, path: str) -> None:
    response = httpx.get(server.rest + path)
    assert response.status_code == 404
    assert "this server serves 'ranker' version 12" in error_of(response)


@pytest.mark.parametrize("path", ["/versions/3:predict", "x:predict"])
def test_predict_of_what_is_not_served(server: Server, path: str) -> None:
    response = post(server, {"instances": ROWS}, path)
    assert response.status_code == 404
    assert "Servable not found for request" in error_of(response)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/versions/x"), ("POST", ":explain"), ("DELETE", ""), ("POST", "/metadata")]
)
def test_paths_that_the_api_does_not_have(server: Server, method: str, path: str) -> None:
    response = httpx.request(method, server.rest + path)
    assert response.status_code == 400
    assert error_of(response) == f"Malformed request: {method} /v1/models/ranker{path}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "JSON Parse error"),
        (b"\xff", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b"[]", "must be a JSON object with 'instances' or 'inputs'; received a list"),
        (b"{}", "either 'instances' (rows) or 'inputs' (columns); received neither"),
        (b'{"instances": [1], "inputs": 1}', "received ['instances', 'inputs']"),
        (b'{"instances": []}', "a list of at least one row"),
        (b'{"instances": {}}', "a list of at least one row"),
        (b'{"instances": [1], "signature_name": 3}', "'signature_name' must be a string; received 3"),
        (b'{"instances": [1], "signature_name": "x"}', "unknown signature 'x'"),
        (b'{"instances": [1]}', "takes inputs by name: 'author', 'duration'; received 1"),
        (b'{"inputs": ["a"]}', "takes inputs by name: 'author', 'duration'; received a list"),
        (b'{"instances": [{"author": "a", "duration": 1}, 2]}', "instance 1 is 2"),
        (b'{"instances": [{"author": "a", "duration": 1}, {"author": "a"}]}', "instance 1: missing input 'duration'"),
        (b'{"instances": [{"author": "a", "duration": 1, "hue": 1}]}', "instance 0: unknown input 'hue'"),
        (b'{"inputs": {"author": ["a"]}}', "missing input 'duration'"),
        (b'{"inputs": {"author": ["a"], "duration": [1], "hue": [1]}}', "unknown input 'hue'"),
        (b'{"inputs": {"author": ["a"], "duration": ["1"]}}', "'duration' must be DT_FLOAT [batch]; received \"1\""),
        (b'{"inputs": {"author": ["a"], "duration": [true]}}', "'duration' must be DT_FLOAT [batch]; received true"),
        (b'{"inputs": {"author": ["a"], "duration": [null]}}', "'duration' must be DT_FLOAT [batch]; received null"),
        (b'{"inputs": {"author": [5], "duration": [1]}}', "'author' must be DT_STRING [batch]; received 5"),
        (b'{"inputs": {"author": [{"b64": "?"}], "duration": [1]}}', "'author' must be DT_STRING [batch]; received an object"),
        (b'{"inputs": {"author": ["\\ud800"], "duration": [1]}}', "'author' must be DT_STRING [batch]; received"),
        (
            b'{"inputs": {"author": [["a"]], "duration": [1]}}',
            "'author' must be DT_STRING [batch]; received a list 1 levels deep",
        ),
        (b'{"inputs": {"author": "a", "duration": [1]}}', "'author' must be DT_STRING [batch]; received \"a\" 0 levels deep"),
        (b'{"inputs": {"author": ["a", "b"], "duration": [1]}}', "the same batch size: 'author' has 2 rows, 'duration' has 1"),
        (
            b'{"inputs": {"author": ["a"], "duration": [1' + b"0" * 400 + b"]}}",
            "'duration' must be DT_FLOAT [batch]; received 10000",
        ),
    ],
)
def test_an_invalid_request(server: Server, body: bytes, told: str) -> None:
    response = httpx.post(server.rest + ":predict", content=body)
    assert response.status_code == 400
    assert told in error_of(response)


def test_answers_do_not_wait_for_acknowledgements(server: Server) -> None:
    seconds = []
    with httpx.Client() as client:
        for _ in range(10):
            start = time.perf_counter()
            client.post(server.rest + ":predict", json={"inputs": COLUMNS})
            seconds.append(time.perf_counter() - start)
    assert min(seconds[1:]) < 0.03


# As ToHTTPStatusCode in TF Serving's http_server.cc has them.
@pytest.mark.parametrize(("code", "status"), [("RESOURCE_EXHAUSTED", 429), ("DEADLINE_EXCEEDED", 504), ("INTERNAL", 500)])
def test_an_error_of_the_model_has_tf_servings_status(monkeypatch: pytest.MonkeyPatch, code: str, status: int) -> None:
    def fail(*_: Any) -> Any:
        raise RequestError(grpc.StatusCode[code], "no")

    store, workers = ModelStore("ranker"), Workers()
    monkeypatch.setattr(store, "use", fail)
    transport = httpx.ASGITransport(RestService(store, workers, Budget(1000), max_body=100))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/v1/models/ranker:predict", content=b"{}")

    response = asyncio.run(ask())
    assert (response.status_code, response.json()) == (status, {"error": "no"})
    workers.close()


def test_a_request_that_is_too_large(store: ModelStore) -> None:
    workers = Workers()
    transport = httpx.ASGITransport(RestService(store, workers, Budget(1000), max_body=100))

    async def ask(author: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/v1/models/ranker:predict", json={"inputs": {"author": [author], "duration": [1]}})

    assert asyncio.run(ask("a")).status_code == 200
    response = asyncio.run(ask("a" * 100))
    assert response.status_code == 413
    assert error_of(response) == "the request has more than 100 bytes, which is the limit; send fewer rows at a time"
    workers.close()
