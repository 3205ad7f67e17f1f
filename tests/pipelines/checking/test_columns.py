"""Canonical text and numbers, whatever type a column was stored in."""

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.checking.columns import NOT_UTF8, Numbers, Texts, is_not_utf8, is_readable


@pytest.mark.parametrize(
    "column, expected",
    [
        (pa.array([" a ", "", None, "\t\n\x0b\x0c\r b c\u00a0"]), ["a", "", "", "b c\u00a0"]),
        (pa.array([b"a", b"a ", None]), ["a", "a", ""]),
        (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
        (pa.array([7, -1, None, 2**62]), ["7", "-1", "", str(2**62)]),
        (pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
        (pa.array([True, False, None]), ["true", "false", ""]),
        (pa.array([3.0, -2.0, 0.5, None, float("nan"), 1e300]), ["3", "-2", "0.5", "", "", "1e+300"]),
        (pa.array([3.0, 0.5], pa.float32()), ["3", "0.5"]),
        (pa.array(["u", None, "v ", "u"]).dictionary_encode(), ["u", "", "v", "u"]),
        (pa.array([5, None, 5]).dictionary_encode(), ["5", "", "5"]),
        (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
        (pa.array([None, None]), ["", ""]),
    ],
)
def test_canonical_text(column: Any, expected: list[str]) -> None:
    assert Texts.of(column).as_rows().to_pylist() == expected


def test_slices_keep_their_rows() -> None:
    column = pa.array([f" {row % 7} " for row in range(50)])
    assert Texts.of(column[11:31]).as_rows().to_pylist() == [str(row % 7) for row in range(11, 31)]


def test_bytes_that_are_not_utf8_are_marked() -> None:
    texts = Texts.of(pa.array([b"good", b"b\xffd", "schön".encode()], pa.binary()))
    assert is_not_utf8(texts.as_rows()).tolist() == [False, True, False]
    assert texts.as_rows().to_pylist()[1].replace(NOT_UTF8, "") == "b\\xffd"


@pytest.mark.parametrize(
    "column, expected",
    [
        (pa.array([" 1.5 ", "-2", "1e3", "+4", ".5", "5."]), [1.5, -2.0, 1000.0, 4.0, 0.5, 5.0]),
        (pa.array(["1", "one", "0x1f", "1_000", "1 2", "2"]), [1.0, None, None, None, None, 2.0]),
        (pa.array(["nan", "inf", "-Infinity", "1e999"]), [None] * 4),
        (pa.array(["3", "inf", "x"]), [3.0, None, None]),
        (pa.array([1, 2, None]), [1.0, 2.0, None]),
        (pa.array([1.5, None, float("nan"), float("inf")]), [1.5, None, None, None]),
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.array(["7", "x"]).dictionary_encode(), [7.0, None]),
        (pa.array([7, None]).dictionary_encode(), [7.0, None]),
        (pa.array([decimal.Decimal("2.25")]), [2.25]),
    ],
)
def test_numbers(column: Any, expected: list[float | None]) -> None:
    values = Numbers.of(column).values
    assert [float(value) if np.isfinite(value) else None for value in values] == expected


@pytest.mark.parametrize("column", [pa.array([1.0, None]), pa.array([1, None]), pa.array(["1", " "]), pa.array(["1", None])])
def test_missing_numbers(column: Any) -> None:
    assert Numbers.of(column).missing.tolist() == [False, True]


def test_lists_and_dates_are_not_readable() -> None:
    assert is_readable(pa.dictionary(pa.int8(), pa.string()))
    assert not is_readable(pa.list_(pa.int64()))
    assert not is_readable(pa.array([datetime.date(2026, 1, 1)]).type)
