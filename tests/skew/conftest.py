# SPDX-License-Identifier: Apache-2.0
"""The rows that the shared data set trains on, as requests, and logs of them as TF Serving and clients write them."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.conftest import request_rows
from tf_crossdistil.data.records import split_batches

TEXT, LISTS, NUMBERS = ("user", "word", "author"), ("tags", "others"), ("duration", "row", "quartile", "third")

Row = dict[str, Any]


@pytest.fixture(scope="session")
def training_rows(prepared, shared_experiment, raw_rows) -> list[Row]:
    """The training split's rows as a client sends them, in random order; `row` numbers the rows of the logs."""
    numbers = [int(row) for batch in split_batches(prepared, shared_experiment, "train", 1024) for row in batch["row"].numpy()]
    requests = request_rows(shared_experiment, raw_rows[1])
    return [requests[number] for number in np.random.default_rng(0).permutation(numbers)]


def json_rows(rows: list[Row]) -> bytes:
    """One row a line; missing numbers are null."""
    return b"".join(json.dumps(_json(row)).encode() + b"\n" for row in rows)


def json_bodies(rows: list[Row], size: int = 64) -> bytes:
    """REST bodies in row and column format, by turns."""
    lines = []
    for number, part in enumerate(_parts(rows, size)):
        plain = [_json(row) for row in part]
        columns = {name: [row.get(name) for row in plain] for name in plain[0]}
        body = {"inputs": columns} if number % 2 else {"signature_name": "serving_default", "instances": plain}
        lines.append(json.dumps(body).encode() + b"\n")
    return b"".join(lines)


def _json(row: Row) -> Row:
    return {name: None if _is_missing(value) else value for name, value in row.items()}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def raw_log(rows: list[Row]) -> bytes:
    """A predict log of raw features."""
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "shared"
    for name in rows[0]:
        values = [row[name] for row in rows]
        if isinstance(values[0], float):
            tensor = np.array(values, np.float32)
        elif name in TEXT:
            tensor = np.array([value.encode() for value in values], object)
        else:
            tensor = _padded(values, name.endswith("scores") or name.endswith("weights"))
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor, tf.float32 if tensor.dtype == np.float32 else tf.string))
    return log.SerializeToString()


def _padded(lists: list[Any], is_weights: bool) -> np.ndarray:
    width = 1 + max(len(values or []) for values in lists)
    padded = np.full((len(lists), width), np.nan, np.float32) if is_weights else np.full((len(lists), width), b"", object)
    for row, values in zip(padded, lists, strict=True):
        row[1 : 1 + len(values or [])] = values or []
    return padded


def example(row: Row) -> tf.train.Example:
    """A tf.Example without the features that are missing."""
    result = tf.train.Example()
    for name, value in row.items():
        values = value if isinstance(value, list) else [] if _is_missing(value) else [value]
        if values and isinstance(values[0], float):
            result.features.feature[name].float_list.value.extend(values)
        elif values:
            result.features.feature[name].bytes_list.value.extend(text.encode() for text in values)
    return result


def examples_log(rows: list[Row]) -> bytes:
    """A predict log of serialized tf.Examples."""
    log = prediction_log_pb2.PredictionLog()
    tensor = tf.make_tensor_proto([example(row).SerializeToString() for row in rows])
    log.predict_log.request.inputs["examples"].CopyFrom(tensor)
    return log.SerializeToString()


def classify_log(rows: list[Row]) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.input.example_list.examples.extend(map(example, rows))
    return log.SerializeToString()


def context_log(rows: list[Row]) -> bytes:
    """A regress log whose features that all rows share are in the context."""
    shared = {name: value for name, value in rows[0].items() if all(row[name] == value for row in rows)}
    log = prediction_log_pb2.PredictionLog()
    given = log.regress_log.request.input.example_list_with_context
    given.context.CopyFrom(example(shared))
    given.examples.extend(example({name: value for name, value in row.items() if name not in shared}) for row in rows)
    return log.SerializeToString()


def mixed_logs(rows: list[Row], size: int = 64) -> list[bytes]:
    """All kinds of logs by turns."""
    kinds: list[Callable[[list[Row]], bytes]] = [raw_log, examples_log, classify_log, context_log]
    return [kinds[number % len(kinds)](part) for number, part in enumerate(_parts(rows, size))]


def write_records(path: Path, records: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for record in records:
            writer.write(record)
    return path


def write_lines(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _parts(rows: list[Row], size: int) -> list[list[Row]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]
