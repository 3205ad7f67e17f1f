# SPDX-License-Identifier: Apache-2.0
"""Rows sorted once by their scores, whose ranking metrics then follow in linear time for any weights of the rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]


class RankedRows:
    """Rows of several classes in the order of one score.

    Args:
        classes: which class each row has, from 0, `[rows]`.
        scores: higher ranks above, `[rows]`.
        above: entry `[a, b]` says that class a ranks above class b, `[classes, classes]`.

    Attributes:
        order: sorts the rows by their score, `[rows]`.
        is_valid: whether no score is NaN.
    """

    def __init__(self, classes: Array, scores: Array, above: NDArray[np.bool_]):
        self.order = np.argsort(scores)
        # Sorting puts NaN last.
        self.is_valid = not (scores.size and np.isnan(scores[self.order[-1]]))
        self._class_count = len(above)
        ascending = classes[self.order]
        self._rows = {value: self.order[ascending == value] for value in np.flatnonzero(np.bincount(classes)).tolist()}
        scores_of = {value: scores[rows] for value, rows in self._rows.items()}
        self._pairs = [
            _Pair(high, low, scores_of) for high in self._rows for low in self._rows if self.is_valid and above[high, low]
        ]

    def wins(self, weights: Floats) -> tuple[Floats, Floats]:
        """How often each class ranks above those that are below it.

        Args:
            weights: of the rows as they were given, at least 0, `[rows]`.

        Returns:
            `[classes, classes]`, entry `[a, b]` the weight of the pairs of an a and a b in which a has the higher score, half
            of those that are equal, zero where a is not above b; and the weight of each class, `[classes]`.
        """
        weights_of = {value: weights[rows] for value, rows in self._rows.items()}
        sums_of = {value: np.append(0.0, np.cumsum(own)) for value, own in weights_of.items()}
        totals, wins = np.zeros(self._class_count), np.zeros((self._class_count, self._class_count))
        for value, sums in sums_of.items():
            totals[value] = sums[-1]
        for pair in self._pairs:
            wins[pair.high, pair.low] = pair.wins(weights_of, sums_of)
        return wins, totals


class _Pair:
    """Two classes, one above the other: where the rows of the smaller stand among those of the larger."""

    def __init__(self, high: int, low: int, scores_of: dict[int, Array]):
        self.high, self.low = high, low
        self._few, self._many = sorted((high, low), key=lambda value: scores_of[value].size)
        self._below = np.searchsorted(scores_of[self._many], scores_of[self._few], "left")
        self._not_above = np.searchsorted(scores_of[self._many], scores_of[self._few], "right")

    def wins(self, weights_of: dict[int, Floats], sums_of: dict[int, Floats]) -> float:
        """The weight of the pairs of rows in which the higher class has the higher score, half of those that are equal."""
        sums = sums_of[self._many]
        wins_of_few = (weights_of[self._few] * (sums[self._below] + sums[self._not_above])).sum() / 2
        return float(wins_of_few if self._few == self.high else sums_of[self._few][-1] * sums[-1] - wins_of_few)


class GroupedRows:
    """Rows of many groups in the order of one score within each group; rows of negative groups are left out.

    Args:
        labels: 0 or 1, `[rows]`.
        scores: higher ranks above, `[rows]`.
        groups: integers, `[rows]`.
        order: sorts the rows by their score, `[rows]`.
    """

    def __init__(self, labels: Array, scores: Array, groups: Array, order: Array):
        groups = groups[order]
        rows = max(groups.size, 1)
        if groups.max(initial=0) >= np.iinfo(np.int64).max // rows - 1:
            groups = np.where(groups < 0, -1, np.unique(groups, return_inverse=True)[1])
        # One sort of numbers that hold the group and the rank takes a tenth of the time of `np.lexsort`.
        keys = np.sort((groups.astype(np.int64) * rows + np.arange(groups.size))[groups >= 0])
        groups, ranks = np.divmod(keys, rows)
        self._order = order[ranks]
        scores = scores[self._order]
        is_first = np.diff(groups, prepend=-1) != 0
        self._positive = labels[self._order] == 1
        self._group = np.cumsum(is_first) - 1
        self._first = np.flatnonzero(is_first)
        begins_tie = is_first.copy()
        begins_tie[1:] |= scores[1:] != scores[:-1]
        self._tie = np.cumsum(begins_tie) - 1
        self._first_of_tie = np.flatnonzero(begins_tie)
        self._is_valid = not np.isnan(scores).any()

    def auc(self, weights: Floats) -> float:
        """The mean AUC of the groups that have both labels, weighted by their rows; NaN where none has or a score is NaN."""
        if not self._is_valid or not self._first.size:
            return float("nan")
        weights = weights[self._order]
        negatives = np.where(self._positive, 0.0, weights)
        tied = np.add.reduceat(negatives, self._first_of_tie)
        ranks = (np.cumsum(tied) - tied / 2)[self._tie]
        totals = np.add.reduceat(weights, self._first)
        below = np.add.reduceat(negatives, self._first)
        above = np.add.reduceat(np.where(self._positive, weights, 0.0), self._first)
        # Ranks go on from group to group: what the groups before hold is taken off.
        earlier = np.cumsum(below) - below
        wins = np.add.reduceat(np.where(self._positive, weights * (ranks - earlier[self._group]), 0.0), self._first)
        both = (above > 0) & (below > 0)
        return weighted_mean(wins[both] / (above * below)[both], totals[both])


def win_rate(wins: Floats, totals: Floats, above: NDArray[np.bool_]) -> float:
    """The mean share of `wins` of the pairs of classes that `above` orders, each weighted by the rows of its two classes.

    Args:
        wins: `[classes, classes]`.
        totals: the weight of each class, `[classes]`.
        above: entry `[a, b]` says that class a ranks above class b, `[classes, classes]`.

    Returns:
        A number in [0, 1]; NaN where no such pair has rows.
    """
    pairs = above & np.outer(totals > 0, totals > 0)
    rates = wins[pairs] / np.outer(totals, totals)[pairs]
    return weighted_mean(rates, np.add.outer(totals, totals)[pairs])


def weighted_mean(values: Floats, weights: Floats) -> float:
    """`sum w x / sum w`; NaN without weight."""
    total = weights.sum()
    return float((values * weights).sum() / total) if total else float("nan")
