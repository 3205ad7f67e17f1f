# SPDX-License-Identifier: Apache-2.0
"""Lists of values and their weights, against a plain reading row by row."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.checking.columns import Columns
from pipelines.checking.dead_letters import dead_letters
from pipelines.checking.lists import Lists, read_lists
from pipelines.checking.validate import Validator
from pipelines.sources.blocks import Block
from tf_crossdistil.config import Experiment, MultiValueFeature

Make = Callable[..., Experiment]
ELEMENT = st.none() | st.sampled_from(["", " ", "a", " b ", "c", "été", "a b"])
WEIGHT = st.none() | st.floats(width=32) | st.sampled_from([0.0, 1.0, -0.0, -2.5, 0.25])


def feature(**options: Any) -> MultiValueFeature:
    return MultiValueFeature(name="tags", kind="multi_value", **options)


def by_row(lists: Lists) -> list[list[str]]:
    texts = lists.elements.as_rows().to_pylist()
    return [texts[start:end] for start, end in zip(lists.offsets[:-1], lists.offsets[1:], strict=True)]


def read(column: Any, **options: Any) -> list[list[str]]:
    lists, faults = read_lists(feature(**options), Columns({"tags": column}))
    assert not any(len(fault.rows) for fault in faults)
    return by_row(lists)


def test_a_delimiter_of_white_space() -> None:
    assert read(pa.array(["7, ", "a, b", "  "]), delimiter=", ") == [["7"], ["a", "b"], []]
    weighted = Columns({"tags": pa.array(["\ta\tb"]), "w": pa.array(["9\t1\t2"])})
    lists, faults = read_lists(feature(delimiter="\t", weights="w"), weighted)
    assert by_row(lists) == [["a", "b"]] and lists.weights is not None
    assert lists.weights.tolist() == [1, 2] and not any(len(fault.rows) for fault in faults)


@pytest.mark.parametrize(
    "column, expected",
    [
        (pa.array([["a", " b ", "", None], [], None, ["c"]]), [["a", "b"], [], [], ["c"]]),
        (pa.array([[1, None], None, [2**62]], pa.list_(pa.int64())), [["1"], [], [str(2**62)]]),
        (pa.array([[1.0, 0.5, math.nan]], pa.large_list(pa.float32())), [["1", "0.5"]]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)), [["1", "2"], [], ["3", "4"]]),
        (pa.array([["x", "y"], None, ["x"]], pa.list_view(pa.string())), [["x", "y"], [], ["x"]]),
        (pa.array([["x", "y"], None, ["x"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), [["x", "y"], [], ["x"]]),
        (pa.array([[], None], pa.list_(pa.null())), [[], []]),
        (pa.array([True, None]), [["true"], []]),
        (pa.array(["a|b", "", None, " a | |c", "|"]), [["a", "b"], [], [], ["a", "c"], []]),
        (pa.array(["a|b", None, "a|b"]).dictionary_encode(), [["a", "b"], [], ["a", "b"]]),
        (pa.array([b"a|b", b"c"]), [["a", "b"], ["c"]]),
        (pa.array([7, None]), [["7"], []]),
        (pa.nulls(2), [[], []]),
        (pa.array([["z"], ["a", "b"], None, ["c"]])[1:], [["a", "b"], [], ["c"]]),
    ],
)
def test_columns_of_several_values(column: Any, expected: list[list[str]]) -> None:
    assert read(column) == expected


def test_delimiter_of_several_characters() -> None:
    assert read(pa.array(["a, b,c"]), delimiter=", ") == [["a", "b,c"]]


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.none() | st.lists(ELEMENT, max_size=6), st.none() | st.lists(WEIGHT, max_size=6), st.booleans()),
        max_size=8,
    ),
    most=st.integers(1, 4),
)
def test_weights_go_with_their_elements(rows: list[tuple[Any, Any, bool]], most: int) -> None:
    # As many weights as elements in most rows.
    rows = [(tags, (w + [1.0] * 6)[: len(tags or [])] if w and fit else w, fit) for tags, w, fit in rows]
    columns = {
        "tags": pa.array([tags for tags, _, _ in rows], pa.list_(pa.string())),
        "w": pa.array([weights for _, weights, _ in rows], pa.list_(pa.float32())),
    }
    lists, faults = read_lists(feature(weights="w", max_length=most), Columns(columns))
    assert lists.weights is not None
    found: dict[int, str] = {int(row): fault.reason for fault in reversed(faults) for row in fault.rows}
    texts, lengths = by_row(lists), lists.lengths
    for row, (stored, weights, _) in enumerate(rows):
        tags = stored or []
        if weights and len(weights) != len(tags):
            assert found[row] == "wrong_length"
            continue
        kept = [(t.strip(), w) for t, w in zip(tags, weights or [1.0] * len(tags), strict=True) if t and t.strip()]
        if any(w is None or not math.isfinite(w) for _, w in kept):
            assert found[row] == "not_a_number"
        elif any(w < 0 for _, w in kept):
            assert found[row] == "negative_weight"
        else:
            assert row not in found
            assert texts[row] == [t for t, _ in kept[:most]]
            assert lists.weights[lists.offsets[row] :][: lengths[row]].tolist() == [w for _, w in kept[:most]]
        assert lists.truncated[row] == (len(kept) > most)
    picked = np.arange(len(rows))[::-2]
    taken = lists.take(picked)
    assert by_row(taken) == [texts[row] for row in picked]
    assert taken.weights is not None
    assert len(taken.weights) == lengths[picked].sum()


def test_weights_as_text(experiment: Make) -> None:
    config = experiment(
        features=[{"name": "tags", "kind": "multi_value", "weights": "w"}], tasks=[{"name": "t", "column": "t"}]
    )
    tags = ["a|b", "a|b", "a||b", "a|b", "a|b", "a|b", "", "", "a", "a|b"]
    weights: list[Any] = [b"1|0.5", b"", b"1||2", b"1", b"1|x", b"1|-1", b"", b"1", b"\xff", b"1e39|1"]
    columns = {"user": ["u"] * 10, "t": [1] * 10, "tags": tags, "w": weights}
    block = Block({name: pa.array(values) for name, values in columns.items()}, np.arange(10))
    rows = Validator(config)(block.columns)
    reasons = {letter.position: letter.reason for letter in dead_letters(block, rows)}
    assert reasons == {
        3: "wrong_length",
        4: "not_a_number",
        5: "negative_weight",
        7: "wrong_length",
        8: "not_utf8",
        9: "not_a_number",
    }
    good = rows.lists["tags"].take(np.flatnonzero(rows.good))
    assert good.weights is not None
    assert good.weights.tolist() == [1.0, 0.5, 1.0, 1.0, 1.0, 2.0]
    assert by_row(good) == [["a", "b"]] * 3 + [[]]
