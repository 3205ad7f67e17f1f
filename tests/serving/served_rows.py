# SPDX-License-Identifier: Apache-2.0
"""What the tests' tiny model must answer, found without the server's code; and requests for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving.local_server.listening import listening
from serving.local_server.model_store import ModelStore
from serving.local_server.startup import claimed_port
from tests.serving.server_process import COLUMNS, ROWS

BODY = json.dumps({"instances": ROWS}).encode()
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def right_answers(version: Path) -> dict[str, np.ndarray]:
    """The answers for ROWS of a version-1 session, fed directly."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
        signature = loaded.signature_def["serving_default"]
        fetches = {name: info.name for name, info in signature.outputs.items()}
        feeds = {signature.inputs[name].name: [row[name] for row in ROWS] for name in signature.inputs}
        answers: dict[str, np.ndarray] = session.run(fetches, feeds)
    return answers


def predict_request(author: Any = COLUMNS["author"], duration: Any = COLUMNS["duration"]) -> predict_pb2.PredictRequest:
    """A request for ROWS."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ranker"
    request.inputs["author"].CopyFrom(tf.make_tensor_proto(author, tf.string))
    request.inputs["duration"].CopyFrom(tf.make_tensor_proto(duration, tf.float32))
    return request


@contextmanager
def faces(store: ModelStore) -> Iterator[tuple[str, str]]:
    """Both faces of a local server in this process; gives the addresses of gRPC and REST."""
    with claimed_port(0, "--grpc-port") as grpc_claim, claimed_port(0, "--rest-port") as rest_claim:
        addresses = [f"127.0.0.1:{claim.getsockname()[1]}" for claim in (grpc_claim, rest_claim)]
        with listening(store, grpc_claim, rest_claim):
            yield addresses[0], addresses[1]
