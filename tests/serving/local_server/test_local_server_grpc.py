# SPDX-License-Identifier: Apache-2.0
"""The local server's gRPC API, asked with tensorflow-serving-api's own classes."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.server_process import COLUMNS, ROWS, Server

DURATION = np.array(COLUMNS["duration"], np.float32)


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as opened:
        yield opened


def predict_request(author: Any = COLUMNS["author"], duration: Any = DURATION) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ranker"
    request.inputs["author"].CopyFrom(tf.make_tensor_proto(author))
    request.inputs["duration"].CopyFrom(tf.make_tensor_proto(duration))
    return request


def answers(channel: grpc.Channel, request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
    assert response.model_spec.name == "ranker"
    assert response.model_spec.version.value == 12
    assert response.model_spec.signature_name == (request.model_spec.signature_name or "serving_default")
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def assert_equal(received: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(received) == set(expected)
    for task, probabilities in expected.items():
        assert received[task].dtype == np.float32
        np.testing.assert_allclose(received[task], probabilities, rtol=0, atol=1e-6)


def test_raw_features(channel: grpc.Channel, expected: dict[str, np.ndarray]) -> None:
    assert_equal(answers(channel, predict_request()), expected)


def test_examples(channel: grpc.Channel, expected: dict[str, np.ndarray]) -> None:
    examples = []
    for row in ROWS:
        example = tf.train.Example()
        example.features.feature["author"].bytes_list.value.append(row["author"].encode())
        example.features.feature["duration"].float_list.value.append(row["duration"])
        examples.append(example.SerializeToString())
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ranker"
    request.model_spec.version.value = 12
    request.model_spec.signature_name = "predict_examples"
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto(examples))
    assert_equal(answers(channel, request), expected)


def test_output_filter(channel: grpc.Channel, expected: dict[str, np.ndarray]) -> None:
    request = predict_request()
    request.output_filter.append("like")
    assert_equal(answers(channel, request), {"like": expected["like"]})


def test_an_empty_batch_has_empty_answers(channel: grpc.Channel) -> None:
    received = answers(channel, predict_request(np.array([], object), np.array([], np.float32)))
    assert {task: array.shape for task, array in received.items()} == {"finish": (0,), "like": (0,)}


def test_metadata(channel: grpc.Channel) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "ranker"
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request, timeout=10)
    assert response.model_spec.version.value == 12
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "predict_examples"}
    raw = signatures.signature_def["serving_default"]
    assert {name: info.dtype for name, info in raw.inputs.items()} == {"author": 7, "duration": 1}
    assert set(raw.outputs) == {"finish", "like"}
    assert raw.method_name == "tensorflow/serving/predict"


def status(channel: grpc.Channel, name: str, version: int | None = None) -> get_model_status_pb2.GetModelStatusResponse:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=10)


@pytest.mark.parametrize("version", [None, 12])
def test_status(channel: grpc.Channel, version: int | None) -> None:
    (only,) = status(channel, "ranker", version).model_version_status
    assert (only.version, only.state) == (12, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    assert (only.status.error_code, only.status.error_message) == (0, "")


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(("name", "version"), [("other", None), ("ranker", 3)])
def test_status_of_what_is_not_served(channel: grpc.Channel, name: str, version: int | None) -> None:
    code, told = refusal(lambda: status(channel, name, version))
    assert code == grpc.StatusCode.NOT_FOUND
    assert "Could not find" in told


def other_model(request: predict_pb2.PredictRequest) -> None:
    request.model_spec.name = "other"


def other_version(request: predict_pb2.PredictRequest) -> None:
    request.model_spec.version.value = 3


def a_label(request: predict_pb2.PredictRequest) -> None:
    request.model_spec.version_label = "canary"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_model, "Servable not found for request: Latest(other); this server serves 'ranker' version 12"),
        (other_version, "Servable not found for request: Specific(ranker, 3)"),
    ],
)
def test_predict_of_what_is_not_served(
    channel: grpc.Channel, change: Callable[[predict_pb2.PredictRequest], None], told: str
) -> None:
    request = predict_request()
    change(request)
    code, received = refusal(lambda: answers(channel, request))
    assert code == grpc.StatusCode.NOT_FOUND
    assert told in received


def unknown_input(request: predict_pb2.PredictRequest) -> None:
    request.inputs["colour"].CopyFrom(request.inputs["author"])


def missing_input(request: predict_pb2.PredictRequest) -> None:
    del request.inputs["duration"]


def unknown_output(request: predict_pb2.PredictRequest) -> None:
    request.output_filter.append("share")


def no_dtype(request: predict_pb2.PredictRequest) -> None:
    request.inputs["duration"].dtype = 0


def huge_shape(request: predict_pb2.PredictRequest) -> None:
    request.inputs["duration"].tensor_shape.dim[0].size = 1 << 40


def negative_shape(request: predict_pb2.PredictRequest) -> None:
    request.inputs["duration"].tensor_shape.dim[0].size = -1


def no_example(request: predict_pb2.PredictRequest) -> None:
    request.model_spec.signature_name = "predict_examples"
    request.inputs.clear()
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto(["no example"]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (unknown_input, "unknown input 'colour' for signature 'serving_default'; expected 'author', 'duration'"),
        (missing_input, "missing input 'duration' for signature 'serving_default'"),
        (a_label, "Unrecognized servable version label: canary"),
        (unknown_output, "unknown output 'share'"),
        (no_dtype, "'duration' of signature 'serving_default' must be DT_FLOAT [batch]; received DT_INVALID [4]"),
        (huge_shape, "a request may have at most 4194304 values; input 'duration' has the shape [1099511627776]"),
        (negative_shape, "input 'duration' must have a shape of known sizes; received [-1]"),
        (no_example, "Could not parse example input"),
    ],
)
def test_an_invalid_request(channel: grpc.Channel, change: Callable[[predict_pb2.PredictRequest], None], told: str) -> None:
    request = predict_request()
    change(request)
    code, received = refusal(lambda: answers(channel, request))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert told in received


def test_an_unknown_signature(channel: grpc.Channel) -> None:
    request = predict_request()
    request.model_spec.signature_name = "classify"
    told = "unknown signature 'classify'; the model has predict_examples, serving_default"
    assert refusal(lambda: answers(channel, request)) == (grpc.StatusCode.FAILED_PRECONDITION, told)


@pytest.mark.parametrize(
    ("duration", "told"),
    [
        (
            DURATION.astype(np.float64),
            "input 'duration' of signature 'serving_default' must be DT_FLOAT [batch]; received DT_DOUBLE [4]",
        ),
        (np.array(["x"] * 4), "must be DT_FLOAT [batch]; received DT_STRING [4]"),
        (DURATION[:, None], "must be DT_FLOAT [batch]; received DT_FLOAT [4, 1]"),
        (DURATION[0], "must be DT_FLOAT [batch]; received DT_FLOAT []"),
        (DURATION[:3], "the same batch size"),
    ],
)
def test_an_invalid_array(channel: grpc.Channel, duration: np.ndarray, told: str) -> None:
    code, received = refusal(lambda: answers(channel, predict_request(duration=duration)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert told in received


@pytest.mark.parametrize("fields", [[], ["signature_def", "weights"]])
def test_unknown_metadata(channel: grpc.Channel, fields: list[str]) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "ranker"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    code, told = refusal(lambda: stub.GetModelMetadata(request, timeout=10))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "metadata_field must be signature_def" in told


def test_methods_that_are_left_to_tf_serving(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    code, _ = refusal(lambda: stub.Classify(classification_pb2.ClassificationRequest(), timeout=10))
    assert code == grpc.StatusCode.UNIMPLEMENTED
