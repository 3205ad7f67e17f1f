# SPDX-License-Identifier: Apache-2.0
"""Canonical text and numbers, whatever type a column was stored in."""

import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.checking.columns import NOT_UTF8, Numbers, Texts, is_not_utf8


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
        (pa.array([decimal.Decimal(10**30 + 1), None]), [str(10**30 + 1), ""]),
        (pa.array([decimal.Decimal(2**200)], pa.decimal256(76)), [str(2**200)]),
        (pa.array([str(2**70)]), [str(2**70)]),
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


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], None, []]),
        pa.array([{"a": 1}, None, {}]),
        pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())),
        pa.array([[1], None, [2]], pa.list_(pa.int8(), 1)),
    ],
)
def test_values_that_are_not_single_are_wrong_unless_null(column: Any) -> None:
    assert Texts.of(column).wrong.tolist() == [0, 2]
    assert Texts.of(column).as_rows().to_pylist() == [""] * 3
    numbers = Numbers.of(column)
    assert numbers.wrong.tolist() == [0, 2]
    assert numbers.missing.tolist() == [False, True, False]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["1", None, "x"], pa.string_view()),
        pa.array([b"1", None, b"x"], pa.binary_view()),
        pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int8()), pa.array(["1", "x"])),
        pc.run_end_encode(pa.array(["1", None, "x"])),
    ],
)
def test_other_encodings_of_text(column: Any) -> None:
    assert Texts.of(column).as_rows().to_pylist() == ["1", "", "x"]
    assert Numbers.of(column).values[0] == 1.0
    assert Numbers.of(column).missing.tolist() == [False, True, False]


def test_half_floats_and_extension_types() -> None:
    assert Texts.of(pa.array([1.5, None, 2.0], pa.float16())).as_rows().to_pylist() == ["1.5", "", "2"]
    identifier = pa.ExtensionArray.from_storage(pa.opaque(pa.int64(), "id", "shop"), pa.array([5, None]))
    assert Texts.of(identifier).as_rows().to_pylist() == ["5", ""]


def test_a_dictionary_as_large_as_its_indices_allow() -> None:
    values = pa.array([str(value) for value in range(128)])
    column = pa.DictionaryArray.from_arrays(pa.array([127, None], pa.int8()), values)
    assert Texts.of(column).as_rows().to_pylist() == ["127", ""]
