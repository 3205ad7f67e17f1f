# SPDX-License-Identifier: Apache-2.0
"""The kinds of rows that the client takes: they all give what the same rows as a list of mappings give."""

import datetime
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.client import PredictionError
from serving.client.columns import to_model_columns, to_tensor
from serving.client.tables import read_table
from serving.client.transports import ModelInput

INPUTS = {
    "author": ModelInput("DT_STRING"),
    "duration": ModelInput("DT_FLOAT"),
    "tags": ModelInput("DT_STRING", is_list=True),
    "tags_weights": ModelInput("DT_FLOAT", is_list=True),
}
ROWS: list[dict[str, Any]] = [
    {"author": "ann ", "duration": 1.5, "tags": ["a", "b"], "tags_weights": [0.5, 2.0]},
    {"author": None, "duration": None, "tags": None, "tags_weights": None},
    {"author": "7", "duration": -3.0, "tags": [], "tags_weights": []},
    {"author": "é", "duration": 0.1, "tags": ["c", None, " "], "tags_weights": None},
]
AUTHORS = ["ann", "", "7", "é"]
DURATIONS = np.array([1.5, np.nan, -3.0, 0.1], np.float32)
TAGS = [["", "a", "b", ""], ["", "", "", ""], ["", "", "", ""], ["", "c", "", ""]]
WEIGHTS = np.array([[np.nan, 0.5, 2.0], *[[np.nan] * 3] * 3], np.float32)
NAMES = list(ROWS[0])
COLUMNS = {name: [row[name] for row in ROWS] for name in NAMES}
TABLE = pa.Table.from_pylist(ROWS)
LARGE = pa.schema(
    {
        "author": pa.large_string(),
        "duration": pa.float32(),
        "tags": pa.large_list(pa.large_string()),
        "tags_weights": pa.large_list(pa.float32()),
    }
)


def tensors(rows: Any, inputs: dict[str, ModelInput] = INPUTS) -> dict[str, np.ndarray]:
    columns = to_model_columns(read_table(rows, inputs), inputs)
    return {name: to_tensor(column, inputs[name]) for name, column in columns.items()}


