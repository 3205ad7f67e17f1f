"""Rows as users have them, to the columns that a model takes; imports no TensorFlow."""

import difflib
import math
import numbers
import reprlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from serving.transports import PredictionError

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_EXACT_INTEGERS = 2.0**53
_ASCII_WHITE_SPACE = " \t\n\v\f\r"


def to_columns(rows: Rows, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Checks and converts a request.

    Args:
        rows: a list of rows, or the values of all rows by feature; None and NaN are missing values, which models take as
            empty text or NaN.
        dtypes: `DT_STRING` or `DT_FLOAT` by feature: what the model takes.

    Returns:
        An array `[rows]` a feature: objects of type str, or float32.

    Raises:
        PredictionError: a feature is unknown or missing, a value is of the wrong type or out of range, or columns
            differ in length.
    """
    columns = _by_name(rows, dtypes) if isinstance(rows, Mapping) else _by_row(rows, dtypes)
    arrays = {name: _array(name, columns[name], dtype) for name, dtype in dtypes.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise PredictionError(f"every feature must have as many values as there are rows; received {lengths}")
    return arrays


def _by_name(columns: Mapping[str, Sequence[Any]], dtypes: Mapping[str, str]) -> Mapping[str, Sequence[Any]]:
    _check_names(columns, dtypes, "the request")
    for name, values in columns.items():
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            raise PredictionError(f"feature '{name}' must be a list of values, one a row; received {reprlib.repr(values)}")
    return columns


def _by_row(rows: Sequence[Mapping[str, Any]], dtypes: Mapping[str, str]) -> dict[str, list[Any]]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise PredictionError(f"every row must map features to values; row {number} is {reprlib.repr(row)}")
        _check_names(row, dtypes, f"row {number}")
    return {name: [row[name] for row in rows] for name in dtypes}


def _check_names(names: Mapping[str, Any], dtypes: Mapping[str, str], where: str) -> None:
    for name in names:
        if name not in dtypes:
            nearest = difflib.get_close_matches(str(name), dtypes, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"the model takes {', '.join(sorted(dtypes))}"
            raise PredictionError(f"{where} has the unknown feature '{name}'; {hint}")
    for name in dtypes:
        if name not in names:
            raise PredictionError(f"{where} lacks the feature '{name}'; the model takes {', '.join(sorted(dtypes))}")


def _array(name: str, values: Sequence[Any], dtype: str) -> np.ndarray:
    if dtype not in _CONVERTERS:
        raise PredictionError(f"the model takes feature '{name}' as {dtype}; this client can send {', '.join(_CONVERTERS)}")
    convert, expected, numpy_dtype = _CONVERTERS[dtype]
    array: np.ndarray = np.empty(len(values), numpy_dtype)
    index, value = 0, None
    try:
        for index, value in enumerate(values):
            array[index] = convert(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise PredictionError(f"feature '{name}' must be {expected}; row {index + 1} has {reprlib.repr(value)}") from error
    return array


def _text(value: Any) -> str:
    """The text that preparing data gives a value of a log: the model looks up nothing else (pipelines/checking/columns.py)."""
    if isinstance(value, bytes):
        value = value.decode()
    match value:
        case None:
            return ""
        case bool() | np.bool_():
            return "true" if value else "false"
        case numbers.Integral():
            return str(int(value))
        case float() | np.floating():
            return _float_text(float(value))
        case Decimal():
            return _arrow_text(value)
        case str():
            value.encode()  # half of a surrogate pair is no text that a server could read
            return value.strip(_ASCII_WHITE_SPACE)
    raise TypeError


def _float_text(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT_INTEGERS else _arrow_text(value)


def _arrow_text(value: float | Decimal) -> str:
    return str(pa.scalar(value).cast(pa.string()))


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, numbers.Real | Decimal | np.bool_):
        raise TypeError
    number = float(value)
    if abs(number) > _LARGEST_FLOAT32:
        raise OverflowError
    return number


_CONVERTERS: dict[str, tuple[Callable[[Any], Any], str, type]] = {
    "DT_STRING": (_text, "text, a number or a boolean", object),
    "DT_FLOAT": (_number, "a number within float32's range (at most 3.4e38)", np.float32),
}
