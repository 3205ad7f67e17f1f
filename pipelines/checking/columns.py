# SPDX-License-Identifier: Apache-2.0
"""Columns of logs as text and as numbers, whatever type they were stored in.

Canonical text is what a categorical or hashed feature looks up: UTF-8 without ASCII white space at its ends, integers and
integral floats in decimal, booleans as `true` and `false`, dates and times in ISO 8601, durations in seconds, and the empty
string for what is missing. As numbers, dates and times are seconds since 1970 in UTC, times of day since midnight.
"""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.checking.times import is_temporal, seconds, temporal_text

# A code point that Unicode keeps out of interchanged text; it stands ahead of each byte that was not UTF-8.
NOT_UTF8 = "\ufdd0"
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_EXACT_INTEGERS = 2.0**53
_LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return NOT_UTF8 + "".join(f"\\x{byte:02x}" for byte in wrong), error.end


codecs.register_error("mark_not_utf8", _mark)


def _no_rows() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Texts:
    """A column of canonical text: row r holds `values[codes[r]]`, and two codes may hold equal text.

    `codes` is `[rows]`, `values` a `pa.StringArray` of the distinct stored values, `wrong` the rows that hold something
    that is no single value, such as a list.
    """

    codes: NDArray[np.int32]
    values: Any
    wrong: NDArray[np.int64] = field(default_factory=_no_rows)

    @classmethod
    def of(cls, column: Any) -> "Texts":
        """The text of a `pa.Array` of any type."""
        column = plain(column)
        if not is_readable(column.type):
            return cls(np.zeros(len(column), np.int32), pa.array([""]), np.flatnonzero(_to_numpy(column.is_valid())))
        stored = column if pa.types.is_dictionary(column.type) else column.dictionary_encode("encode")
        values, indices = canonical(stored.dictionary), stored.indices.cast(pa.int32())
        if indices.null_count:
            indices = indices.fill_null(len(values))
            values = pa.concat_arrays([values, pa.array([""])])
        return cls(indices.to_numpy(), values)

    def rows_where(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The rows whose value is chosen; `chosen` is over `values`."""
        return np.flatnonzero(chosen[self.codes]) if chosen.any() else _no_rows()

    def take(self, rows: NDArray[np.int64]) -> Any:
        """The text of some rows, a `pa.StringArray`."""
        return self.values.take(pa.array(self.codes[rows]))

    def as_rows(self) -> Any:
        """The text of every row, a `pa.LargeStringArray` `[rows]`: a few long values may fill gigabytes when repeated."""
        return self.values.cast(pa.large_string()).take(pa.array(self.codes))


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: `values` `[rows]`, not finite where the row holds no number; `missing` `[rows]`.

    `wrong` are the rows that hold something that is no single value, such as a list.
    """

    values: NDArray[np.float64]
    missing: NDArray[np.bool_]
    wrong: NDArray[np.int64] = field(default_factory=_no_rows)

    @classmethod
    def of(cls, column: Any) -> "Numbers":
        """The numbers in a `pa.Array` of any type."""
        column = decoded(column)
        kind = column.type
        if is_text(kind):
            texts = _as_text(column)
            return cls(parse_numbers(texts), is_empty(texts))
        missing = _to_numpy(column.is_null())
        if not is_readable(kind):
            return cls(np.full(len(column), np.nan), missing, np.flatnonzero(~missing))
        if is_temporal(kind):
            return cls(seconds(column), missing)
        values = column.cast(pa.uint8()) if pa.types.is_boolean(kind) else column
        return cls(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), missing)


class Columns:
    """The columns of a block, each turned into text or numbers at most once. `stored` holds a `pa.Array` by name."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self.stored = stored
        self._texts: dict[str, Texts] = {}
        self._numbers: dict[str, Numbers] = {}

    def texts(self, name: str) -> Texts:
        """A column as canonical text."""
        if name not in self._texts:
            self._texts[name] = Texts.of(self.stored[name])
        return self._texts[name]

    def numbers(self, name: str) -> Numbers:
        """A column as numbers."""
        if name not in self._numbers:
            self._numbers[name] = Numbers.of(self.stored[name])
        return self._numbers[name]


def plain(column: Any) -> Any:
    """A column in a type that Arrow computes with, the values unchanged."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(column.storage)
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(column))
    return column.cast(pa.float32()) if pa.types.is_float16(kind) else column


def decoded(column: Any) -> Any:
    """A plain column without a dictionary; text that is repeated may need the large kind."""
    column = plain(column)
    if not pa.types.is_dictionary(column.type):
        return column
    values = plain(column.dictionary)
    large = _LARGE.get(values.type)
    return (values.cast(large) if large else values).take(column.indices)


def is_readable(kind: Any) -> bool:
    """Whether a value of this Arrow type is one text or number."""
    types = pa.types
    if types.is_dictionary(kind):
        return is_readable(kind.value_type)
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return is_text(kind) or is_temporal(kind) or any(test(kind) for test in tests)


def canonical(values: Any) -> Any:
    """The canonical text of every value, a `pa.StringArray`; bytes that are not UTF-8 are marked with `NOT_UTF8`."""
    kind = values.type
    if is_text(kind):
        return _as_text(values)
    if pa.types.is_duration(kind):
        return canonical(pa.array(seconds(values)))
    if is_temporal(kind):
        return temporal_text(values).fill_null("")
    if pa.types.is_floating(kind):
        numbers = values.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), _EXACT_INTEGERS))
        integers = pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.string())
        text = pc.coalesce(integers, numbers.cast(pa.string()))
        return pc.if_else(pc.is_nan(numbers), "", text).fill_null("")
    return values.cast(pa.string()).fill_null("")


def parse_numbers(texts: Any) -> NDArray[np.float64]:
    """The number that each text is, and NaN where it is none; `texts` is a `pa.StringArray` of canonical text."""
    try:
        parsed = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        parsed = pc.if_else(pc.match_substring_regex(texts, _NUMBER), texts, None).cast(pa.float64())
    return parsed.fill_null(np.nan).to_numpy(zero_copy_only=False)


def is_not_utf8(texts: Any) -> NDArray[np.bool_]:
    """Which texts hold bytes that were not UTF-8."""
    return _to_numpy(pc.match_substring(texts, NOT_UTF8))


def is_empty(texts: Any) -> NDArray[np.bool_]:
    """Which texts are missing."""
    return _to_numpy(pc.equal(texts, ""))


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text or bytes."""
    types = pa.types
    tests = (
        *(types.is_string, types.is_large_string, types.is_string_view),
        *(types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary),
    )
    return any(test(kind) for test in tests)


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is a list of values."""
    types = pa.types
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in tests)


def untrimmed(values: Any) -> Any:
    """Text or bytes as a `pa.StringArray` with white space at its ends; missing is empty, and what is not UTF-8 is marked."""
    stored = values.cast(pa.binary()).fill_null(b"")
    try:
        return stored.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([value.decode("utf-8", "mark_not_utf8") for value in stored.to_pylist()], pa.string())


def _as_text(values: Any) -> Any:
    return pc.ascii_trim_whitespace(untrimmed(values))


def _to_numpy(mask: Any) -> NDArray[np.bool_]:
    return mask.to_numpy(zero_copy_only=False)
