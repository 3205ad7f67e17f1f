# SPDX-License-Identifier: Apache-2.0
"""Bins in which training and requests are compared: frequent values one by one, numbers by quantiles of training."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.skew.distributions import Distribution, IdLists, Ids, Numbers
from tf_crossdistil.skew.psi import Psi, stability_index
from tf_crossdistil.skew.unseen_rows import counts_in_unseen_rows, discounted, nearest_mixture

MISSING = "missing"
OOV = "out of vocabulary"
_MOST_VALUES = 20
_MOST_GROUPS = 10
_QUANTILE_BINS = 10
# Requests that a bin of its own is expected to have: with fewer, the index is mostly noise.
_FEWEST_EXPECTED = 5


@dataclass(frozen=True)
class Bins:
    """Shares of rows `[bins]`, `expected` by training and `observed` in requests, in bins with a label; `psi` compares them."""

    labels: list[str]
    expected: NDArray[np.floating]
    observed: NDArray[np.floating]
    psi: Psi

    @property
    def largest_change(self) -> int:
        """The bin whose share changed most; among equal ones, the first."""
        return int(np.argmax(np.abs(self.observed - self.expected)))


@dataclass(frozen=True)
class OovShares:
    """The first id out of vocabulary, and the oov rate of rows that the vocabulary was not made of, None if there are none."""

    first_id: int
    unseen: float | None


def id_bins(training: Ids, requests: Ids, oov: OovShares | None, name_ids: Callable[[list[int]], list[str]]) -> Bins:
    """Bins of the most frequent ids, of the others in groups of like frequency, of new ones, of missing values, and of the oov.

    A vocabulary leaves out more of the rows that it was not made of. So the oov share expected of requests is any between that
    of training and that of unseen rows. How many unseen rows have ids that training lacks follows from its rarest ones.
    """
    end = len(training.counts) if oov is None else oov.first_id
    groups = _by_frequency(training.counts[:end], training, requests)
    names = [*name_ids(groups.single), *groups.names_of_others("values")]
    expected, observed = groups.shares(training, training.counts[:end]), groups.shares(requests, requests.counts[:end])
    if oov is None:
        unseen = groups.shares(training, counts_in_unseen_rows(training.counts, groups.single))
        return _bins([*names, MISSING], nearest_mixture(expected, unseen, observed), observed, training, requests)
    outside = [ids.counts[end:].sum() / ids.rows for ids in (training, requests)]
    unseen_share = outside[0] if oov.unseen is None else oov.unseen * (1 - expected[-1])
    likely = float(np.clip(outside[1], *sorted([outside[0], unseen_share])))
    # Training lacks some of a vocabulary that other features share, or that was made of other rows.
    new = min(float(observed[-2]), training.once(end), float(expected.sum() - expected[-1]) - (likely - outside[0]))
    expected[:-2] = discounted(expected[:-2], groups.sizes(training.counts[:end])[:-1], new + likely - outside[0])
    expected[-2] = new
    return _bins([*names, MISSING, OOV], np.append(expected, likely), np.append(observed, outside[1]), training, requests)


def length_bins(training: IdLists, requests: IdLists) -> Bins:
    """Bins of the most frequent lengths of lists, of the others in groups of like frequency, of new and of missing ones."""
    groups = _by_frequency(training.lengths, training, requests)
    names = [*(f"length {length}" for length in groups.single), *groups.names_of_others("lengths"), MISSING]
    expected, observed = groups.shares(training, training.lengths), groups.shares(requests, requests.lengths)
    return _bins(names, expected, observed, training, requests)


def number_bins(training: Numbers, requests: Numbers) -> Bins:
    """Bins between quantiles of training, and missing values; a number that is a quantile twice has a bin of its own.

    Numbers below and above all of training have bins of their own, too.
    """
    known, found = training.sorted(), requests.sorted()
    most = int(np.clip(_smaller(training, requests) // _FEWEST_EXPECTED, 2, _QUANTILE_BINS))
    edges = _edges(known, most)
    shares = [
        np.append(
            np.bincount(np.searchsorted(edges, numbers, "left"), minlength=len(edges) + 1)
            * ((1 - side.missing / side.rows) / max(1, len(numbers))),
            side.missing / side.rows,
        )
        for numbers, side in ((known, training), (found, requests))
    ]
    bounds = [-np.inf, *edges.tolist(), np.inf]
    labels = [_range_name(low, high) for low, high in pairwise(bounds)]
    return _bins([*labels, MISSING], shares[0], shares[1], training, requests)


def _range_name(low: float, high: float) -> str:
    """A bin of one number by that number; the number just below 0 is shown as 0."""
    shown = [f"{round(number, 30) + 0.0:.6g}" for number in (low, high)]
    return shown[1] if np.nextafter(np.float32(low), np.float32(np.inf)) == np.float32(high) else " to ".join(shown)


def _edges(numbers: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Upper ends, inclusive, of all bins but the last."""
    if not len(numbers):
        return numbers
    ranks = np.ceil(np.arange(1, bins) / bins * len(numbers)).astype(np.int64) - 1
    quantiles, times = np.unique(numbers[ranks], return_counts=True)
    below = np.nextafter(np.append(quantiles[times > 1], numbers[0]), np.float32(-np.inf))
    return np.unique(np.concatenate([quantiles, below, numbers[-1:]]))


