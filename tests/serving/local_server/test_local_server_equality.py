# SPDX-License-Identifier: Apache-2.0
"""A real export behind the local server: answers as the live model's on every row of the test split, by every way to ask."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_service_pb2_grpc, regression_pb2

from serving.local_server.loading import load
from serving.local_server.model_store import ModelStore
from tests.conftest import request_rows
from tests.serving.served_rows import PREDICT, faces
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.data.records import split_batches
from tf_crossdistil.export.live_model import live_answers
from tf_crossdistil.export.warm_up import serialize_example

Inputs = dict[str, np.ndarray]
Answers = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def rows(prepared, shared_experiment, raw_rows) -> list[dict[str, Any]]:
    numbers = np.concatenate([c["row"].numpy() for c in split_batches(prepared, shared_experiment, "test", 512)]).astype(int)
    assert len(numbers) > 400
    return request_rows(shared_experiment, [raw_rows[1][number] for number in numbers])


@pytest.fixture(scope="module")
def raw(shared_experiment, rows) -> Inputs:
    return {name: values.numpy() for name, values in raw_columns(shared_experiment, rows).items()}


@pytest.fixture(scope="module")
def examples(shared_experiment, rows) -> Inputs:
    return {"examples": np.array([serialize_example(shared_experiment, row) for row in rows], object)}


@pytest.fixture(scope="module")
def live(trained, rows) -> Answers:
    return live_answers(trained, rows)


@pytest.fixture(scope="module")
def addresses(exported: Path) -> Iterator[tuple[str, str]]:
    store = ModelStore("shared")
    store.add(load(exported / "1"))
    with faces(store) as made:
        yield made
    store.close()


def by_grpc(addresses: tuple[str, str], signature: str, inputs: Inputs) -> Answers:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "shared"
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    with grpc.insecure_channel(addresses[0]) as channel:
        response = predict_pb2.PredictResponse.FromString(channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=60))
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def post(addresses: tuple[str, str], signature: str, body: dict[str, Any]) -> Any:
    content = json.dumps({**body, "signature_name": signature})
    response = httpx.post(f"http://{addresses[1]}/v1/models/shared:predict", content=content, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


def as_json(array: np.ndarray, signature: str) -> list[Any]:
    """Text as text, but serialized examples in base64."""
    if array.dtype != object:
        return array.tolist()
    if signature == "serving_default":
        return np.vectorize(lambda value: value.decode(), otypes=[object])(array).tolist()
    return [{"b64": base64.b64encode(value).decode()} for value in array]


def by_rest_rows(addresses: tuple[str, str], signature: str, inputs: Inputs) -> Answers:
    columns = {name: as_json(array, signature) for name, array in inputs.items()}
    instances = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    predictions = post(addresses, signature, {"instances": instances})["predictions"]
    return {name: np.array([prediction[name] for prediction in predictions]) for name in predictions[0]}


def by_rest_columns(addresses: tuple[str, str], signature: str, inputs: Inputs) -> Answers:
    columns = {name: as_json(array, signature) for name, array in inputs.items()}
    return {name: np.array(values) for name, values in post(addresses, signature, {"inputs": columns})["outputs"].items()}


@pytest.mark.parametrize("signature", ["serving_default", "predict_examples"])
@pytest.mark.parametrize("ask", [by_grpc, by_rest_rows, by_rest_columns])
def test_every_test_row_is_answered_as_by_the_live_model(
    addresses: tuple[str, str], raw: Inputs, examples: Inputs, live: Answers, ask: Callable[..., Answers], signature: str
) -> None:
    answers = ask(addresses, signature, raw if signature == "serving_default" else examples)
    assert answers.keys() == live.keys()
    for task, probabilities in live.items():
        np.testing.assert_allclose(answers[task], probabilities, rtol=0, atol=1e-6)
        assert len(set(probabilities.tolist())) > 100


@pytest.mark.parametrize("by_row", [True, False])
def test_predict_by_rest_asks_every_signature(
    addresses: tuple[str, str], raw: Inputs, examples: Inputs, live: Answers, by_row: bool
) -> None:
    metadata = httpx.get(f"http://{addresses[1]}/v1/models/shared/metadata").json()
    definitions = metadata["metadata"]["signature_def"]["signature_def"]
    answers = {}
    for name, definition in definitions.items():
        inputs = raw if name == "serving_default" else dict.fromkeys(definition["inputs"], examples["examples"])
        columns = {key: as_json(array[:2], name) for key, array in inputs.items()}
        rows = [{key: values[index] for key, values in columns.items()} for index in range(2)]
        answers[name] = post(addresses, name, {"instances": rows} if by_row else {"inputs": columns})
    assert {"serving_default", "predict_examples", "classify_finish", "regress_like"} <= answers.keys()
    for name, answer in answers.items():
        kind, _, task = name.partition("_")
        (found,) = answer.values()
        if kind == "regress":
            assert found == pytest.approx(live[task][:2], abs=1e-6)
        elif kind == "classify":
            both = {key: [row[key] for row in found] for key in ("classes", "scores")} if by_row else found
            assert both["classes"] == [["0", "1"]] * 2
            np.testing.assert_allclose(both["scores"], np.stack([1 - live[task][:2], live[task][:2]], 1), rtol=0, atol=1e-6)


def test_the_signatures_to_classify_and_regress_are_shown_and_left_to_tf_serving(addresses: tuple[str, str]) -> None:
    metadata = httpx.get(f"http://{addresses[1]}/v1/models/shared/metadata").json()
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    methods = {name: signature["method_name"].rpartition("/")[2] for name, signature in signatures.items()}
    assert methods == {
        **dict.fromkeys(("serving_default", "predict_examples"), "predict"),
        **dict.fromkeys(("classify_finish", "classify_like"), "classify"),
        **dict.fromkeys(("regress_finish", "regress_like"), "regress"),
    }
    with grpc.insecure_channel(addresses[0]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for method, request in (
            (stub.Classify, classification_pb2.ClassificationRequest()),
            (stub.Regress, regression_pb2.RegressionRequest()),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                method(request, timeout=10)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    for action in ("classify", "regress"):
        response = httpx.post(f"http://{addresses[1]}/v1/models/shared:{action}", content=b"{}")
        assert response.status_code == 501
        assert "TF Serving" in response.json()["error"]
