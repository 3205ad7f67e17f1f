# SPDX-License-Identifier: Apache-2.0
"""Metrics under row weights, missing labels and orders that leave classes unranked."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tests.metrics.binned_error import expected_calibration_error
from tf_crossdistil.metrics.exact import (
    auc,
    calibration_ratio,
    grouped_auc,
    log_loss,
    multi_auc,
    normalized_entropy,
)
from tf_crossdistil.metrics.task_scores import TaskScores
from tf_crossdistil.tags import class_order, label_classes

PARTIAL = np.zeros((4, 4), bool)
PARTIAL[[3, 3, 2, 1], [0, 1, 0, 0]] = True
"""3 above 1 and 0, 2 above 0, 1 above 0; 2 is not ranked against 3 and 1."""
BY_LABEL = [auc, log_loss, normalized_entropy, expected_calibration_error, calibration_ratio]


def draw(seed, rows=1500, levels=40):
    generator = np.random.default_rng(seed)
    scores = (generator.integers(1, levels, rows) / levels).astype(np.float32)
    labels = (generator.random(rows) < scores).astype(np.float32)
    return labels, scores, generator.exponential(size=rows).astype(np.float32)


def brute_force_multi_auc(classes, scores, weights, above):
    total = weight = 0.0
    for high, low in product(range(len(above)), repeat=2):
        highs = [(score, own) for score, own, value in zip(scores, weights, classes, strict=True) if value == high]
        lows = [(score, own) for score, own, value in zip(scores, weights, classes, strict=True) if value == low]
        size = sum(own for _, own in [*highs, *lows])
        pairs = sum(a * b for (_, a), (_, b) in product(highs, lows))
        if above[high, low] and pairs:
            wins = sum(a * b * ((s > t) + (s == t) / 2) for (s, a), (t, b) in product(highs, lows))
            total += size * wins / pairs
            weight += size
    return total / weight if weight else float("nan")


ROW = st.tuples(st.integers(0, 3), st.integers(-3, 3), st.integers(0, 3))


@given(st.lists(ROW, min_size=1, max_size=25), st.sampled_from([PARTIAL, class_order(1), class_order(2)]))
@settings(max_examples=200, deadline=None)
def test_multi_auc_equals_a_double_loop(rows, above):
    classes, scores, weights = np.array(rows).T
    classes = classes % len(above)
    expected = brute_force_multi_auc(classes.tolist(), scores.tolist(), weights.tolist(), above)
    assert multi_auc(classes, scores, above, weights) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_row_whose_class_has_no_order_may_have_a_score_that_is_no_number():
    classes, scores = np.array([1, 0, 2]), np.array([0.7, 0.2, np.nan])
    above = np.zeros((3, 3), bool)
    above[1, 0] = True
    assert multi_auc(classes, scores, above) == 1.0
    assert np.isnan(multi_auc(np.array([1, 0, 1]), scores, above))


@pytest.mark.parametrize("weighted", [False, True])
def test_each_pair_of_classes_equals_scikit_learn(weighted):
    generator = np.random.default_rng(0)
    _, scores, weights = draw(0)
    labels = (generator.random((1500, 2)) < scores[:, np.newaxis]).astype(np.float32)
    labels[generator.random(1500) < 0.2, 1] = np.nan
    classes, above = label_classes(labels, ["finish", "like"], ["finish", "like"]), class_order(2)
    sample_weight = weights if weighted else np.ones(1500)
    rates, sizes = [], []
    for high, low in np.argwhere(above):
        if not {high, low} <= set(classes):
            continue
        rows = (classes == high) | (classes == low)
        one = np.zeros_like(above)
        one[high, low] = True
        expected = sklearn_metrics.roc_auc_score(classes[rows] == high, scores[rows], sample_weight=sample_weight[rows])
        assert multi_auc(classes, scores, one, weights if weighted else None) == pytest.approx(expected, abs=1e-12)
        rates.append(expected)
        sizes.append(sample_weight[rows].sum())
    # Three classes of finished rows above three of others; within either, like decides one pair, and none with a missing like.
    assert len(rates) == 3 * 3 + 2
    total = multi_auc(classes, scores, above, weights if weighted else None)
    assert total == pytest.approx(np.average(rates, weights=sizes), abs=1e-7)


def test_weighted_metrics_equal_scikit_learn():
    labels, scores, weights = draw(1)
    exact = scores.astype(np.float64)
    assert auc(labels, scores, weights) == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-6
    )
    loss = sklearn_metrics.log_loss(labels, exact, sample_weight=weights)
    assert log_loss(labels, scores, weights) == pytest.approx(loss, abs=1e-6)
    base = np.full(1500, np.average(labels, weights=weights))
    base_loss = sklearn_metrics.log_loss(labels, base, sample_weight=weights)
    assert normalized_entropy(labels, scores, weights) == pytest.approx(loss / base_loss, abs=1e-6)
    ratio = (weights * exact).sum() / (weights * labels).sum()
    assert calibration_ratio(labels, scores, weights) == pytest.approx(ratio, abs=1e-6)


def test_normalized_entropy_of_the_base_rate_is_one():
    labels = draw(2)[0]
    assert normalized_entropy(labels, np.full(1500, labels.mean(dtype=np.float64))) == pytest.approx(1, abs=1e-9)


COUNTED = st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(0, 3), st.integers(-1, 2))


@given(st.lists(COUNTED, min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_weight_is_a_number_of_repeated_rows(rows):
    labels, tenths, weights, groups = np.array(rows).T
    labels, scores = labels.astype(np.float64), tenths / 10
    again = [np.repeat(values, weights) for values in (labels, scores, groups)]
    for metric in BY_LABEL:
        assert metric(labels, scores, weights) == pytest.approx(metric(*again[:2]), abs=1e-9, nan_ok=True), metric
    assert grouped_auc(labels, scores, groups, weights) == pytest.approx(grouped_auc(*again), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("metric", BY_LABEL)
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_without_a_label_are_left_out(metric, weighted):
    labels, scores, weights = draw(3)
    missing = np.random.default_rng(0).random(1500) < 0.5
    weights = weights if weighted else None
    kept = metric(labels[~missing], scores[~missing], None if weights is None else weights[~missing])
    assert kept != metric(labels, scores, weights)
    scores = np.where(missing, np.float32(np.nan), scores)
    assert metric(np.where(missing, np.nan, labels), scores, weights) == pytest.approx(kept, abs=1e-12)


def test_grouped_auc_leaves_out_rows_without_a_label():
    labels, scores, weights = draw(4)
    groups = np.random.default_rng(0).integers(-1, 30, 1500)
    missing = np.random.default_rng(1).random(1500) < 0.5
    kept = grouped_auc(labels[~missing], scores[~missing], groups[~missing], weights[~missing])
    assert grouped_auc(np.where(missing, np.nan, labels), scores, groups, weights) == pytest.approx(kept, abs=1e-12)


def test_grouped_auc_weighs_groups_by_their_weight():
    labels, scores, weights = draw(5)
    groups = np.random.default_rng(0).integers(0, 30, 1500)
    members = [groups == group for group in range(30)]
    aucs = [sklearn_metrics.roc_auc_score(labels[own], scores[own], sample_weight=weights[own]) for own in members]
    expected = np.average(aucs, weights=[weights[own].sum() for own in members])
    assert grouped_auc(labels, scores, groups, weights) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", [normalized_entropy, calibration_ratio])
def test_probability_metrics_are_nan_where_the_rows_do_not_define_them(metric):
    assert np.isnan(metric(np.zeros(3), np.full(3, 0.5)))
    assert np.isnan(metric(np.empty(0), np.empty(0)))
    assert np.isnan(metric(np.array([0.0, 1.0]), np.array([0.5, np.nan])))


@pytest.mark.parametrize("metric", BY_LABEL)
def test_rows_of_no_weight_define_nothing(metric):
    labels, scores, _ = draw(6)
    assert np.isnan(metric(labels, scores, np.zeros(1500)))


def test_task_scores_are_measured_under_many_weights():
    labels, scores, weights = draw(7)
    labels[::7] = np.nan
    groups = np.random.default_rng(0).integers(-1, 30, 1500)
    classes = label_classes(labels[:, np.newaxis], ["finish"], ["finish"])
    measured = TaskScores(labels, classes, class_order(1), scores, groups)
    for own in (weights, np.ones(1500), weights[::-1]):
        values = measured.measure(own.astype(np.float64))
        assert values["auc"] == pytest.approx(auc(labels, scores, own), abs=1e-12)
        assert values["multi_auc"] == pytest.approx(values["auc"], abs=1e-12)
        assert values["gauc"] == pytest.approx(grouped_auc(labels, scores, groups, own), abs=1e-12)
        assert values["ece"] == pytest.approx(expected_calibration_error(labels, scores, own), abs=1e-6)