class Stream:
    """An object of another library that has Arrow's stream interface and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


def object_array(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


KINDS = {
    "rows": ROWS,
    "tuple": tuple(ROWS),
    "rows without what is missing": [{name: value for name, value in row.items() if value is not None} for row in ROWS],
    "columns": COLUMNS,
    "columns of tuples": {name: tuple(values) for name, values in COLUMNS.items()},
    "NumPy objects": {name: object_array(values) for name, values in COLUMNS.items()},
    "pandas": pd.DataFrame(COLUMNS),
    "pandas of another index": pd.DataFrame(COLUMNS, index=[3, 3, 1, 0]),
    "pandas of Arrow": TABLE.to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, categorical": pd.DataFrame(COLUMNS).assign(author=pd.Categorical(COLUMNS["author"])),
    "pandas columns": {name: pd.Series(values, index=[9, 8, 7, 7]) for name, values in COLUMNS.items()},
    "table": TABLE,
    "table of some chunks": pa.concat_tables([TABLE[:1], TABLE[1:1], TABLE[1:]]),
    "record batch": TABLE.to_batches()[0],
    "a part of a larger table": pa.concat_tables([TABLE, TABLE, TABLE])[4:8],
    "dictionaries": TABLE.set_column(0, "author", TABLE["author"].dictionary_encode()),
    "large types": TABLE.cast(LARGE),
    "bytes": TABLE.set_column(0, "author", TABLE["author"].cast(pa.binary())),
    "views": TABLE.set_column(0, "author", TABLE["author"].cast(pa.string_view())),
    "Arrow columns": {name: TABLE[name] for name in NAMES},
    "another library's table": Stream(TABLE),
    "another library's columns": {name: Stream(TABLE[name]) for name in NAMES},
}


@pytest.mark.parametrize("rows", KINDS.values(), ids=KINDS)
def test_all_kinds_of_rows(rows: Any) -> None:
    received = tensors(rows)
    assert received["author"].tolist() == AUTHORS
    assert all(type(text) is str for text in received["author"])
    np.testing.assert_array_equal(received["duration"], DURATIONS)
    assert received["tags"].tolist() == TAGS
    np.testing.assert_array_equal(received["tags_weights"], WEIGHTS)
    assert {array.dtype for array in received.values()} == {np.dtype(object), np.dtype(np.float32)}


def test_one_row() -> None:
    inputs = {name: INPUTS[name] for name in ("author", "duration")}
    received = tensors({"author": "ann", "duration": 2}, inputs)
    assert received["author"].tolist() == ["ann"]
    assert received["duration"].tolist() == [2.0]
    assert tensors({"author": None}, inputs)["author"].tolist() == [""]
    assert tensors({"duration": np.float32(2)}, inputs)["duration"].tolist() == [2.0]
    assert len(tensors({"author": []}, inputs)["duration"]) == 0


MISSING = [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), Decimal("nan")]


@pytest.mark.parametrize("missing", MISSING, ids=repr)
def test_missing_values(missing: Any) -> None:
    for column in ([missing, missing], object_array([missing, missing]), pd.Series([missing, missing])):
        received = tensors(dict.fromkeys(INPUTS, column))
        assert received["author"].tolist() == ["", ""]
        assert np.isnan(received["duration"]).all()
        assert received["tags"].tolist() == [[""], [""]]
    mixed = tensors([{"author": missing, "duration": 1, "tags": ["a", missing]}, {"author": "a", "duration": missing}])
    assert mixed["author"].tolist() == ["", "a"]
    np.testing.assert_array_equal(mixed["duration"], [1, np.nan])
    assert mixed["tags"].tolist() == [["", "a", ""], ["", "", ""]]


NUMPY = st.sampled_from(["i1", "u1", "i4", "i8", "u8", "f2", "f4", "f8", ">f8", ">i4", "?", "U5"])


@settings(max_examples=40)
@given(NUMPY, st.lists(st.integers(0, 100)))
def test_numpy_types_are_their_values(dtype: str, values: list[int]) -> None:
    array = np.array(values, dtype)
    if array.dtype.kind == "f":
        array /= 4
    names = ["author"] if array.dtype.kind == "U" else ["author", "duration"]
    received, one_by_one = tensors(dict.fromkeys(names, array)), tensors({name: list(array) for name in names})
    for name in names:
        np.testing.assert_array_equal(received[name], one_by_one[name])


ARROW = st.sampled_from(
    [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal128(25, 2), pa.bool_(), pa.null()]
)


@settings(max_examples=40)
@given(ARROW, st.lists(st.none() | st.integers(0, 100)))
def test_arrow_types_are_their_values(kind: pa.DataType, values: list[Any]) -> None:
    array = pa.nulls(len(values)) if kind == pa.null() else pa.array(values, pa.float32()).cast(kind)
    received = tensors({"author": array, "duration": array})
    one_by_one = tensors({"author": [*array.to_pylist(), "x"], "duration": [*array.to_pylist(), Decimal(0)]})
    assert received["author"].tolist() == one_by_one["author"].tolist()[:-1]
    np.testing.assert_array_equal(received["duration"], one_by_one["duration"][:-1])


@pytest.mark.parametrize(
    "lists",
    [
        np.array([["a", "b"], ["c", ""]]),
        pa.array([["a", "b"], ["c", None]], pa.list_(pa.string(), 2)),
        pa.array([["x", "x"], ["a", "b"], ["c", ""]], pa.list_(pa.string(), 2))[1:],
        pa.array([["a", "b"], ["c", ""]], pa.list_view(pa.string())),
        pa.array([["a", "b"], ["c", ""]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        [np.array(["a", "b"]), ("c", "")],
    ],
)
def test_lists(lists: Any) -> None:
    assert tensors({"tags": lists})["tags"].tolist() == [["", "a", "b"], ["", "c", ""]]


def test_fixed_size_lists_that_are_missing() -> None:
    lists = pa.array([["a", "b"], None, ["c", "d"]], pa.list_(pa.string(), 2))
    assert tensors({"tags": lists})["tags"].tolist() == [["", "a", "b"], ["", "", ""], ["", "c", "d"]]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({}, "an empty mapping, so the number of its rows is not known"),
        (None, "rows must be a list of rows, a mapping .*; received None"),
        ("author", "rows must be .*; received 'author'"),
        (iter([]), "rows must be .*; received <list_itera"),
        (
            {"author": "ann", "tags": ["a"]},
            "'author' must be a list of values, .*; received 'ann'. Give a single row that has lists",
        ),
        ({"author": {"a": 1}, "duration": [1]}, "'author' must be a list of values"),
        ({"author": {1, 2}}, "'author' must be a list of values, one a row; received {1, 2}"),
        ({"author": {"a": 1}}, "'author' must be text, a number or a boolean; row 1 has {'a': 1}"),
        ({"tags": ["a", "b"]}, "'tags' must be a list, .*; row 1 has the text 'a'"),
        ({"author": np.zeros((2, 2))}, "'author' must be text, .*; row 1 has array"),
        ({"author": [datetime.date(2020, 1, 1)]}, "'author' must be text, .*; row 1 has datetime.date"),
        (pa.table({"author": pa.array([0], pa.timestamp("s"))}), "'author' must be text, .*; row 1 has datetime.date"),
        (pa.table({"author": [b"ok", b"\xff"]}), r"'author' must be text, .*; row 2 has b'\\xff'"),
        (pa.table({"duration": [None, "1"]}), "'duration' must be a number .*; row 2 has the text '1'"),
        (pa.table({"duration": [1.0, 1e39]}), r"'duration' must be a number .*; row 2 has 1e\+39"),
        ({"duration": np.array([0, np.inf])}, "'duration' must be a number .*; row 2 has .*inf"),
        (
            pa.table({"tags": [["a"], [], ["b"]], "tags_weights": [[1.0], [], [np.inf]]}),
            r"'tags_weights' .*; row 3 has \[inf\]",
        ),
        (pa.table({"tags": pa.array([["a"], [], [b"\xff"]], pa.list_(pa.binary()))}), "'tags' must be a list, .*; row 3 has"),
        (pa.table({"tags": ["a"]}), "'tags' must be a list, .*; row 1 has the text 'a'"),
        (pa.table([["a"], ["b"]], ["author", "author"]), "the request has the feature 'author' twice"),
        (pd.DataFrame([["a", "b"]], columns=["author", "author"]), "the request has the feature 'author' twice"),
        (
            pd.DataFrame([["a", "b"]]),
            "the request has the unknown feature '0'; the model takes author, duration, tags, tags_weights",
        ),
        (pd.DataFrame({"autor": ["a"]}), r"the request has the unknown feature 'autor'; did you mean author\?"),
        (pd.DataFrame({"duration": ["x"]}), "'duration' must be a number .*; row 1 has the text 'x'"),
    ],
)
def test_rows_that_are_none(rows: Any, told: str) -> None:
    with pytest.raises(PredictionError, match=told) as caught:
        tensors(rows)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("kind", ["numpy", "arrow"])
def test_large_tables_are_converted_whole(kind: str) -> None:
    count = 100_000
    columns = {"author": np.arange(count), "duration": np.arange(count) / 2}
    start = time.process_time()
    received = tensors(pa.table(columns) if kind == "arrow" else columns)
    # One by one these take several times as long; loose, for machines of any pace.
    assert time.process_time() - start < 1.0
    assert received["author"][-1] == "99999"
