"""The warm-up file: requests that TF Serving runs on a new version before it takes traffic."""

import json
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.raw_features import raw_columns, raw_fields

# Batch sizes whose kernels a new version should have run once.
_BATCH_SIZES = (1, 32, 128)


def read_sample(path: Path) -> list[dict[str, Any]]:
    """The raw example rows that the pipeline kept, one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_warm_up(directory: Path, model: str, experiment: Experiment, rows: list[dict[str, Any]]) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests` with requests of real rows for both signatures.

    Args:
        directory: the version's folder.
        model: the model's name.
        experiment: the configuration.
        rows: raw features by name; without rows, no file is written.
    """
    if not rows:
        return
    folder = directory / "assets.extra"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for size in _BATCH_SIZES:
            batch = [rows[index % len(rows)] for index in range(size)]
            for request in (_raw_request(experiment, batch), _examples_request(experiment, batch)):
                request.model_spec.name = model
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _raw_request(experiment: Experiment, rows: list[dict[str, Any]]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(signature_name="serving_default"))
    for name, values in raw_columns(experiment, rows).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def _examples_request(experiment: Experiment, rows: list[dict[str, Any]]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(signature_name="predict_examples"))
    examples = [serialize_example(experiment, row) for row in rows]
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto(examples))
    return request


def serialize_example(experiment: Experiment, row: dict[str, Any]) -> bytes:
    """A raw row as the tf.Example that the `predict_examples` signature takes; weights may be absent, lists None."""
    features = {}
    for name, field in raw_fields(experiment).items():
        values = (row.get(name) or []) if field.is_list else [row[name]]
        features[name] = (
            tf.train.Feature(float_list=tf.train.FloatList(value=values))
            if field.dtype == tf.float32
            else tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))
        )
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
