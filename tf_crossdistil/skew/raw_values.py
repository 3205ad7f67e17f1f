# SPDX-License-Identifier: Apache-2.0
"""Values of requests, whatever wrote them, as the model takes them."""

import base64
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.raw_features import RawField, raw_fields

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_EXACT_INTEGERS = 2.0**53


class BrokenRequestError(Exception):
    """A request that no model of the data set could have answered; the text groups alike ones."""


@dataclass(frozen=True)
class Request:
    """The rows of one request: values by feature, all of them `[rows]`; text is bytes, a missing number is NaN."""

    rows: int
    columns: dict[str, list[Any]]


class RequestReader:
    """Columns of a request, checked and converted for the features of an experiment."""

    def __init__(self, experiment: Experiment):
        self._fields = raw_fields(experiment)

    def request(self, columns: Mapping[str, Sequence[Any]]) -> tuple[Request, list[str]]:
        """Columns `[rows]` of any values, and the names among them that the data set does not know.

        Raises:
            BrokenRequestError: there is no row or no known feature, columns differ in length, or a value is of the wrong type.
        """
        unknown = [name for name in columns if name not in self._fields]
        known = {name: self._column(name, values) for name, values in columns.items() if name in self._fields}
        if not known:
            raise BrokenRequestError("has none of the data set's features")
        lengths = {len(values) for values in known.values()}
        if len(lengths) > 1:
            raise BrokenRequestError("has features with different numbers of rows")
        if lengths == {0}:
            raise BrokenRequestError("has no rows")
        return Request(lengths.pop(), known), unknown

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Request, list[str]]:
        """The same of rows, which may lack any feature."""
        names = dict.fromkeys(name for row in rows for name in row)
        return self.request({name: [row.get(name) for row in rows] for name in names})

    def row(self, row: Mapping[str, Any]) -> tuple[Request, list[str]]:
        """The same of a row as users have it, whose numbers may be text, as `crossdistil predict` reads them."""
        return self.request({name: [self._read_text(name, value)] for name, value in row.items()})

    def examples(self, rows: Sequence[Mapping[str, list[Any]]]) -> tuple[Request, list[str]]:
        """The same of tf.Examples, in which every feature is a list; one without values is missing."""
        return self.rows([{name: self._example_value(name, values) for name, values in row.items()} for row in rows])

    def _read_text(self, name: str, value: Any) -> Any:
        """The number that a text is; None of one that is empty, and a text that is none as it is."""
        field = self._fields.get(name)
        if field is None or not isinstance(value, str) or (field.dtype == tf.string and not field.is_list):
            return value
        if not value.strip():
            return None
        try:
            return value if field.is_list else float(value)
        except ValueError:
            return value

    def _example_value(self, name: str, values: list[Any]) -> Any:
        if name not in self._fields or self._fields[name].is_list:
            return values
        if len(values) > 1:
            raise BrokenRequestError(f"has a '{name}' with more than one value")
        return values[0] if values else None

    def _column(self, name: str, values: Sequence[Any]) -> list[Any]:
        field = self._fields[name]
        convert, expected = _KINDS[field.dtype]
        if field.is_list:
            convert, expected = _list_of(convert), f"a list, each value {expected}"
        try:
            return [convert(value) for value in values]
        except (TypeError, ValueError, OverflowError) as error:
            raise BrokenRequestError(f"has a '{name}' that is not {expected}") from error


def join_requests(fields: Mapping[str, RawField], requests: Sequence[Request]) -> dict[str, list[Any]]:
    """Requests behind one another, `[rows]` a feature; what a request does not have is missing."""
    return {name: _joined(name, field, requests) for name, field in fields.items()}


def _joined(name: str, field: RawField, requests: Sequence[Request]) -> list[Any]:
    missing: Any = [] if field.is_list else math.nan if field.dtype == tf.float32 else b""
    return [value for request in requests for value in request.columns.get(name, [missing] * request.rows)]


def _text(value: Any) -> bytes:
    """The text that preparing data gives a value, without white space around it."""
    match value:
        case bytes():
            text = value
        case bool():
            text = b"true" if value else b"false"
        case str() | int():
            text = str(value).encode()
        case float():
            text = _float_text(value)
        # How JSON holds bytes for TF Serving.
        case {"b64": str(encoded)}:
            text = base64.b64decode(encoded, validate=True)
        case None:
            text = b""
        case _:
            raise TypeError
    return text.strip()


def _float_text(value: float) -> bytes:
    if math.isnan(value):
        return b""
    is_whole = value.is_integer() and abs(value) < _EXACT_INTEGERS
    return str(int(value) if is_whole else pa.scalar(value).cast(pa.string())).encode()


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, numbers.Real):
        raise TypeError
    number = float(value)
    if abs(number) > _LARGEST_FLOAT32:
        raise OverflowError
    return number


def _list_of(convert: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def converted(values: Any) -> list[Any]:
        if values is None:
            return []
        if not isinstance(values, list):
            raise TypeError
        return [convert(value) for value in values]

    return converted


_KINDS: dict[tf.DType, tuple[Callable[[Any], Any], str]] = {
    tf.string: (_text, "text, a number or a boolean"),
    tf.float32: (_number, "a number within float32's range (at most 3.4e38)"),
}
