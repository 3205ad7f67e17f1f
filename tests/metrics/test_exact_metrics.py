# SPDX-License-Identifier: Apache-2.0
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tests.metrics.binned_error import expected_calibration_error
from tf_crossdistil.metrics.exact import (
    auc,
    calibration_bins,
    grouped_auc,
    log_loss,
    multi_auc,
)

TOTAL = np.tri(4, k=-1, dtype=bool)
"""Classes 3 > 2 > 1 > 0."""


def draw(seed, rows=2000, levels=50):
    """Labels that follow the scores; few levels give ties."""
    generator = np.random.default_rng(seed)
    scores = (generator.integers(1, levels, rows) / levels).astype(np.float32)
    return (generator.random(rows) < scores).astype(np.float32), scores


def brute_force_auc(above, below):
    wins = [(a > b) + (a == b) / 2 for a, b in product(above, below)]
    return sum(wins) / len(wins)


def brute_force_multi_auc(classes, scores):
    total = weight = 0.0
    for high, low in product(set(classes), repeat=2):
        if high > low:
            above = [score for score, value in zip(scores, classes, strict=True) if value == high]
            below = [score for score, value in zip(scores, classes, strict=True) if value == low]
            total += (len(above) + len(below)) * brute_force_auc(above, below)
            weight += len(above) + len(below)
    return total / weight


@pytest.mark.parametrize("levels", [3, 50, 1_000_000])
def test_auc_equals_scikit_learn(levels):
    labels, scores = draw(levels, levels=levels)
    assert auc(labels, scores) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), abs=1e-12)


def test_auc_of_perfect_reversed_and_constant_scores():
    labels = np.array([0, 0, 1, 1, 1])
    assert auc(labels, np.array([1, 2, 3, 4, 5])) == 1
    assert auc(labels, np.array([5, 4, 3, 2, 1])) == 0
    assert auc(labels, np.ones(5)) == 0.5


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), min_size=2, max_size=40).filter(lambda rows: len(dict(rows)) > 1)
)
@settings(max_examples=200, deadline=None)
def test_multi_auc_equals_its_definition(rows):
    classes, scores = np.array(rows).T
    assert multi_auc(classes, scores, TOTAL) == pytest.approx(
        brute_force_multi_auc(classes.tolist(), scores.tolist()), abs=1e-12
    )


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9)), min_size=2, max_size=40).filter(lambda rows: len(dict(rows)) > 1)
)
@settings(max_examples=50, deadline=None)
def test_multi_auc_is_of_the_order_alone(rows):
    classes, scores = np.array(rows).T
    value = multi_auc(classes, scores, TOTAL)
    assert multi_auc(classes, np.exp(scores / 3), TOTAL) == pytest.approx(value, abs=1e-12)
    assert multi_auc(3 - classes, scores, TOTAL.T) == pytest.approx(value, abs=1e-12)
    assert multi_auc(classes, -scores, TOTAL) == pytest.approx(1 - value, abs=1e-12)


def test_multi_auc_weighs_pairs_by_their_rows():
    # Class 2 above 1: 1; 2 above 0: 0.5; 1 above 0: 0.
    classes, scores = np.array([2, 1, 1, 0, 0]), np.array([5, 3, 3, 4, 6])
    assert multi_auc(classes, scores, TOTAL) == pytest.approx((3 * 1 + 3 * 0.5 + 4 * 0) / (3 + 3 + 4))


@pytest.mark.parametrize("groups", [1, 7, 300])
def test_grouped_auc_equals_its_definition(groups):
    labels, scores = draw(groups, rows=800, levels=10)
    group = np.random.default_rng(groups).integers(-1, groups, 800)
    values, weights = [], []
    for value in range(groups):
        inside = group == value
        if 0 < labels[inside].sum() < inside.sum():
            values.append(sklearn_metrics.roc_auc_score(labels[inside], scores[inside]))
            weights.append(inside.sum())
    assert grouped_auc(labels, scores, group) == pytest.approx(np.average(values, weights=weights), abs=1e-12)