@dataclass(frozen=True)
class _Groups:
    """Positions in bins, `bin_of` `[positions]`: the most frequent in one each, `single`, `others` groups, and the new."""

    single: list[int]
    others: int
    bin_of: NDArray[np.int64]

    def names_of_others(self, of: str) -> list[str]:
        """Names of all bins but the `single` ones."""
        numbers = range(1, self.others + 1)
        groups = [f"other {of}{f', frequency group {number} of {self.others}' * (self.others > 1)}" for number in numbers]
        return [*groups, f"{of} that training lacks"]

    @property
    def _count(self) -> int:
        return len(self.single) + self.others + 1

    def shares(self, side: Distribution, counts: NDArray[np.floating]) -> NDArray[np.floating]:
        """Shares of rows in each bin, and of rows without a value."""
        rows = np.bincount(self.bin_of, counts, self._count)
        return np.append(rows, side.missing) / side.rows

    def sizes(self, counts: NDArray[np.floating]) -> NDArray[np.int64]:
        """How many positions in each bin have a count."""
        return np.bincount(self.bin_of[counts > 0], minlength=self._count)


def _by_frequency(counts: NDArray[np.floating], training: Distribution, requests: Distribution) -> _Groups:
    """Positions by their frequency in training.

    One bin for all that is not most frequent would hide that requests have one rare value only. What training lacks has a bin
    of its own, since its share there says nothing of that in new rows.
    """
    fewest = _FEWEST_EXPECTED / _smaller(training, requests) * training.rows
    order = np.argsort(-counts, kind="stable")
    single = min(_MOST_VALUES, int(np.count_nonzero(counts >= fewest)))
    rest = counts[order[single:]]
    groups = int(np.clip(rest.sum() / fewest, int(rest.any()), _MOST_GROUPS))
    bin_of = np.empty(len(counts), np.int64)
    bin_of[order[:single]] = np.arange(single)
    middles = (np.cumsum(rest) - rest / 2) / max(rest.sum(), 1)
    bin_of[order[single:]] = single + np.minimum(middles * groups, groups - 1).astype(np.int64)
    bin_of[counts == 0] = single + groups
    return _Groups(order[:single].tolist(), groups, bin_of)


def _smaller(training: Distribution, requests: Distribution) -> int:
    return min(training.independent, requests.independent)


def _bins(
    labels: list[str],
    expected: NDArray[np.floating],
    observed: NDArray[np.floating],
    training: Distribution,
    requests: Distribution,
) -> Bins:
    return Bins(labels, expected, observed, stability_index(expected, training.independent, observed, requests.independent))
