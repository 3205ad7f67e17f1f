# SPDX-License-Identifier: Apache-2.0
"""Rows as users have them, to the columns and tensors that a model takes; imports no TensorFlow."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.client.tables import Table
from serving.client.transports import ModelInput, PredictionError, is_encodable
from serving.client.values import KINDS, Kind, UnfitError, Values, is_missing

_WEIGHTS = "_weights"


@dataclass(frozen=True)
class Lists:
    """A column of lists: the values of all rows, one row's after the other's, and where each row ends, `[rows + 1]` from 0."""

    values: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, part: slice) -> "Lists":
        start, stop, _ = part.indices(len(self))
        ends = self.ends[start : max(start, stop) + 1]
        return Lists(self.values[ends[0] : ends[-1]], ends - ends[0])

    @property
    def lengths(self) -> np.ndarray:
        """How many values each row has, `[rows]`."""
        return np.diff(self.ends)


Column = np.ndarray | Lists


def to_model_columns(table: Table, inputs: Mapping[str, ModelInput]) -> dict[str, Column]:
    """Checks and converts a table.

    Args:
        table: its values may be missing, which models take as empty text or NaN, or as a list without values, and so are those
            of columns that it lacks.
        inputs: what the model takes.

    Returns:
        A column `[rows]` an input: objects of type str, or float32, or lists of such values.

    Raises:
        PredictionError: a value is of the wrong type or out of range, or a list and its weights differ in length.
    """
    columns = {name: _column(name, table, model_input) for name, model_input in inputs.items()}
    for name, weighted in weights_of_lists(inputs).items():
        _check_weights(name, columns[name], weighted, columns[weighted], table.first)
    return columns


def weights_of_lists(inputs: Mapping[str, ModelInput]) -> dict[str, str]:
    """The inputs that weigh the values of a list, and that list's name for each; where they are left out each weight is 1."""
    weighted = {name: name.removesuffix(_WEIGHTS) for name in inputs if inputs[name] == ModelInput("DT_FLOAT", is_list=True)}
    return {name: of for name, of in weighted.items() if of != name and of in inputs}


def to_tensor(column: Column, model_input: ModelInput) -> np.ndarray:
    """A column of `to_model_columns` as the model takes it, `[rows]`, or `[rows, n]` for lists."""
    if not isinstance(column, Lists):
        return column
    kind = KINDS[model_input.dtype]
    lengths = column.lengths
    # TF Serving joins requests of different widths by repeating a request's very first value, which must not count.
    tensor: np.ndarray = np.full((len(column), 1 + lengths.max(initial=0)), kind.missing, kind.numpy_dtype)
    place = np.arange(tensor.shape[1])
    tensor[(place > 0) & (place <= lengths[:, np.newaxis])] = column.values
    return tensor


def _column(name: str, table: Table, model_input: ModelInput) -> Column:
    if model_input.dtype not in KINDS:
        raise PredictionError(
            f"the model takes feature '{name}' as {model_input.dtype}; this client can send {', '.join(KINDS)}"
        )
    kind = KINDS[model_input.dtype]
    values = table.columns.get(name, [None] * table.rows)
    expected = f"a list, each value {kind.expected}" if model_input.is_list else kind.expected
    try:
        return _lists(values, kind) if model_input.is_list else kind.convert(values)
    except UnfitError as error:
        value = values[error.index]
        received = _described(value.as_py() if isinstance(value, pa.Scalar) else value)
        raise PredictionError(f"feature '{name}' must be {expected}; row {table.first + error.index} has {received}") from error


def _described(value: Any) -> str:
    if not isinstance(value, str):
        return reprlib.repr(value)
    fault = "" if is_encodable(value) else ", which UTF-8 cannot write: it has half of a surrogate pair"
    return f"the text {reprlib.repr(value)}{fault}"


def _lists(values: Values, kind: Kind) -> Lists:
    flat, lengths = _flat_arrow(values) if isinstance(values, pa.Array) else _flat(values)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    try:
        return Lists(kind.convert(flat), ends)
    except UnfitError as error:
        raise UnfitError(int(np.searchsorted(ends, error.index, side="right")) - 1) from error


def _flat(values: Sequence[Any] | np.ndarray) -> tuple[Values, Sequence[int] | np.ndarray]:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return values.reshape(-1), np.full(len(values), values.shape[1])
    flat: list[Any] = []
    lengths = []
    for index, value in enumerate(values):
        if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes):
            flat.extend(value)
            lengths.append(len(value))
        elif is_missing(value):
            lengths.append(0)
        else:
            raise UnfitError(index)
    return flat, lengths


def _flat_arrow(values: pa.Array) -> tuple[Values, np.ndarray]:
    types = pa.types
    if not any(is_kind(values.type) for is_kind in (types.is_list, types.is_large_list, types.is_fixed_size_list)):
        flat, lengths = _flat(values.to_pylist())
        return flat, np.asarray(lengths)
    return pc.list_flatten(values), pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)


def _check_weights(name: str, weights: Column, weighted: str, lists: Column, first: int) -> None:
    if not (isinstance(weights, Lists) and isinstance(lists, Lists)):
        return
    unequal = (weights.lengths != 0) & (weights.lengths != lists.lengths)
    if unequal.any():
        row = int(unequal.argmax())
        raise PredictionError(
            f"'{name}' must have one weight a value of '{weighted}', or none at all; "
            f"row {first + row} has {weights.lengths[row]} weights and {lists.lengths[row]} values"
        )
    negative = weights.values < 0
    if negative.any():
        index = int(negative.argmax())
        row = int(np.searchsorted(weights.ends, index, side="right")) - 1
        raise PredictionError(f"'{name}' must not be negative; row {first + row} has {weights.values[index]}")
