# SPDX-License-Identifier: Apache-2.0
"""The warm-up file, replayed as TF Serving replays it."""

import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.models.small_model import small_experiment, small_rows
from tf_crossdistil.config import Experiment
from tf_crossdistil.export.warm_up import read_sample, write_warm_up

FILE = "assets.extra/tf_serving_warmup_requests"
SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


def read_logs(directory):
    dataset = tf.data.TFRecordDataset(str(directory / FILE))
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in dataset.as_numpy_iterator()]


def request_of(log):
    return getattr(log, log.WhichOneof("log_type")).request


def inputs_of(log):
    """The inputs of the model that TF Serving makes of a record."""
    request = request_of(log)
    if log.WhichOneof("log_type") == "predict_log":
        return {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
    return {"inputs": [example.SerializeToString() for example in request.input.example_list.examples]}


@pytest.fixture(scope="module")
def logs(exported):
    return read_logs(exported / "1")


def test_every_signature_is_asked_in_every_batch_size_by_its_own_interface(logs, served):
    asked = Counter((request_of(log).model_spec.signature_name, len(next(iter(inputs_of(log).values())))) for log in logs)
    assert asked == {(name, size): 1 for name in served.definitions for size in SIZES}
    assert len(logs) <= 1000
    for log in logs:
        spec = request_of(log).model_spec
        assert spec.name == "shared"
        interface = served.definitions[spec.signature_name].method_name.rpartition("/")[2]
        assert log.WhichOneof("log_type") == f"{interface}_log"


def test_every_request_runs_on_the_model(logs, served):
    for log in logs:
        for name, values in served(request_of(log).model_spec.signature_name, inputs_of(log)).items():
            assert name == "classes" or np.isfinite(values).all()


def test_rows_are_real_ones_and_their_lists_differ_in_length(logs, trained):
    sample = read_sample(trained.sample_file)
    raw = [inputs_of(log) for log in logs if request_of(log).model_spec.signature_name == "serving_default"]
    assert {text.decode() for inputs in raw for text in inputs["user"]} == {row["user"] for row in sample}
    assert len({inputs["tags"].shape[1] for inputs in raw}) > 1
    firsts = [inputs["row"][0] for inputs in raw]
    assert len(set(firsts)) > len(raw) / 2


def test_a_line_of_the_sample_ends_where_the_file_says(tmp_path):
    rows = [{"user": "a\u2028b\u2029c\x85d\re\x0bf\x0cg\x1ch"}, {"user": "next"}]
    path = tmp_path / "sample.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert read_sample(path) == rows


def test_the_most_tasks_stay_within_what_tf_serving_reads(tmp_path):
    most = next(bound.max_length for bound in Experiment.model_fields["tasks"].metadata if hasattr(bound, "max_length"))
    tasks = [{"name": f"task{number}", "column": f"c{number}"} for number in range(most)]
    experiment = small_experiment(tasks=tasks, features=[{"name": "user", "kind": "categorical", "dim": 3}])
    write_warm_up(tmp_path, "many", experiment, small_rows())
    records = [len(record) for record in tf.data.TFRecordDataset(str(tmp_path / FILE)).as_numpy_iterator()]
    assert len(records) == (2 + 2 * most) * len(SIZES)
    assert len(records) <= 1000


def test_without_rows_there_is_no_file(tmp_path):
    write_warm_up(tmp_path, "small", small_experiment(), [])
    assert list(tmp_path.iterdir()) == []
