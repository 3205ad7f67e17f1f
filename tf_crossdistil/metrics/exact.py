"""Exact metrics of one task over all rows of a split, on NumPy arrays.

Labels are 0 or 1, `[rows]`. A metric that the rows do not define (a class is absent, a score is not a number) is NaN.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# The clipping of Keras: beyond it a float32 probability cannot be told from 1.
EPSILON = 1e-7


def auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve: `P(s+ > s-) + P(s+ = s-) / 2` over all pairs of a positive and a negative row.

    Args:
        labels: 0 or 1, `[rows]`.
        scores: higher ranks above, `[rows]`.

    Returns:
        The area; NaN where a class is absent or a score is NaN.
    """
    return multi_auc(labels, scores)


def multi_auc(classes: Array, scores: Array) -> float:
    """How well one score keeps a multipartite order: the mean AUC of the pairs of classes, weighted by their rows.

        sum_{i > j} (n_i + n_j) AUC(i above j) / sum_{i > j} (n_i + n_j)

    over the pairs of classes that have rows. This is Eq. 12 of Yang et al., AAAI 2022, divided by its largest value.
    With two classes it is the AUC.

    Args:
        classes: `[rows]`, the higher ranks above, such as `multipartite_classes(...)[tag_codes(labels)]`.
        scores: higher ranks above, `[rows]`.

    Returns:
        A number in [0, 1]; NaN with fewer than two classes or where a score is NaN.
    """
    if np.isnan(scores).any():
        return float("nan")
    sorted_scores = [np.sort(scores[classes == value]) for value in np.unique(classes)]
    pairs = list(combinations(sorted_scores, 2))
    return _weighted_mean(
        np.array([_win_rate(above, below) for below, above in pairs]),
        np.array([below.size + above.size for below, above in pairs]),
    )


def _win_rate(above: Array, below: Array) -> float:
    """`P(a > b) + P(a = b) / 2` of two sorted arrays; the search goes from the shorter into the longer."""
    if above.size > below.size:
        return 1 - _win_rate(below, above)
    wins = np.searchsorted(below, above, "left").sum() + np.searchsorted(below, above, "right").sum()
    return float(wins) / (2 * above.size * below.size)


def _weighted_mean(values: Array, weights: Array) -> float:
    return float(np.average(values, weights=weights)) if values.size else float("nan")


def grouped_auc(labels: Array, scores: Array, groups: Array) -> float:
    """GAUC: the mean of the AUC within each group, weighted by the group's rows (Zhou et al., KDD 2018, Eq. 9).

    Args:
        labels: 0 or 1, `[rows]`.
        scores: higher ranks above, `[rows]`.
        groups: integers, usually the user's id, `[rows]`; rows of a negative group belong to none and are left out.

    Returns:
        The mean over the groups that have both labels; NaN where none has or a score is NaN.
    """
    if np.isnan(scores).any():
        return float("nan")
    known = groups >= 0
    groups, scores, positive = groups[known], scores[known], labels[known] == 1
    order = np.lexsort((scores, groups))
    groups, scores, positive = groups[order], scores[order], positive[order]
    new_group = np.diff(groups, prepend=-1) != 0
    group = np.cumsum(new_group) - 1
    rows = np.bincount(group)
    positives = np.bincount(group, weights=positive)
    # Equal scores of a group share the mean of their ranks; the sum of the positives' ranks gives the AUC (Mann-Whitney).
    new_tie = new_group.copy()
    new_tie[1:] |= scores[1:] != scores[:-1]
    tie_rows = np.diff(np.flatnonzero(new_tie), append=groups.size)
    rank_in_all = np.repeat(np.flatnonzero(new_tie) + (tie_rows + 1) / 2, tie_rows)
    rank_in_group = rank_in_all - np.flatnonzero(new_group)[group]
    rank_sums = np.bincount(group, weights=rank_in_group * positive)
    both = (positives > 0) & (positives < rows)
    pairs = positives * (rows - positives)
    aucs = (rank_sums - positives * (positives + 1) / 2)[both] / pairs[both]
    return _weighted_mean(aucs, rows[both])


def log_loss(labels: Array, probabilities: Array) -> float:
    """Mean negative log likelihood `-mean(y ln p + (1 - y) ln(1 - p))` in nats, p clipped to [1e-7, 1 - 1e-7].

    Args:
        labels: 0 or 1, `[rows]`.
        probabilities: in [0, 1], `[rows]`.

    Returns:
        The loss; NaN without rows or where a probability is NaN.
    """
    if not labels.size:
        return float("nan")
    clipped = np.clip(probabilities.astype(np.float64), EPSILON, 1 - EPSILON)
    return float(-np.log(np.where(labels == 1, clipped, 1 - clipped)).mean())


@dataclass(frozen=True)
class CalibrationBins:
    """Rows in bins of ascending probability; empty bins are left out.

    Attributes:
        rows: how many rows, `[bins]`.
        predicted: their mean probability, `[bins]`.
        observed: their share of positives, `[bins]`.
    """

    rows: NDArray[np.int64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]


def calibration_bins(labels: Array, probabilities: Array, bins: int = 20) -> CalibrationBins:
    """Bins of equal mass: their edges are quantiles of the probabilities, and equal probabilities share a bin.

    Bins of equal width would hold nearly all rows of a rare label in the first one.
    """
    ascending = np.sort(probabilities)
    edges = ascending[np.arange(1, bins) * ascending.size // bins] if ascending.size else ascending
    index = np.searchsorted(edges, probabilities, "right")
    rows = np.bincount(index, minlength=bins)
    predicted = np.bincount(index, weights=probabilities, minlength=bins)
    observed = np.bincount(index, weights=labels, minlength=bins)
    filled = rows > 0
    return CalibrationBins(rows[filled], predicted[filled] / rows[filled], observed[filled] / rows[filled])


def expected_calibration_error(labels: Array, probabilities: Array, bins: int = 20) -> float:
    """ECE over bins of equal mass: `sum_b n_b / n |mean_b(y) - mean_b(p)|` (Naeini et al., AAAI 2015; Nixon et al., 2019).

    Args:
        labels: 0 or 1, `[rows]`.
        probabilities: in [0, 1], `[rows]`.
        bins: how many bins of equal mass; fewer where probabilities are equal.

    Returns:
        The error, a difference of probabilities; NaN without rows or where a probability is NaN.
    """
    binned = calibration_bins(labels, probabilities, bins)
    return _weighted_mean(np.abs(binned.observed - binned.predicted), binned.rows)


def logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """`ln(p / (1 - p))` of probabilities of any shape, which are kept `EPSILON` away from 0 and 1."""
    clipped = np.clip(probabilities.astype(np.float64), EPSILON, 1 - EPSILON)
    return np.log(clipped) - np.log1p(-clipped)
