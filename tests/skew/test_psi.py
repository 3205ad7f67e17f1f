# SPDX-License-Identifier: Apache-2.0
"""The index against a sum written out, and what it says of samples without and with drift."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_crossdistil.skew.psi import stability_index

THRESHOLD = 0.1


def written_out(expected, rows, observed, observed_rows):
    smaller, bins, total = min(rows, observed_rows), len(expected), 0.0
    for p, q in zip(expected, observed, strict=True):
        before, after = ((share * smaller + 0.5) / (smaller + 0.5 * bins) for share in (p, q))
        total += (after - before) * math.log(after / before)
    return total


def shares(counts):
    return np.array(counts) / sum(counts)


counts = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=30).filter(
    lambda pairs: all(sum(side) for side in zip(*pairs, strict=True))
)


@settings(max_examples=100, deadline=None)
@given(counts)
def test_index_is_the_sum(pairs):
    left, right = zip(*pairs, strict=True)
    psi = stability_index(shares(left), sum(left), shares(right), sum(right))
    assert psi.value == pytest.approx(written_out(shares(left), sum(left), shares(right), sum(right)), abs=1e-12)
    assert psi.value >= 0
    assert 0 < psi.noise < psi.limit
    assert psi.value == pytest.approx(stability_index(shares(right), sum(right), shares(left), sum(left)).value)
    assert stability_index(shares(left), 7, shares(left), 90).value == 0


# From tables of the distribution, by degrees of freedom.
CHI_SQUARE_999 = {1: 10.828, 2: 13.816, 10: 29.588, 32: 62.487}


@pytest.mark.parametrize("freedom", CHI_SQUARE_999)
def test_limit_is_that_of_chi_square(freedom):
    bins = freedom + 1
    equal = np.full(bins, 1 / bins)
    psi = stability_index(equal, 1000, equal, 250)
    scale = 1 / 1000 + 1 / 250
    assert psi.noise == pytest.approx(freedom * scale)
    assert psi.limit == pytest.approx(CHI_SQUARE_999[freedom] * scale, rel=0.04)


@pytest.mark.parametrize("rows", [50, 200, 2000])
def test_false_alarms_are_rare(rows):
    generator = np.random.default_rng(rows)
    trials = 4000
    bins = 10 if rows == 50 else 20
    truth = generator.dirichlet(np.full(bins, 3.0))
    # As `bins` makes them: at least five requests are expected in each.
    truth = np.maximum(truth, 5 / rows)
    truth /= truth.sum()
    alarms, values = 0, []
    for _ in range(trials):
        training = generator.multinomial(100_000, truth)
        requests = generator.multinomial(rows, truth)
        psi = stability_index(shares(training), 100_000, shares(requests), rows)
        alarms += psi.drift > THRESHOLD
        values.append(psi.value)
    assert alarms <= 0.003 * trials
    assert np.mean(values) == pytest.approx(psi.noise, rel=0.15)


def test_naive_reading_would_cry_drift():
    """Why the noise is taken off: without drift, fifty requests have an index that is usually read as a drift."""
    generator = np.random.default_rng(0)
    truth = np.full(10, 0.1)
    values = [stability_index(truth, 1e6, generator.multinomial(50, truth) / 50, 50).value for _ in range(300)]
    assert np.mean(np.array(values) > 0.1) > 0.7


def test_drift_is_found_in_200_requests():
    generator = np.random.default_rng(1)
    truth, drifted = np.full(10, 0.1), np.array([0.02] * 5 + [0.18] * 5)
    found = [stability_index(truth, 1e6, generator.multinomial(200, drifted) / 200, 200).drift > 0.25 for _ in range(300)]
    assert np.mean(found) > 0.99


def test_nothing_but_the_limit_counts_in_a_handful():
    """One odd row of five is no drift."""
    assert stability_index(np.array([1.0, 0.0]), 1e6, np.array([0.8, 0.2]), 5).drift == 0
    assert stability_index(np.array([1.0, 0.0]), 1e6, np.array([0.8, 0.2]), 500).drift > 0.25
