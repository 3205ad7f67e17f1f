# SPDX-License-Identifier: Apache-2.0
"""Rows as users have them, as columns; pandas is neither needed nor imported.

What counts as rows:

- a list of mappings of features to values, one a row;
- a mapping of features to sequences (lists, tuples, NumPy arrays, pandas Series, Arrow arrays): columns, one value a row;
- a mapping of features to single values, none of them a sequence: one row. A row with lists is one only within a list;
- a pandas DataFrame, whose index does not count;
- an Arrow table or record batch, or any other object with Arrow's stream interface, such as a polars DataFrame.
"""

import difflib
import reprlib
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from serving.client.transports import PredictionError

# What the module's docstring says; pandas' and others' types cannot be named where they are not installed.
Rows = Any


@dataclass(frozen=True)
class Table:
    """Columns of `rows` values each, every one a list, a tuple, a NumPy array or an Arrow array; errors count from `first`."""

    rows: int
    columns: Mapping[str, Any]
    first: int = 1

    def to_rows(self) -> list[dict[str, Any]]:
        """The rows as mappings."""
        lists = [column.to_pylist() if isinstance(column, pa.Array) else column for column in self.columns.values()]
        return [dict(zip(self.columns, values, strict=True)) for values in zip(*lists, strict=True)]


def read_table(rows: Rows, known: Collection[str]) -> Table:
    """Reads rows of any kind; features that rows leave out are None in them, or no column where all do.

    Raises:
        PredictionError: a feature is not `known`, columns differ in length, or the rows are none.
    """
    if isinstance(rows, Table):
        _check_names(rows.columns, known)
        return rows
    if isinstance(rows, Mapping):
        return _of_mapping(rows, known)
    frame = getattr(sys.modules.get("pandas"), "DataFrame", ())
    if isinstance(rows, frame):
        _check_names(rows.columns, known)
        return Table(len(rows), {name: _plain(name, rows[name]) for name in rows.columns})
    if hasattr(rows, "__arrow_c_stream__") or isinstance(rows, pa.RecordBatch):
        table = pa.table(rows)
        _check_names(table.column_names, known)
        return Table(len(table), {name: _plain(name, table[name]) for name in table.column_names})
    if isinstance(rows, Sequence | np.ndarray) and not isinstance(rows, str | bytes):
        return _of_rows(rows, known)
    raise PredictionError(
        "rows must be a list of rows, a mapping of features to values, a pandas DataFrame or an Arrow table; "
        f"received {reprlib.repr(rows)}"
    )


def _of_mapping(given: Mapping[str, Any], known: Collection[str]) -> Table:
    if not given:
        raise PredictionError("the request is an empty mapping, so the number of its rows is not known; give [] for no rows")
    _check_names(given, known)
    single = [name for name, values in given.items() if not _is_sequence(values)]
    if len(single) == len(given):
        return Table(1, {name: [value] for name, value in given.items()})
    if single:
        raise PredictionError(
            f"feature '{single[0]}' must be a list of values, one a row; received {reprlib.repr(given[single[0]])}. "
            "Give a single row that has lists as a list of one row"
        )
    columns = {name: _plain(name, values) for name, values in given.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise PredictionError(f"every feature must have as many values as there are rows; received {lengths}")
    return Table(next(iter(lengths.values())), columns)


def _of_rows(rows: Sequence[Any] | np.ndarray, known: Collection[str]) -> Table:
    names: dict[str, None] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise PredictionError(f"every row must map features to values; row {number} is {reprlib.repr(row)}")
        names.update(dict.fromkeys(row))
        if unknown := [name for name in row if name not in known]:
            raise _unknown(unknown[0], known, f"row {number}")
    return Table(len(rows), {name: [row.get(name) for row in rows] for name in names})


def _check_names(names: Collection[Any], known: Collection[str]) -> None:
    seen = set()
    for name in names:
        if name not in known:
            raise _unknown(name, known, "the request")
        if name in seen:
            raise PredictionError(f"the request has the feature '{name}' twice; give each of them once")
        seen.add(name)


def _unknown(name: Any, known: Collection[str], where: str) -> PredictionError:
    nearest = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"the model takes {', '.join(sorted(known))}"
    return PredictionError(f"{where} has the unknown feature '{name}'; {hint}")


def _is_sequence(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.ndim > 0
    kinds = ("__len__", "__arrow_c_stream__")
    return any(hasattr(values, kind) for kind in kinds) and not isinstance(values, str | bytes | Mapping)


def _plain(name: str, values: Any) -> Any:
    """A column as one of the kinds that `Table` has."""
    if isinstance(values, list | tuple | np.ndarray | pa.Array):
        return values
    if isinstance(values, pa.ChunkedArray):
        return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if getattr(values, "dtype", None) == np.dtype(object):
        return values.tolist()
    if isinstance(values, getattr(sys.modules.get("pandas"), "Series", ())):
        return pa.Array.from_pandas(values)
    if hasattr(values, "__arrow_c_stream__"):
        return _plain(name, pa.chunked_array(values))
    if isinstance(values, Sequence):
        return list(values)
    raise PredictionError(f"feature '{name}' must be a list of values, one a row; received {reprlib.repr(values)}")