def test_grouped_auc_shares_ranks_of_infinite_scores():
    labels, scores = np.array([0, 1, 0, 1]), np.array([np.inf, np.inf, 0.0, 1.0])
    assert grouped_auc(labels, scores, np.zeros(4, np.int64)) == auc(labels, scores) == 0.625


def test_grouped_auc_takes_any_group_number():
    labels, scores = draw(5, rows=300, levels=10)
    group = np.random.default_rng(5).integers(-1, 9, 300)
    huge = np.where(group < 0, group, group + np.iinfo(np.int64).max - 9)
    assert grouped_auc(labels, scores, huge) == grouped_auc(labels, scores, group)


def test_log_loss_equals_scikit_learn():
    labels, scores = draw(1)
    assert log_loss(labels, scores) == pytest.approx(sklearn_metrics.log_loss(labels, scores.astype(np.float64)), abs=1e-12)


def test_log_loss_of_certain_predictions_is_finite():
    certain = np.array([0, 1], dtype=np.float32)
    assert log_loss(np.array([0, 1]), certain) == pytest.approx(1e-7, rel=1e-3)
    assert log_loss(np.array([1, 0]), certain) == pytest.approx(-np.log(1e-7), rel=1e-6)


def test_calibration_error_equals_its_definition():
    generator = np.random.default_rng(0)
    probabilities = generator.permutation(np.linspace(0.01, 0.9, 1000))
    labels = (generator.random(1000) < probabilities**2).astype(np.float64)
    order = np.argsort(probabilities)
    expected = 0.0
    for rows in np.split(order, 20):
        expected += len(rows) / 1000 * abs(labels[rows].mean() - probabilities[rows].mean())
    assert expected > 0.05
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_does_not_depend_on_the_order_of_tied_rows():
    labels, scores = draw(3, levels=5)
    order = np.argsort(labels, kind="stable")
    value = expected_calibration_error(labels, scores)
    assert expected_calibration_error(labels[order], scores[order]) == pytest.approx(value, abs=1e-12)


def test_constant_predictions_share_one_bin():
    bins = calibration_bins(np.array([1, 0, 0, 0]), np.full(4, 0.5))
    assert (bins.rows.tolist(), bins.predicted.tolist(), bins.observed.tolist()) == ([4], [0.5], [0.25])


def test_bins_are_of_equal_mass():
    scores = np.random.default_rng(0).random(2010) ** 8
    rows = calibration_bins(np.zeros(2010), scores).rows
    assert rows.size == 20
    assert set(rows.tolist()) == {100, 101}


ONE_CLASS = (np.ones(5), np.linspace(0.1, 0.9, 5))
NOT_A_NUMBER = (np.array([0, 1, 1]), np.array([0.1, np.nan, 0.9]))
EMPTY = (np.empty(0), np.empty(0))


@pytest.mark.parametrize(("labels", "scores"), [ONE_CLASS, NOT_A_NUMBER, EMPTY])
def test_ranking_metrics_are_nan_where_the_rows_do_not_define_them(labels, scores):
    assert np.isnan(auc(labels, scores))
    assert np.isnan(multi_auc(labels.astype(np.int64), scores, TOTAL))
    assert np.isnan(grouped_auc(labels, scores, np.zeros(labels.size, dtype=np.int64)))


@pytest.mark.parametrize(("labels", "scores"), [NOT_A_NUMBER, EMPTY])
def test_probability_metrics_are_nan_where_the_rows_do_not_define_them(labels, scores):
    assert np.isnan(log_loss(labels, scores))
    assert np.isnan(expected_calibration_error(labels, scores))


def test_grouped_auc_is_nan_without_known_groups():
    labels, scores = draw(0)
    assert np.isnan(grouped_auc(labels, scores, np.full(labels.size, -1)))
