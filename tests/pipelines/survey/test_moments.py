# SPDX-License-Identifier: Apache-2.0
"""Mean, deviation and boundaries of numeric columns, in any order of merging."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.checking.columns import Numbers
from pipelines.survey.moments import Moments
from pipelines.survey.quantiles import QuantileCounts


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


def quantiles(blocks: list[list[float]]) -> QuantileCounts:
    total = QuantileCounts()
    for block in blocks:
        part = QuantileCounts()
        part.add(np.array(block, np.float64))
        total.merge(part)
    return total


WHOLE = st.integers(-(2**13), 2**13).map(float)
LARGEST = float(np.finfo(np.float32).max)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(WHOLE, max_size=20), max_size=5), st.integers(2, 9), st.randoms())
def test_boundaries_of_whole_numbers_are_exact(blocks: list[list[float]], buckets: int, order: random.Random) -> None:
    values = sorted(value for block in blocks for value in block)
    least, *higher = sorted(set(values)) or [0.0]
    found = {values[bucket * len(values) // buckets] for bucket in range(1, buckets)} if values else set()
    expected = sorted({higher[0] if value == least else value for value in found} if higher else set())
    assert quantiles(blocks).boundaries(buckets) == expected
    assert quantiles(order.sample(blocks, len(blocks))).boundaries(buckets) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-LARGEST, LARGEST, allow_subnormal=False), min_size=1, max_size=40), st.integers(2, 6))
def test_boundaries_of_other_numbers_are_off_by_little(values: list[float], buckets: int) -> None:
    ordered = sorted(values)
    near = [
        (exact, abs(np.float32(exact)) * 2.0**-12 + 1e-37)
        for exact in (ordered[bucket * len(values) // buckets] for bucket in range(1, buckets))
        if exact - ordered[0] > abs(ordered[0]) * 2.0**-11 + 1e-37
    ]
    boundaries = quantiles([values]).boundaries(buckets)
    assert boundaries == sorted(set(boundaries))
    for exact, tolerance in near:
        assert min(abs(boundary - exact) for boundary in boundaries) <= tolerance


def test_buckets_are_equally_filled() -> None:
    values = np.random.default_rng(0).lognormal(size=(20, 500)) - 1
    counts = quantiles(values.tolist())
    boundaries = counts.boundaries(8)
    assert len(boundaries) == 7
    filled = np.bincount(np.searchsorted(boundaries, values.ravel(), side="right"))
    np.testing.assert_allclose(filled, 10_000 / 8, rtol=0.02)


def test_the_least_value_is_no_boundary() -> None:
    assert quantiles([[0.0] * 90 + [-0.0] * 5 + [7.0] * 5]).boundaries(10) == [7.0]
    assert quantiles([[3.0] * 9]).boundaries(4) == []
    assert quantiles([]).boundaries(4) == []
