"""Bins in which training and requests are compared: frequent values one by one, numbers by quantiles of training."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.skew.distributions import Distribution, IdLists, Ids, Numbers
from tf_crossdistil.skew.psi import Psi, stability_index

MISSING = "missing"
OOV = "out of vocabulary"
_MOST_VALUES = 20
_MOST_GROUPS = 10
_QUANTILE_BINS = 10
# Of the share of values that occurred once, where many more are out of vocabulary than these can explain.
_LEFT_OF_RARE = 0.25
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
    """Bins of the most frequent ids, of the others in groups of like frequency, of missing values, and of the oov.

    A vocabulary leaves out more of the rows that it was not made of. So the oov share expected of requests is any between that
    of training and that of unseen rows.
    """
    end = len(training.counts) if oov is None else oov.first_id
    groups = _by_frequency(training.counts[:end], training, requests)
    names = [*name_ids(groups.single), *groups.names_of_others("other values")]
    expected, observed = groups.shares(training, training.counts[:end]), groups.shares(requests, requests.counts[:end])
    if oov is None:
        return _bins([*names, MISSING], expected, observed, training, requests)
    outside = [ids.counts[end:].sum() / ids.rows for ids in (training, requests)]
    if oov.unseen is not None:
        shares = sorted([outside[0], oov.unseen * (1 - expected[-1])])
        likely = float(np.clip(outside[1], *shares))
        expected[:-1] = _discounted(expected[:-1], groups.sizes(training.counts[:end]), likely - outside[0])
        outside[0] = likely
    return _bins([*names, MISSING, OOV], np.append(expected, outside[0]), np.append(observed, outside[1]), training, requests)


def length_bins(training: IdLists, requests: IdLists) -> Bins:
    """Bins of the most frequent lengths of lists, of the others in groups of like frequency, and of missing lists."""
    groups = _by_frequency(training.lengths, training, requests)
    names = [*(f"length {length}" for length in groups.single), *groups.names_of_others("other lengths"), MISSING]
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
    """Positions in bins: the most frequent ones in one each, `single`, then `others` groups; `bin_of` `[positions]`."""

    single: list[int]
    others: int
    bin_of: NDArray[np.int64]

    def names_of_others(self, name: str) -> list[str]:
        if self.others == 1:
            return [name]
        return [f"{name}, frequency group {number} of {self.others}" for number in range(1, self.others + 1)]

    def shares(self, side: Distribution, counts: NDArray[np.floating]) -> NDArray[np.floating]:
        """Shares of rows in each bin, and of rows without a value."""
        rows = np.bincount(self.bin_of, counts, len(self.single) + self.others)
        return np.append(rows, side.missing) / side.rows

    def sizes(self, counts: NDArray[np.floating]) -> NDArray[np.int64]:
        """How many positions in each bin have a count."""
        return np.bincount(self.bin_of[counts > 0], minlength=len(self.single) + self.others)


def _by_frequency(counts: NDArray[np.floating], training: Distribution, requests: Distribution) -> _Groups:
    """Positions by their frequency in training.

    One bin for all that is not most frequent would hide that requests have one rare value only.
    """
    fewest = _FEWEST_EXPECTED / _smaller(training, requests) * training.rows
    order = np.argsort(-counts, kind="stable")
    single = min(_MOST_VALUES, int(np.count_nonzero(counts >= fewest)))
    rest = counts[order[single:]]
    groups = int(np.clip(rest.sum() / fewest, 1, _MOST_GROUPS))
    bin_of = np.empty(len(counts), np.int64)
    bin_of[order[:single]] = np.arange(single)
    middles = (np.cumsum(rest) - rest / 2) / max(rest.sum(), 1)
    bin_of[order[single:]] = single + np.minimum(middles * groups, groups - 1).astype(np.int64)
    return _Groups(order[:single].tolist(), groups, bin_of)


def _discounted(shares: NDArray[np.floating], sizes: NDArray[np.int64], taken: float) -> NDArray[np.floating]:
    """Shares less `taken` in all, of which every value loses as much (absolute discounting, Ney et al. 1994).

    So rare values lose most of their share, and frequent ones hardly any: those come again.
    """
    if not sizes.sum():
        return shares
    left = np.maximum(shares - taken * sizes / sizes.sum(), _LEFT_OF_RARE * shares)
    return left * ((shares.sum() - taken) / left.sum())


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
