# SPDX-License-Identifier: Apache-2.0
"""The warm-up file: requests that TF Serving runs on a new version before it takes traffic."""

import json
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.raw_features import raw_columns, raw_fields
from tf_crossdistil.export.signatures import EXAMPLES_SIGNATURE, SERVING_SIGNATURE, classify_signature, regress_signature

# What single requests and the server's batching bring, up to the largest batch. TF Serving refuses more than 1,000 records, and
# a configuration has at most 38 tasks, each with two signatures or, a regression, one.
_BATCH_SIZES = [2**power for power in range(11)]


def read_sample(path: Path) -> list[dict[str, Any]]:
    """The raw example rows that the pipeline kept, one JSON object a line."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


def write_warm_up(directory: Path, model_name: str, experiment: Experiment, rows: list[dict[str, Any]]) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests`: real rows in batches of 1 to 1024, for every signature.

    Args:
        directory: the version's folder.
        model_name: the name that clients ask for.
        experiment: the configuration.
        rows: raw features by name; without rows, no file is written.

    Raises:
        OSError: it cannot be written.
    """
    if not rows:
        return
    folder = directory / "assets.extra"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for log in _requests(model_name, experiment, rows):
            writer.write(log.SerializeToString())


def _requests(
    model_name: str, experiment: Experiment, rows: list[dict[str, Any]]
) -> Iterator[prediction_log_pb2.PredictionLog]:
    # Batches go on where the last one ended, so that lists of all lengths occur.
    endless = cycle(rows)
    for size in _BATCH_SIZES:
        batch = list(islice(endless, size))
        examples = [serialize_example(experiment, row) for row in batch]
        yield _predict_log(model_name, SERVING_SIGNATURE, raw_columns(experiment, batch).items())
        yield _predict_log(model_name, EXAMPLES_SIGNATURE, [("examples", examples)])
        request_input = input_pb2.Input(
            example_list=input_pb2.ExampleList(examples=[tf.train.Example.FromString(example) for example in examples])
        )
        for task in experiment.binary_names:
            yield _classify_log(model_name, task, request_input)
        for task in experiment.task_names:
            yield _regress_log(model_name, task, request_input)


def _predict_log(model_name: str, signature: str, inputs: Iterable[tuple[str, Any]]) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest(model_spec=_model_spec(model_name, signature))
    for name, values in inputs:
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def _classify_log(model_name: str, task: str, rows: input_pb2.Input) -> prediction_log_pb2.PredictionLog:
    model_spec = _model_spec(model_name, classify_signature(task))
    request = classification_pb2.ClassificationRequest(model_spec=model_spec, input=rows)
    return prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))


def _regress_log(model_name: str, task: str, rows: input_pb2.Input) -> prediction_log_pb2.PredictionLog:
    request = regression_pb2.RegressionRequest(model_spec=_model_spec(model_name, regress_signature(task)), input=rows)
    return prediction_log_pb2.PredictionLog(regress_log=prediction_log_pb2.RegressLog(request=request))


def _model_spec(model_name: str, signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=model_name, signature_name=signature)


def serialize_example(experiment: Experiment, row: dict[str, Any]) -> bytes:
    """A raw row as the tf.Example that all signatures but `serving_default` take; features may be left out, lists None."""
    features = {}
    for name, field in raw_fields(experiment).items():
        if row.get(name) is None:
            continue
        values = row[name] if field.is_list else [row[name]]
        features[name] = (
            tf.train.Feature(float_list=tf.train.FloatList(value=values))
            if field.dtype == tf.float32
            else tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))
        )
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
