# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a value, and the checks that every use of a column shares."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.checking.columns import Columns, Texts, is_not_utf8

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Fault:
    """What is wrong with some rows: the reason's code, the column, what it must hold, and the rows' positions.

    `table` is the file of the joined table that the column is from, if it is from one.
    """

    reason: str
    column: str
    expected: str
    rows: NDArray[np.int64]
    table: str = ""

    def message(self, received: object) -> str:
        """One sentence about a row."""
        origin = f" of the table {self.table}" if self.table else ""
        return f"column '{self.column}'{origin} must hold {self.expected}; received {received!r}"


def wrong_type(column: str, expected: str, rows: NDArray[np.int64]) -> Fault:
    """Rows whose value has a type that the use of the column cannot take."""
    return Fault("wrong_type", column, expected, rows)


def not_utf8(column: str, rows: NDArray[np.int64]) -> Fault:
    """Rows whose text cannot be read."""
    return Fault("not_utf8", column, "text in UTF-8", rows)


def text_faults(column: str, texts: Texts) -> list[Fault]:
    """What keeps rows of a column from being text."""
    return [
        wrong_type(column, "one value", texts.wrong),
        not_utf8(column, texts.rows_where(is_not_utf8(texts.values))),
    ]


def number_faults(column: str, columns: Columns, required: bool) -> list[Fault]:
    """What keeps rows of a column from being numbers; where they are not `required`, they may be missing and fit float32."""
    numbers = columns.numbers(column)
    bad = ~np.isfinite(numbers.values) if required else not_float32(numbers.values) & ~numbers.missing
    return [wrong_type(column, "one number", numbers.wrong), *not_numbers(column, columns.stored[column], np.flatnonzero(bad))]


def not_float32(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values are no finite number that a record can hold."""
    return ~(np.abs(values) <= LARGEST_FLOAT32)


def not_numbers(column: str, stored: Any, rows: NDArray[np.int64]) -> list[Fault]:
    """The faults of rows whose value in the `pa.Array` `stored` is no number."""
    if not len(rows):
        return []
    texts = Texts.of(stored.take(pa.array(rows)))
    marked = is_not_utf8(texts.values)[texts.codes]
    return [not_utf8(column, rows[marked]), Fault("not_a_number", column, "finite numbers", rows[~marked])]


def weight_faults(column: str, columns: Columns) -> list[Fault]:
    """What keeps rows of a column from being weights, which must be there and fit float32."""
    numbers = columns.numbers(column)
    return [
        wrong_type(column, "one number", numbers.wrong),
        *not_numbers(column, columns.stored[column], np.flatnonzero(not_float32(numbers.values))),
        Fault("negative_weight", column, "weights of 0 and more", np.flatnonzero(numbers.values < 0)),
    ]


def probability_faults(column: str, columns: Columns) -> list[Fault]:
    """What keeps rows of a column from being probabilities."""
    values = columns.numbers(column).values
    outside = np.flatnonzero(np.isfinite(values) & ((values < 0) | (values > 1)))
    return [
        *number_faults(column, columns, required=True),
        Fault("not_a_probability", column, "probabilities, 0 to 1", outside),
    ]
