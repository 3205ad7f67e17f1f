# SPDX-License-Identifier: Apache-2.0
"""Requests in lines of JSON: a row of raw features, or the body of a REST predict request."""

import base64
import json
from typing import Any

from tf_crossdistil.skew.raw_values import BrokenRequestError, Request, RequestReader
from tf_crossdistil.skew.tf_examples import EXAMPLES_INPUT, read_examples


def read_json_request(line: bytes, reader: RequestReader) -> tuple[Request, list[str]]:
    """The request of a line: `{"instances": [row, ...]}`, `{"inputs": {feature: [value, ...]}}`, or a row.

    In a body for `predict_examples` tf.Examples in base64 stand in place of rows, with or without their input's name.

    Returns:
        The request, and the names in it that the data set does not know.

    Raises:
        BrokenRequestError: the line is no JSON object, or its features cannot be those of the data set.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenRequestError("is not JSON") from error
    examples = _examples(document)
    if examples is not None:
        return read_examples([_decoded(example) for example in examples], reader)
    match document:
        case {"instances": list(rows)}:
            if not all(isinstance(row, dict) for row in rows):
                raise BrokenRequestError("has 'instances' that are no objects of features")
            return reader.rows(rows)
        case {"inputs": dict(columns)}:
            if not all(isinstance(values, list) for values in columns.values()):
                raise BrokenRequestError("has 'inputs' that are no lists of values")
            return reader.request(columns)
        case dict():
            return reader.row(document)
    raise BrokenRequestError("is no JSON object")


def _examples(document: Any) -> list[Any] | None:
    """The values of a body whose only input are tf.Examples."""
    match document:
        case {"inputs": [{"b64": _}, *_] as values} | {"instances": [{"b64": _}, *_] as values}:
            return values
        case {"inputs": dict(columns)} if list(columns) == [EXAMPLES_INPUT] and isinstance(columns[EXAMPLES_INPUT], list):
            return list(columns[EXAMPLES_INPUT])
        case {"instances": [*rows]} if rows and all(isinstance(row, dict) and list(row) == [EXAMPLES_INPUT] for row in rows):
            return [row[EXAMPLES_INPUT] for row in rows]
    return None


def _decoded(value: Any) -> bytes | None:
    """The bytes that JSON holds as TF Serving wants them, None for anything else."""
    match value:
        case {"b64": str(encoded)}:
            try:
                return base64.b64decode(encoded, validate=True)
            except ValueError:
                return None
    return None
