# SPDX-License-Identifier: Apache-2.0
"""Vocabularies against plain counting, in any order of merging."""

import pickle
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.checking.columns import Texts
from pipelines.survey import vocabulary
from pipelines.survey.vocabulary import ValueCounts, parse_vocabulary, vocabulary_bytes
from tf_crossdistil.config import CategoricalFeature

TEXT = st.text(st.sampled_from("ab é\n\r日"), max_size=3)


def count(blocks: list[list[str]]) -> ValueCounts:
    counts = ValueCounts()
    for block in blocks:
        part = ValueCounts()
        part.add(Texts.of(pa.array(block, pa.string())), np.ones(len(block), bool))
        counts.merge(part)
    return counts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(TEXT, max_size=12), max_size=5), st.integers(1, 3), st.none() | st.integers(1, 3), st.randoms())
def test_order_limits_and_merging(blocks: list[list[str]], min_count: int, max_size: int | None, order: random.Random) -> None:
    feature = CategoricalFeature(kind="categorical", name="f", min_count=min_count, max_size=max_size)
    # ASCII white space at the ends is no part of a value.
    tally = Counter(value.strip(" \n\r") for block in blocks for value in block)
    kept = [value for value, n in tally.items() if n >= min_count and value and not {"\n", "\r"} & set(value)]
    expected = sorted(kept, key=lambda value: (-tally[value], value.encode()))[:max_size]
    assert count(blocks).vocabulary(feature).to_pylist() == expected
    assert count(order.sample(blocks, len(blocks))).vocabulary(feature).to_pylist() == expected


def test_rows_outside_the_choice_are_not_counted() -> None:
    counts = ValueCounts()
    counts.add(Texts.of(pa.array(["a", "b", "a", "c"])), np.array([True, False, True, True]))
    assert sorted(counts.table().to_pylist(), key=str) == [{"value": "a", "count": 2}, {"value": "c", "count": 1}]


@pytest.mark.parametrize("values", [[], ["a"], ["b", "a c", "é"]])
def test_vocabulary_file_holds_one_value_a_line(values: list[str]) -> None:
    content = vocabulary_bytes(pa.array(values, pa.string()))
    assert content.decode() == "".join(f"{value}\n" for value in values)
    assert parse_vocabulary(content).to_pylist() == values


def test_handed_on_counts_hold_every_value_once() -> None:
    counts = count([["a", "b"] * 50, ["b", "c"] * 50] * 20)
    alone = pickle.dumps(count([["a"] * 1000 + ["b"] * 2000 + ["c"] * 1000]))
    handed_on = pickle.loads(pickle.dumps(counts))
    assert len(pickle.dumps(counts)) == len(alone)
    handed_on.merge(count([["c"]]))
    assert {row["value"]: row["count"] for row in handed_on.table().to_pylist()} == {"a": 1000, "b": 2000, "c": 1001}


def test_counting_in_many_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_PENDING_VALUES", 3)
    feature = CategoricalFeature(kind="categorical", name="f")
    blocks = [[str(value % 11) for value in range(start, start + 4)] for start in range(0, 60, 2)]
    tally = Counter(value for block in blocks for value in block)
    assert count(blocks).vocabulary(feature).to_pylist() == sorted(tally, key=lambda value: (-tally[value], value))
