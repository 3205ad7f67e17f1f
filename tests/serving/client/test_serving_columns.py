# SPDX-License-Identifier: Apache-2.0
"""What the client makes of values: the text and the numbers that preparing data makes of the same values."""

import math
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.checking.columns import canonical
from serving.client import PredictionError
from serving.client.columns import to_model_columns, to_tensor
from serving.client.tables import read_table
from serving.client.transports import ModelInput

COLUMNS = st.one_of(
    *(
        st.lists(st.none() | values)
        for values in (
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
            st.floats(width=32).map(np.float32),
            st.sampled_from([2.0**53, -(2.0**53), 2.0**53 - 1, -0.0]) | st.integers(-30, 30).map(lambda e: 1.5 * 10.0**e),
            st.booleans(),
            st.text() | st.text("a \t\n\v\f\r\u00a0"),
            st.text("\u00e9b \n").map(str.encode),
            st.decimals(-(10**9), 10**9, places=4),
        )
    )
)


def columns(rows: Any, inputs: dict[str, ModelInput]) -> Any:
    return to_model_columns(read_table(rows, inputs), inputs)


def texts(values: list[Any]) -> list[str]:
    model_input = ModelInput("DT_STRING")
    return to_tensor(columns({"author": values}, {"author": model_input})["author"], model_input).tolist()


def numbers(values: list[Any]) -> list[float]:
    model_input = ModelInput("DT_FLOAT")
    return to_tensor(columns({"duration": values}, {"duration": model_input})["duration"], model_input).tolist()


@given(COLUMNS)
def test_text_is_that_of_prepared_data(values: list[Any]) -> None:
    assert texts(values) == canonical(pa.array(values)).to_pylist()


def test_text_of_each_kind() -> None:
    values = [
        None,
        math.nan,
        True,
        np.False_,
        7,
        np.int64(-7),
        3.0,
        0.7,
        1e-9,
        1e300,
        np.float32(0.5),
        " a ",
        b"b",
        Decimal("1.50"),
    ]
    expected = ["", "", "true", "false", "7", "-7", "3", "0.7", "1e-9", "1e+300", "0.5", "a", "b", "1.50"]
    assert texts(values) == expected


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("\ud800", r"the text '\\ud800', which UTF-8 cannot write: it has half of a surrogate pair$"),
        (b"\xff", r"b'\\xff'$"),
        (["a"], r"\['a'\]$"),
        ({}, "{}$"),
        (1j, "1j$"),
    ],
)
def test_what_is_no_text(value: Any, told: str) -> None:
    with pytest.raises(PredictionError, match=f"'author' must be text, a number or a boolean; row 2 has {told}"):
        texts(["a", value])


def test_numbers_of_each_kind() -> None:
    values = [1, 1.5, np.float32(0.5), True, np.False_, Decimal("2.5"), 3.4e38]
    assert numbers(values) == [1, 1.5, 0.5, 1, 0, 2.5, float(np.float32(3.4e38))]
    assert all(map(math.isnan, numbers([None, math.nan, np.float32("nan")])))


@pytest.mark.parametrize("value", [1e39, -1e39, 10**400, math.inf, -math.inf, np.float32("inf"), "1", [1.0]])
def test_what_is_no_number_that_a_model_takes(value: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PredictionError, match=r"'duration' must be a number within float32's range .*; row 2 has"):
            numbers([1.0, value])


def test_a_number_as_text_is_told_to_be_text() -> None:
    with pytest.raises(PredictionError, match=r"'duration' must be a number .*; row 2 has the text '9'$"):
        numbers([1.0, "9"])


LISTS = {"tags": ModelInput("DT_STRING", is_list=True), "tags_weights": ModelInput("DT_FLOAT", is_list=True)}


def tensors(rows: Any) -> dict[str, list[list[Any]]]:
    return {name: to_tensor(column, LISTS[name]).tolist() for name, column in columns(rows, LISTS).items()}


@pytest.mark.parametrize(
    "rows",
    [
        [{"tags": ["a ", 7, None]}, {"tags": None}, {"tags": [b"b"]}],
        {"tags": [("a", "7", ""), [], ["b"]]},
        {"tags": [np.array(["a", 7, None], object), math.nan, np.array(["b"])]},
        [{"tags": ["a", 7.0, ""], "tags_weights": None}, {"tags": [], "tags_weights": []}, {"tags": ["b"]}],
    ],
    ids=["rows", "columns", "arrays", "some weights"],
)
def test_lists_stand_behind_an_empty_first_value_padded_to_the_longest(rows: Any) -> None:
    received = tensors(rows)
    assert received["tags"] == [["", "a", "7", ""], ["", "", "", ""], ["", "b", "", ""]]
    assert np.shape(received["tags_weights"]) == (3, 1)
    assert np.isnan(received["tags_weights"]).all()


def test_a_matrix_is_a_column_of_lists() -> None:
    received = tensors({"tags": np.array([["a", "b"], ["c", "d"]]), "tags_weights": np.array([[1, 2], [0.5, np.nan]])})
    assert received["tags"] == [["", "a", "b"], ["", "c", "d"]]
    np.testing.assert_array_equal(received["tags_weights"], [[np.nan, 1, 2], [np.nan, 0.5, np.nan]])


def test_no_rows_of_lists() -> None:
    assert tensors([]) == {"tags": [], "tags_weights": []}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"tags": "a|b"}, r"'tags' must be a list, each value text, a number or a boolean; row 2 has the text 'a\|b'"),
        ({"tags": 5}, "'tags' must be a list, .*; row 2 has 5"),
        ({"tags": [["a"]]}, r"'tags' must be a list, .*; row 2 has \[\['a'\]\]"),
        ({"tags": ["a", "\ud800"]}, "'tags' must be a list, .*; row 2 has"),
        ({"tags": ["a"], "tags_weights": 1.0}, "'tags_weights' must be a list, each value a number .*; row 2 has 1.0"),
        ({"tags": ["a"], "tags_weights": ["1"]}, "'tags_weights' must be a list, .*; row 2 has"),
        ({"tags": ["a"], "tags_weights": [math.inf]}, "'tags_weights' must be a list, .*; row 2 has"),
        (
            {"tags": ["a"], "tags_weights": [1, 2]},
            "'tags_weights' must have one weight a value of 'tags', or none at all; row 2 has 2 weights and 1 values",
        ),
        ({"tags": ["a", "b"], "tags_weights": [1, -0.5]}, "'tags_weights' must not be negative; row 2 has -0.5"),
        ({"tags_weights": [1]}, "'tags_weights' must have one weight a value of 'tags', .*; row 2 has 1 weights and 0 values"),
    ],
)
def test_what_is_no_list(row: dict[str, Any], told: str) -> None:
    with pytest.raises(PredictionError, match=told):
        tensors([{"tags": ["a"], "tags_weights": [1]}, row])
