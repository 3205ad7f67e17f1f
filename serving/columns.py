"""Rows as users have them, to the columns that a model takes; imports no TensorFlow."""

import difflib
import math
import numbers
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from serving.transports import ModelInput, PredictionError

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_EXACT_INTEGERS = 2.0**53
_ASCII_WHITE_SPACE = " \t\n\v\f\r"
_WEIGHTS = "_weights"


def to_columns(rows: Rows, inputs: Mapping[str, ModelInput]) -> dict[str, np.ndarray]:
    """Checks and converts a request.

    Args:
        rows: a list of rows, or the values of all rows by feature; None and NaN are missing values, which models take as
            empty text or NaN, or, in place of a list, as a list without values. Weights of lists may be left out.
        inputs: what the model takes.

    Returns:
        An array `[rows]` an input: objects of type str, or float32, or objects of type list that hold such values.

    Raises:
        PredictionError: a feature is unknown or missing, a value is of the wrong type or out of range, columns differ in
            length, or a list and its weights do.
    """
    columns = _by_name(rows, inputs) if isinstance(rows, Mapping) else _by_row(rows, inputs)
    arrays = {name: _array(name, columns[name], model_input) for name, model_input in inputs.items() if name in columns}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise PredictionError(f"every feature must have as many values as there are rows; received {lengths}")
    for name, weighted in weights_of_lists(inputs).items():
        if name not in arrays:
            arrays[name] = _array(name, [None] * len(arrays[weighted]), inputs[name])
        _check_weights(name, arrays[name], weighted, arrays[weighted])
    return arrays


def weights_of_lists(inputs: Mapping[str, ModelInput]) -> dict[str, str]:
    """The inputs that weigh the values of a list, and that list's name for each; a request may leave them out."""
    weighted = {name: name.removesuffix(_WEIGHTS) for name in inputs if inputs[name] == ModelInput("DT_FLOAT", is_list=True)}
    return {name: of for name, of in weighted.items() if of != name and of in inputs}


def to_tensor(column: np.ndarray, model_input: ModelInput) -> np.ndarray:
    """A column of `to_columns` as the model takes it, `[rows]`, or `[rows, n]` for lists."""
    if not model_input.is_list:
        return column
    kind = _KINDS[model_input.dtype]
    # TF Serving joins requests of different widths by repeating a request's very first value, which must not count.
    tensor: np.ndarray = np.full((len(column), 1 + max(map(len, column), default=0)), kind.missing, kind.numpy_dtype)
    for row, values in zip(tensor, column, strict=True):
        row[1 : 1 + len(values)] = values
    return tensor


def _by_name(columns: Mapping[str, Sequence[Any]], inputs: Mapping[str, ModelInput]) -> Mapping[str, Sequence[Any]]:
    _check_names(columns, inputs, "the request")
    for name, values in columns.items():
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            raise PredictionError(f"feature '{name}' must be a list of values, one a row; received {reprlib.repr(values)}")
    return columns


def _by_row(rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, ModelInput]) -> dict[str, list[Any]]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise PredictionError(f"every row must map features to values; row {number} is {reprlib.repr(row)}")
        _check_names(row, inputs, f"row {number}")
    return {name: [row.get(name) for row in rows] for name in inputs}


def _check_names(names: Mapping[str, Any], inputs: Mapping[str, ModelInput], where: str) -> None:
    for name in names:
        if name not in inputs:
            nearest = difflib.get_close_matches(str(name), inputs, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"the model takes {', '.join(sorted(inputs))}"
            raise PredictionError(f"{where} has the unknown feature '{name}'; {hint}")
    optional = weights_of_lists(inputs)
    for name in inputs:
        if name not in names and name not in optional:
            raise PredictionError(f"{where} lacks the feature '{name}'; the model takes {', '.join(sorted(inputs))}")


def _check_weights(name: str, weights: np.ndarray, weighted: str, lists: np.ndarray) -> None:
    for number, (row_weights, values) in enumerate(zip(weights, lists, strict=True), start=1):
        if row_weights and len(row_weights) != len(values):
            raise PredictionError(
                f"'{name}' must have one weight a value of '{weighted}', or none at all; "
                f"row {number} has {len(row_weights)} weights and {len(values)} values"
            )
        if any(weight < 0 for weight in row_weights):
            raise PredictionError(f"'{name}' must not be negative; row {number} has {min(row_weights)}")


def _array(name: str, values: Sequence[Any], model_input: ModelInput) -> np.ndarray:
    if model_input.dtype not in _KINDS:
        raise PredictionError(
            f"the model takes feature '{name}' as {model_input.dtype}; this client can send {', '.join(_KINDS)}"
        )
    kind = _KINDS[model_input.dtype]
    convert, expected, numpy_dtype = kind.convert, kind.expected, kind.numpy_dtype
    if model_input.is_list:
        convert, expected, numpy_dtype = kind.convert_list, f"a list, each value {expected}", object
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


@dataclass(frozen=True)
class _Kind:
    """Values of one dtype: how they are converted, what they must be, and what stands for a missing one."""

    convert: Callable[[Any], Any]
    expected: str
    numpy_dtype: type
    missing: str | float

    def convert_list(self, values: Any) -> list[Any]:
        """Converts a list; a missing one has no values."""
        if values is None or (isinstance(values, float | np.floating) and math.isnan(values)):
            return []
        if isinstance(values, str | bytes) or not isinstance(values, Sequence | np.ndarray):
            raise TypeError
        return [self.convert(value) for value in values]


_KINDS = {
    "DT_STRING": _Kind(_text, "text, a number or a boolean", object, ""),
    "DT_FLOAT": _Kind(_number, "a number within float32's range (at most 3.4e38)", np.float32, math.nan),
}
