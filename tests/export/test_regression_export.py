# SPDX-License-Identifier: Apache-2.0
"""A regression task beside binary ones, from the export to what clients get of it."""

import json
from collections import Counter

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

from serving.client import Client
from serving.client.file_predictions import predict_file
from serving.local_server.loading import load
from serving.local_server.model_store import ModelStore
from tests.export.asking import example_inputs, raw_inputs
from tests.export.mixed_model import LABEL, mixed_model
from tests.export.stand_ins import without_tensorflow
from tests.models.small_model import small_rows, small_run
from tests.serving.served_rows import faces
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.errors import UsageError
from tf_crossdistil.export.live_model import live_answers
from tf_crossdistil.export.publish import export
from tf_crossdistil.export.score import Score
from tf_crossdistil.export.version_one import VersionOneModel

# The two tasks weigh alike where the label's deviation is what the score divides by.
SCORE = Score("weights", {"finish": 1.0, "seconds": 1 / 30112.25})
SIGNATURES = {
    **dict.fromkeys(["serving_default", "predict_examples"], "predict"),
    **dict.fromkeys(["classify_finish", "classify_like"], "classify"),
    **dict.fromkeys(["regress_finish", "regress_seconds", "regress_like"], "regress"),
}


class Mixed:
    """A run of a model with a regression task, exported with a score, and what it must answer for `small_rows`."""

    def __init__(self, folder):
        self.model, self.experiment = mixed_model()
        self.run = small_run(folder, self.model, self.experiment)
        raw = raw_columns(self.experiment, small_rows())
        logits = {
            task: values.numpy()
            for task, values in self.model(FeatureLookup(self.experiment, self.run.vocabularies)(raw)).items()
        }
        finish, like = (1 / (1 + np.exp(-logits[task].astype(np.float64))) for task in ("finish", "like"))
        seconds = LABEL.mean + LABEL.deviation * logits["seconds"].astype(np.float64)
        self.expected = {"finish": finish, "seconds": seconds, "like": like, "score": finish + seconds / LABEL.deviation}
        self.made = export(self.run, folder / "mixed", score=SCORE)

    def assert_right(self, answers):
        assert set(answers) == set(self.expected)
        for name, values in self.expected.items():
            atol = 1e-6 * (LABEL.deviation if name == "seconds" else 1)
            np.testing.assert_allclose(answers[name], values, rtol=1e-6, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return Mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def served(mixed):
    with VersionOneModel(mixed.made.directory) as model:
        yield model


@pytest.fixture(scope="module")
def addresses(mixed):
    """Of gRPC and REST of a local server, which has asked the version all warm-up requests."""
    store = ModelStore("mixed")
    store.add(load(mixed.made.directory))
    with faces(store) as made:
        yield made
    store.close()


def test_the_live_model_answers_values_in_the_label_s_units(mixed):
    live = live_answers(mixed.run, small_rows())
    assert list(live) == ["finish", "seconds", "like"]
    assert max(abs(live["seconds"])) > 1000
    mixed.assert_right(live | {"score": live["finish"] + live["seconds"] / LABEL.deviation})


def test_a_value_is_predicted_and_regressed_and_not_classified(mixed, served):
    assert {name: each.method_name.rpartition("/")[2] for name, each in served.definitions.items()} == SIGNATURES
    mixed.assert_right(served("serving_default", raw_inputs(mixed.experiment, small_rows())))
    mixed.assert_right(served("predict_examples", example_inputs(mixed.experiment, small_rows())))
    regressed = served("regress_seconds", example_inputs(mixed.experiment, small_rows(), "inputs"))
    np.testing.assert_allclose(regressed["outputs"], mixed.expected["seconds"], rtol=1e-6, atol=1e-6 * LABEL.deviation)


def test_the_warm_up_asks_each_signature_by_its_interface(mixed):
    file = mixed.made.directory / "assets.extra/tf_serving_warmup_requests"
    logs = [prediction_log_pb2.PredictionLog.FromString(each.numpy()) for each in tf.data.TFRecordDataset(str(file))]
    kinds = [log.WhichOneof("log_type") for log in logs]
    asked = Counter((getattr(log, kind).request.model_spec.signature_name, kind) for log, kind in zip(logs, kinds, strict=True))
    assert asked == {(name, f"{kind}_log"): 11 for name, kind in SIGNATURES.items()}


@pytest.mark.parametrize("rest", [False, True])
def test_clients_get_values_beside_probabilities(mixed, addresses, rest, tmp_path):
    rows = [{name: row[name] for name in ("user", "duration")} for row in small_rows()]
    with Client(addresses[rest], model="mixed", rest=rest) as client:
        mixed.assert_right(client.predict(rows))
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = list(predict_file(addresses[rest], "mixed", file, rest))
    assert len(answers) == len(rows)
    mixed.assert_right({name: [answer[name] for answer in answers] for name in answers[0]})


def test_the_server_has_no_signature_to_classify_a_value_by(mixed, addresses):
    (examples,) = example_inputs(mixed.experiment, small_rows()).values()
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "mixed", "regress_seconds"
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(examples))
    with grpc.insecure_channel(addresses[0]) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        values = tf.make_ndarray(predict(request, timeout=60).outputs["outputs"])
        np.testing.assert_allclose(values, mixed.expected["seconds"], rtol=1e-6, atol=1e-6 * LABEL.deviation)
        request.model_spec.signature_name = "classify_seconds"
        with pytest.raises(grpc.RpcError) as caught:
            predict(request, timeout=60)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "unknown signature 'classify_seconds'" in caught.value.details()
    body = {"signature_name": "classify_seconds", "inputs": {"inputs": []}}
    response = httpx.post(f"http://{addresses[1]}/v1/models/mixed:predict", json=body)
    assert response.status_code == 400 and "classify_seconds" in response.json()["error"]


def test_a_power_of_a_value_is_refused_before_anything_is_written(mixed, tmp_path):
    words = "'seconds' is a regression task, whose values may be below 0 and so have no power; use weights:"
    with pytest.raises(UsageError, match=words):
        export(mixed.run, tmp_path / "mixed", score=Score("powers", {"finish": 1.0, "seconds": 1.0}))
    assert not (tmp_path / "mixed").exists()


def test_a_task_that_became_of_another_kind_is_told(mixed, monkeypatch, tmp_path):
    """The outputs have the same names, so that no client would fail."""
    without_tensorflow(monkeypatch, mixed.made.directory)
    first, same = (export(mixed.run, tmp_path / "mixed", score=SCORE) for _ in range(2))
    assert not any("kind" in text for text in same.warnings)
    file = first.directory.with_name("2") / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    signatures["classify_seconds"].CopyFrom(signatures["classify_finish"])
    file.write_bytes(saved.SerializeToString())
    (warning,) = [text for text in export(mixed.run, tmp_path / "mixed", score=SCORE).warnings if "kind" in text]
    assert warning.startswith("'seconds' is of another kind in version 3 than in version 2, one of which answers a probability")
