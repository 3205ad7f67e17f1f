# SPDX-License-Identifier: Apache-2.0
"""Exact metrics of one task over all rows of a split, on NumPy arrays.

Labels are 0 or 1, `[rows]`; rows whose label is NaN are left out. `weights` are at least 0, `[rows]`, and default to 1: a row
of weight 2 counts as two rows. A metric that the rows do not define (a class is absent, a score is not a number) is NaN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.metrics.ranked_rows import Array, Floats, GroupedRows, RankedRows, weighted_mean, win_rate

# The clipping of Keras: beyond it a float32 probability cannot be told from 1.
EPSILON = 1e-7
# Class 1 ranks above class 0.
POSITIVE_ABOVE_NEGATIVE = np.array([[False, False], [True, False]])


def auc(labels: Array, scores: Array, weights: Array | None = None) -> float:
    """Area under the ROC curve: `P(s+ > s-) + P(s+ = s-) / 2` over all pairs of a positive and a negative row.

    Args:
        labels: 0, 1 or NaN, `[rows]`.
        scores: higher ranks above, `[rows]`.
        weights: a pair counts with the product of its rows' weights.

    Returns:
        The area; NaN where a class is absent or a score is NaN.
    """
    labels, scores, weights = labelled_rows(labels, scores, weights)
    return multi_auc(labels.astype(np.int64), scores, POSITIVE_ABOVE_NEGATIVE, weights)


def multi_auc(classes: Array, scores: Array, above: NDArray[np.bool_], weights: Array | None = None) -> float:
    """How well one score keeps a multipartite order: the mean AUC of the pairs of classes, weighted by their rows.

        sum_{i above j} (n_i + n_j) AUC(i above j) / sum_{i above j} (n_i + n_j)

    over the ordered pairs of classes that have rows, n being sums of weights. This is Eq. 12 of Yang et al., AAAI 2022, divided
    by its largest value. With two classes it is the AUC.

    Args:
        classes: from 0, `[rows]`, such as `label_classes(...)`.
        scores: higher ranks above, `[rows]`.
        above: entry `[a, b]` says that class a ranks above class b, `[classes, classes]`, such as `class_order(...)`; classes
            that it does not order make no pair.
        weights: a pair counts with the product of its rows' weights.

    Returns:
        A number in [0, 1]; NaN where no ordered pair of classes has rows or a score is NaN.
    """
    ordered = np.any(above | above.T, axis=0)[classes]
    ranked = RankedRows(classes[ordered], scores[ordered], above)
    if not ranked.is_valid:
        return float("nan")
    return win_rate(*ranked.wins(_or_ones(weights, scores)[ordered]), above)


def grouped_auc(labels: Array, scores: Array, groups: Array, weights: Array | None = None) -> float:
    """GAUC: the mean of the AUC within each group, weighted by the group's rows (Zhou et al., KDD 2018, Eq. 9).

    Args:
        labels: 0, 1 or NaN, `[rows]`.
        scores: higher ranks above, `[rows]`.
        groups: integers, usually the user's id, `[rows]`; rows of a negative group belong to none and are left out.
        weights: a group counts with the sum of its rows' weights.

    Returns:
        The mean over the groups that have both labels; NaN where none has or a score is NaN.
    """
    labelled = ~np.isnan(labels)
    labels, scores, groups, weights = labels[labelled], scores[labelled], groups[labelled], _or_ones(weights, scores)[labelled]
    return GroupedRows(labels, scores, groups, np.argsort(scores)).auc(weights)


def log_loss(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """Mean negative log likelihood `-mean(y ln p + (1 - y) ln(1 - p))` in nats, p clipped to [1e-7, 1 - 1e-7].

    Args:
        labels: 0, 1 or NaN, `[rows]`.
        probabilities: in [0, 1], `[rows]`.
        weights: of the mean.

    Returns:
        The loss; NaN without rows or where a probability is NaN.
    """
    labels, probabilities, weights = labelled_rows(labels, probabilities, weights)
    return weighted_mean(row_losses(labels, probabilities), weights)


def normalized_entropy(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """Log loss over the entropy of the share of positives, which is the loss of always predicting it (He et al., ADKDD 2014).

    Args:
        labels: 0, 1 or NaN, `[rows]`.
        probabilities: in [0, 1], `[rows]`.
        weights: of both means.

    Returns:
        At least 0, below 1 for a model that knows more than the share; NaN where a class is absent or a probability is NaN.
    """
    labels, probabilities, weights = labelled_rows(labels, probabilities, weights)
    return log_loss(labels, probabilities, weights) / entropy(weighted_mean(labels, weights))


def calibration_ratio(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """`sum p / sum y`: above 1 where the model predicts too much, below 1 where too little.

    Args:
        labels: 0, 1 or NaN, `[rows]`.
        probabilities: in [0, 1], `[rows]`.
        weights: of both sums.

    Returns:
        The ratio; NaN without positives or where a probability is NaN.
    """
    labels, probabilities, weights = labelled_rows(labels, probabilities, weights)
    positives = (labels * weights).sum()
    return float((probabilities * weights).sum() / positives) if positives else float("nan")


@dataclass(frozen=True)
class CalibrationBins:
    """Rows in bins of ascending probability; empty bins are left out.

    Attributes:
        weights: the sum of their weights, `[bins]`.
        rows: how many rows of equal weight tell as much, `(sum w)^2 / sum w^2` (Kish, 1965), `[bins]`.
        predicted: their mean probability, `[bins]`.
        observed: their share of positives, `[bins]`.
    """

    weights: Floats
    rows: Floats
    predicted: Floats
    observed: Floats


def calibration_bins(labels: Array, probabilities: Array, weights: Array | None = None, bins: int = 20) -> CalibrationBins:
    """Bins of equal mass: their edges are quantiles of the probabilities, and equal probabilities share a bin.

    Bins of equal width would hold nearly all rows of a rare label in the first one.

    Args:
        labels: 0, 1 or NaN, `[rows]`.
        probabilities: in [0, 1], `[rows]`.
        weights: their sum is the mass.
        bins: how many; fewer where probabilities are equal.
    """
    labels, probabilities, weights = labelled_rows(labels, probabilities, weights)
    order = np.argsort(probabilities)
    return bins_of_ascending(labels[order], probabilities[order], weights[order], bins)


def bins_of_ascending(labels: Array, probabilities: Array, weights: Floats, bins: int = 20) -> CalibrationBins:
    """`calibration_bins` of rows that all have a label and are in the order of their probability, all `[rows]`."""
    mass = np.cumsum(weights)
    if not mass.size or not mass[-1] > 0:
        return CalibrationBins(*[np.empty(0)] * 4)
    quantiles = np.searchsorted(mass, np.arange(1, bins) * mass[-1] / bins, "right")
    edges = probabilities[np.minimum(quantiles, mass.size - 1)]
    starts = np.unique(np.append(0, np.searchsorted(probabilities, edges, "left")))
    total, square, predicted, observed = (
        np.add.reduceat(values, starts) for values in (weights, weights * weights, weights * probabilities, weights * labels)
    )
    filled = total > 0
    total, square, predicted, observed = total[filled], square[filled], predicted[filled], observed[filled]
    return CalibrationBins(total, total**2 / square, predicted / total, observed / total)


def calibration_error(bins: CalibrationBins) -> float:
    """ECE: `sum_b n_b / n |mean_b(y) - mean_b(p)|` (Naeini et al., AAAI 2015); NaN without rows.

    Over bins of equal mass as Nixon et al., 2019, have them.
    """
    return weighted_mean(np.abs(bins.observed - bins.predicted), bins.weights)


def row_losses(labels: Array, probabilities: Array) -> Floats:
    """The log loss of each row in nats, `[rows]`."""
    clipped = np.clip(probabilities.astype(np.float64), EPSILON, 1 - EPSILON)
    return -np.log(np.where(labels == 1, clipped, 1 - clipped))


def entropy(share: float) -> float:
    """The entropy of a label with this share of positives, in nats; NaN for 0 and 1, which leave nothing to predict."""
    return float(-share * np.log(share) - (1 - share) * np.log1p(-share)) if 0 < share < 1 else float("nan")


def logit(probabilities: NDArray[np.floating]) -> Floats:
    """`ln(p / (1 - p))` of probabilities of any shape, which are kept `EPSILON` away from 0 and 1."""
    clipped = np.clip(probabilities.astype(np.float64), EPSILON, 1 - EPSILON)
    return np.log(clipped) - np.log1p(-clipped)


def labelled_rows(labels: Array, scores: Array, weights: Array | None) -> tuple[Array, Array, Floats]:
    """Labels, scores and weights, by default 1, of the rows that have a label, each `[rows]`."""
    weights = _or_ones(weights, scores)
    missing = np.isnan(labels)
    if not missing.any():
        return labels, scores, weights
    return labels[~missing], scores[~missing], weights[~missing]


def _or_ones(weights: Array | None, scores: Array) -> Floats:
    return np.ones(scores.size) if weights is None else weights.astype(np.float64)
