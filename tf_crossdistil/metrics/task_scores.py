# SPDX-License-Identifier: Apache-2.0
"""Every metric of one score for one task, under any weights of the rows."""

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.metrics.exact import (
    POSITIVE_ABOVE_NEGATIVE,
    bins_of_ascending,
    calibration_error,
    entropy,
    row_losses,
)
from tf_crossdistil.metrics.ranked_rows import Array, Floats, GroupedRows, RankedRows, weighted_mean, win_rate


class TaskScores:
    """One task's probabilities beside its labels: sorted once, so that the weights of many resamples are measured quickly.

    Args:
        labels: 0, 1 or NaN, `[rows]`; rows with NaN are left out.
        classes: of Multi-AUC, from 0, `[rows]`; rows of a class share the label.
        above: which class ranks above which, `[classes, classes]`.
        probabilities: in [0, 1], `[rows]`.
        groups: of GAUC, `[rows]`, negative where unknown; None for no GAUC.
    """

    def __init__(
        self, labels: Array, classes: Array, above: NDArray[np.bool_], probabilities: Array, groups: Array | None = None
    ):
        labelled = np.flatnonzero(~np.isnan(labels))
        labels, probabilities, classes = labels[labelled], probabilities[labelled], classes[labelled]
        self.rows = labelled.size
        self._above = above
        self._label_of_class = np.zeros(len(above), np.int64)
        self._label_of_class[classes] = labels
        self._ranked = RankedRows(classes, probabilities, above)
        order = self._ranked.order
        self._grouped = None if groups is None else GroupedRows(labels, probabilities, groups[labelled], order)
        self._given = labelled
        self._labels = labels[order].astype(np.float64)
        self._probabilities = probabilities[order].astype(np.float64)
        self._losses = row_losses(self._labels, self._probabilities)

    def measure(self, weights: Floats) -> dict[str, float]:
        """The metrics of `tf_crossdistil.metrics.exact` by name, NaN where undefined.

        Args:
            weights: of all rows as they were given, `[rows]`.
        """
        weights = weights[self._given]
        ascending = weights[self._ranked.order]
        positives = (self._labels * ascending).sum()
        loss = weighted_mean(self._losses, ascending)
        measured = {
            **self._ranking(weights),
            "log_loss": loss,
            "normalized_entropy": loss / entropy(weighted_mean(self._labels, ascending)),
            "ece": calibration_error(bins_of_ascending(self._labels, self._probabilities, ascending)),
            "calibration_ratio": (self._probabilities * ascending).sum() / positives if positives else float("nan"),
            "gauc": float("nan") if self._grouped is None else self._grouped.auc(weights),
        }
        return {name: float(value) for name, value in measured.items()}

    def _ranking(self, weights: Floats) -> dict[str, float]:
        if not self._ranked.is_valid:
            return {"auc": float("nan"), "multi_auc": float("nan")}
        wins, totals = self._ranked.wins(weights)
        # The AUC sees classes by their own label only, and wins of classes add up.
        by_label = np.eye(2)[self._label_of_class]
        auc = win_rate(by_label.T @ wins @ by_label, totals @ by_label, POSITIVE_ABOVE_NEGATIVE)
        # The order among rows of one label alone says nothing of the task.
        multi_auc = float("nan") if np.isnan(auc) else win_rate(wins, totals, self._above)
        return {"auc": auc, "multi_auc": multi_auc}
