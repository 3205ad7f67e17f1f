# SPDX-License-Identifier: Apache-2.0
"""Requests in TF Serving's request log: serialized PredictionLogs."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import input_pb2, predict_pb2, prediction_log_pb2

from tf_crossdistil.skew.raw_values import BrokenRequestError, Request, RequestReader
from tf_crossdistil.skew.tf_examples import EXAMPLES_INPUT, example_row, read_examples
from tf_crossdistil.skew.tfrecords import is_whole, without_checksum


def read_logged_record(record: bytes, reader: RequestReader) -> tuple[Request, list[str]]:
    """The request of a PredictionLog with its checksum behind it; see `read_prediction_log`."""
    if not is_whole(record):
        raise BrokenRequestError("is corrupt: its checksum is another")
    return read_prediction_log(without_checksum(record), reader)


def read_prediction_log(record: bytes, reader: RequestReader) -> tuple[Request, list[str]]:
    """The request of a PredictionLog: of a predict log raw features or tf.Examples, of a classify or regress log tf.Examples.

    Returns:
        The request, and the names in it that the data set does not know.

    Raises:
        BrokenRequestError: the record is no such log, or its features cannot be those of the data set.
    """
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise BrokenRequestError("is no PredictionLog") from error
    kind = log.WhichOneof("log_type")
    if kind not in _LOGS:
        raise BrokenRequestError(
            f"is a {kind}, which has no rows of features" if kind else "is a PredictionLog without a request"
        )
    return _LOGS[kind](getattr(log, kind).request, reader)


def _predict(request: predict_pb2.PredictRequest, reader: RequestReader) -> tuple[Request, list[str]]:
    try:
        columns = {name: tf.make_ndarray(tensor).tolist() for name, tensor in request.inputs.items()}
    except (TypeError, ValueError) as error:
        raise BrokenRequestError("has a tensor that cannot be decoded") from error
    if not all(isinstance(values, list) for values in columns.values()):
        raise BrokenRequestError("has a tensor without rows")
    if list(columns) == [EXAMPLES_INPUT]:
        return read_examples(columns[EXAMPLES_INPUT], reader)
    return reader.request(columns)


def _examples(request: Any, reader: RequestReader) -> tuple[Request, list[str]]:
    """Of a classify, regress or multi-inference request; features of the context belong to every row."""
    given: input_pb2.Input = request.input
    context = example_row(given.example_list_with_context.context)
    examples = chain(given.example_list.examples, given.example_list_with_context.examples)
    return reader.examples([context | example_row(example) for example in examples])


_LOGS: dict[str, Callable[[Any, RequestReader], tuple[Request, list[str]]]] = {
    "predict_log": _predict,
    "classify_log": _examples,
    "regress_log": _examples,
    "multi_inference_log": _examples,
}
