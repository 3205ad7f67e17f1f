"""Vocabularies and numeric statistics against plain counting, in any order of merging."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.checking.columns import Numbers, Texts
from pipelines.statistics import vocabulary
from pipelines.statistics.moments import Moments
from pipelines.statistics.vocabulary import Lookup, ValueCounts, parse_vocabulary, vocabulary_bytes
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


@pytest.mark.parametrize("oov_buckets", [1, 7])
def test_ids(oov_buckets: int) -> None:
    known = pa.array([f"value {row}" for row in range(1000)])
    unseen = [f"unseen {row}" for row in range(100)]
    ids = Lookup(known, oov_buckets).ids(pa.array([*unseen, "", *reversed(known.to_pylist())]))
    outside = tf.strings.to_hash_bucket_fast(tf.constant(unseen), oov_buckets).numpy() + 1001
    np.testing.assert_array_equal(ids, [*outside, 0, *range(1000, 0, -1)])


def test_values_of_one_fingerprint_keep_their_own_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "fingerprint64", lambda values: np.full(len(values), 3, np.uint64))
    ids = Lookup(pa.array(["a", "b", "c"]), 2).ids(pa.array(["c", "a", "d", "b", ""]))
    assert ids.tolist() == [3, 1, 4 + 3 % 2, 2, 0]


@pytest.mark.parametrize("values", [[], ["a"], ["b", "a c", "é"]])
def test_vocabulary_file_holds_one_value_a_line(values: list[str]) -> None:
    content = vocabulary_bytes(pa.array(values, pa.string()))
    assert content.decode() == "".join(f"{value}\n" for value in values)
    assert parse_vocabulary(content).to_pylist() == values


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=9), min_size=1, max_size=6), st.randoms()
)
def test_moments(blocks: list[list[float | None]], order: random.Random) -> None:
    def merged(parts: list[list[float | None]]) -> Moments:
        total = Moments()
        for part in parts:
            moments = Moments()
            moments.add(Numbers.of(pa.array(part, pa.float64())), np.ones(len(part), bool))
            total.merge(moments)
        return total

    statistics = merged(blocks).statistics()
    values = [value for block in blocks for value in block if value is not None]
    assert statistics.count == len(values)
    assert statistics.missing == sum(value is None for block in blocks for value in block)
    if values:
        assert statistics.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
        assert statistics.deviation == pytest.approx(np.std(values), rel=1e-9, abs=1e-6)
        assert (statistics.minimum, statistics.maximum) == (min(values), max(values))
    assert merged(order.sample(blocks, len(blocks))).statistics() == statistics


def test_deviation_far_from_zero_loses_no_digits() -> None:
    moments = Moments()
    values = 1.65e12 + np.arange(1000.0)
    for part in np.split(values, 10):
        moments.add(Numbers.of(pa.array(part)), np.ones(len(part), bool))
    assert moments.statistics().deviation == pytest.approx(np.std(np.arange(1000.0)), rel=1e-9)
