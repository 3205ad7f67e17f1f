# SPDX-License-Identifier: Apache-2.0
"""Loads a version fully, as TF Serving does: the requests of its warm-up file are run before it takes traffic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import input_pb2, predict_pb2, prediction_log_pb2

from serving.local_server.grpc_tensors import decode_tensors
from serving.local_server.servable import Servable, first_line
from serving.local_server.signature import invalid
from tf_crossdistil.errors import CrossDistilError

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000


def load(directory: Path) -> Servable:
    """Loads and warms up the version in a folder.

    Raises:
        CrossDistilError: it cannot be loaded, or a request of its warm-up file cannot be answered.
    """
    try:
        servable = Servable(directory)
    # There is no list of what TensorFlow raises over broken files, and none of it may end the server.
    except Exception as error:
        raise CrossDistilError(f"{directory} cannot be loaded: {first_line(str(error))}; export the model again") from error
    try:
        _warm_up(servable, directory / WARM_UP_FILE)
    except Exception as error:
        servable.close()
        raise CrossDistilError(
            f"{directory} cannot be loaded: its warm-up failed: {first_line(str(error))}; export the model again"
        ) from error
    return servable


def _warm_up(servable: Servable, file: Path) -> None:
    """Runs the requests of a file; a version without one needs none."""
    if not file.is_file():
        return
    for index, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator()):
        if index == MAX_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
        log = prediction_log_pb2.PredictionLog.FromString(record)
        kind = log.WhichOneof("log_type")
        if kind not in _RUNNERS:
            raise invalid(f"Unsupported log_type for warmup: {kind}")
        _RUNNERS[kind](servable, getattr(log, kind).request)


def _predict(servable: Servable, request: predict_pb2.PredictRequest) -> None:
    signature = servable.signature(request.model_spec.signature_name)
    servable.predict(signature, decode_tensors(request.inputs, signature), request.output_filter)


def _run_examples(servable: Servable, request: Any) -> None:
    """Runs a classify or regress request, whose signature has tf.Examples as its only input."""
    signature = servable.signature(request.model_spec.signature_name)
    examples = [example.SerializeToString() for example in _examples(request.input)]
    servable.predict(signature, {name: np.array(examples, object) for name in signature.inputs})


def _examples(given: input_pb2.Input) -> list[tf.train.Example]:
    if given.WhichOneof("kind") != "example_list":
        raise invalid("a warm-up request to classify or regress must have an example_list")
    return list(given.example_list.examples)


_RUNNERS: dict[str, Callable[[Servable, Any], None]] = {
    "predict_log": _predict,
    "classify_log": _run_examples,
    "regress_log": _run_examples,
}
