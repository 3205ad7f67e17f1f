# SPDX-License-Identifier: Apache-2.0
"""Columns of Python values whose types may differ from row to row, as blocks that Arrow can hold."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.checking.columns import canonical
from pipelines.sources.blocks import Block, RejectedRow
from pipelines.sources.text import without_marks


def loose_blocks(
    loose: Mapping[str, Sequence[Any]], typed: Mapping[str, Any], positions: NDArray[np.int64], raw: Callable[[int], str]
) -> Iterator[Block]:
    """Rows of loose and typed columns as blocks in which every loose column is either text or lists of text.

    Rows in which the same columns hold lists come together, so that a stray list costs no row but its own; a row with an
    object, or a list in a list, is rejected as `wrong_type`. All scalars become text: numbers in canonical decimal,
    booleans `true` and `false`, null stays null.

    Args:
        loose: Python values `[rows]` by column.
        typed: `pa.Array` `[rows]` by column.
        positions: the rows' positions in their range.
        raw: gives a row of the block as text, for its dead letter.
    """
    shapes = {name: _depths(values) for name, values in loose.items()}
    stacked = np.stack(list(shapes.values()), axis=1) if shapes else np.zeros((len(positions), 0), np.int8)
    nested = (stacked > 1).any(axis=1)
    rejected = []
    for row in np.flatnonzero(nested).tolist():
        column = next(name for name, depths in shapes.items() if depths[row] > 1)
        message = f"column '{column}' must hold a value or a list of values; received an object or a nested list"
        rejected.append(RejectedRow(int(positions[row]), message, raw(row), "wrong_type"))
    good = np.flatnonzero(~nested)
    kinds, group_of = np.unique(stacked[good], axis=0, return_inverse=True)
    for group in range(len(kinds)):
        rows = good[group_of == group]
        columns = {name: column.take(pa.array(rows)) for name, column in typed.items()}
        for name, values in loose.items():
            chosen = values if len(rows) == len(values) else [values[row] for row in rows]
            columns[name] = _lists(chosen) if shapes[name][rows[0]] else _texts(chosen)
        yield Block(columns, positions[rows], rejected)
        rejected = []
    if rejected:
        nothing = {name: column[:0] for name, column in typed.items()} | {name: _texts([]) for name in loose}
        yield Block(nothing, positions[:0], rejected)


def shown_row(row: Mapping[str, Any]) -> str:
    """A row of Python values as JSON text."""
    return without_marks(json.dumps(row, ensure_ascii=False, default=str))


def _depths(values: Sequence[Any]) -> NDArray[np.int8]:
    if {list, dict}.isdisjoint(map(type, values)):
        return np.zeros(len(values), np.int8)
    return np.array([_depth(value) for value in values], np.int8)


def _depth(value: Any) -> int:
    """0 for a value, 1 for a list of values, 2 for what no column can hold."""
    if isinstance(value, list):
        return 2 if any(isinstance(element, list | dict) for element in value) else 1
    return 2 if isinstance(value, dict) else 0


def _lists(values: Sequence[list[Any]]) -> Any:
    offsets = np.cumsum([0, *map(len, values)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _texts([element for value in values for element in value]))


def _texts(values: Sequence[Any]) -> Any:
    for kind, stored in ((int, pa.int64()), (str, pa.string())):
        # Most columns are of one type, which Arrow turns into text faster, unless an integer or half a character hinders it.
        if {kind, type(None)}.issuperset(map(type, values)):
            with suppress(OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
                return pa.array(values, stored).cast(pa.string())
    floats = [row for row, value in enumerate(values) if isinstance(value, float)]
    texts = [value if value is None else _text(value) for value in values]
    for row, text in zip(floats, canonical(pa.array([values[row] for row in floats], pa.float64())).to_pylist(), strict=True):
        texts[row] = text or "nan"
    return pa.array(texts, pa.string())


def _text(value: Any) -> str:
    if isinstance(value, str):
        # Half a surrogate pair, which JSON can escape, is no character and no UTF-8.
        return value if value.isascii() else value.encode("utf-8", "surrogatepass").decode("utf-8", "mark_not_utf8")
    if isinstance(value, bytes):
        return value.decode("utf-8", "mark_not_utf8")
    return str(value).lower() if isinstance(value, bool) else str(value)
