# SPDX-License-Identifier: Apache-2.0
"""Values of features, to the text and the numbers that a model takes: whole columns at once, or one by one."""

import math
import numbers
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Sequences, NumPy arrays and Arrow arrays.
Values = Any

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_EXACT_INTEGERS = 2.0**53
_ASCII_WHITE_SPACE = " \t\n\v\f\r"
# Lists of one of these types alone become the Arrow arrays that one would expect.
_ARROW_TYPES = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}


class UnfitError(Exception):
    """The value at `index` is not what the model takes."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


@dataclass(frozen=True)
class Kind:
    """Values of one dtype: what they must be, what stands for a missing one, how they are converted."""

    expected: str
    missing: str | float
    numpy_dtype: type
    convert_arrow: Callable[[pa.Array], np.ndarray]
    convert_value: Callable[[Any], Any]

    def convert(self, values: Values) -> np.ndarray:
        """An array `[values]` of the dtype.

        Raises:
            UnfitError: a value is of the wrong type or out of range.
        """
        try:
            return self.convert_arrow(_as_arrow(values))
        except (pa.ArrowException, UnicodeEncodeError, OverflowError):
            # Mixed or rare types, or a value that does not fit, which has to be found.
            return self._convert_each(values.to_pylist() if isinstance(values, pa.Array) else values)

    def _convert_each(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        array: np.ndarray = np.empty(len(values), self.numpy_dtype)
        index = 0
        try:
            for index, value in enumerate(values):
                array[index] = self.missing if is_missing(value) else self.convert_value(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise UnfitError(index) from error
        return array


def is_missing(value: Any) -> bool:
    """Whether a single value is None, or NaN, NaT or NA of any library: they alone differ from themselves."""
    if value is None:
        return True
    if hasattr(value, "__len__"):
        return False
    try:
        return bool(operator.ne(value, value))
    except TypeError:
        return type(value).__name__ == "NAType"


def _as_arrow(values: Values) -> pa.Array:
    """Raises: pa.ArrowException, UnicodeEncodeError, OverflowError: there is no Arrow array of just these values."""
    if isinstance(values, pa.Array):
        return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    if isinstance(values, np.ndarray) and values.dtype != object:
        if values.ndim != 1 or values.dtype.kind not in "biufU":
            raise pa.ArrowTypeError(values.dtype)
        return pa.array(values.astype(np.float64) if values.dtype.kind == "f" else values)
    types = set(map(type, values)) - {type(None)}
    if not types:
        return pa.nulls(len(values))
    arrow_type = _ARROW_TYPES.get(types.pop())
    if types or arrow_type is None:
        raise pa.ArrowTypeError("mixed types")
    return pa.array(values, arrow_type)


def _texts(values: pa.Array) -> np.ndarray:
    """The text that preparing data gives values of logs: the model looks up nothing else (pipelines/checking/columns.py)."""
    kind, types = values.type, pa.types
    if types.is_floating(kind):
        texts = _float_texts(values.cast(pa.float64()))
    elif any(is_kind(kind) for is_kind in (types.is_integer, types.is_boolean, types.is_decimal, types.is_null)):
        texts = values.cast(pa.string())
    elif any(is_kind(kind) for is_kind in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)):
        texts = pc.ascii_trim_whitespace(values.cast(pa.string()))
    else:
        raise pa.ArrowTypeError(kind)
    array: np.ndarray = texts.fill_null("").to_numpy(zero_copy_only=False)
    return array


def _float_texts(values: pa.Array) -> pa.Array:
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _EXACT_INTEGERS))
    integers = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
    return pc.if_else(pc.is_nan(values), "", pc.coalesce(integers, values.cast(pa.string())))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    match value:
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
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT_INTEGERS else _arrow_text(value)


def _arrow_text(value: float | Decimal) -> str:
    return str(pa.scalar(value).cast(pa.string()))


def _numbers(values: pa.Array) -> np.ndarray:
    kind, types = values.type, pa.types
    if types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif not any(is_kind(kind) for is_kind in (types.is_integer, types.is_floating, types.is_decimal, types.is_null)):
        raise pa.ArrowTypeError(kind)
    array: np.ndarray = values.cast(pa.float64(), safe=False).fill_null(math.nan).to_numpy(zero_copy_only=False)
    if np.any(np.abs(array) > _LARGEST_FLOAT32):
        raise OverflowError
    return array.astype(np.float32)


def _number(value: Any) -> float:
    if not isinstance(value, numbers.Real | Decimal | np.bool_):
        raise TypeError
    number = float(value)
    if abs(number) > _LARGEST_FLOAT32:
        raise OverflowError
    return number


KINDS = {
    "DT_STRING": Kind("text, a number or a boolean", "", object, _texts, _text),
    "DT_FLOAT": Kind("a number within float32's range (at most 3.4e38)", math.nan, np.float32, _numbers, _number),
}
