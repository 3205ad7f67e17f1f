# SPDX-License-Identifier: Apache-2.0
"""What one feature looks like over a stream of rows, in memory that does not grow with the rows."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.skew.sample import UniformSample


class Distribution(ABC):
    """A feature over `rows` rows, `missing` of which have no value.

    `independent` rows are fewer than `rows` where the rows of one request share a value: they then count as one.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.missing = 0
        self.independent = 0

    def add(self, values: NDArray[Any], missing: NDArray[np.bool_], requests: NDArray[np.int64] | None = None) -> None:
        """Rows that come next.

        Args:
            values: `[rows]`, or `[rows, n]` of ids for lists, padded with 0.
            missing: `[rows]`, which have no value.
            requests: the first row of each request, ascending from 0; default every row is one of its own.
        """
        self.rows += len(values)
        self.missing += int(missing.sum())
        self.independent += len(values) if requests is None else _independent_rows(values, missing, requests)
        self._add_present(values[~missing])

    @abstractmethod
    def _add_present(self, values: NDArray[Any]) -> None:
        """Rows that have a value."""

    @abstractmethod
    def set_missing(self, stand_in: Any, missing: int) -> None:
        """Says that so many of the rows with the value `stand_in` have none: records do not tell the two apart."""


class Ids(Distribution):
    """Rows by id, `counts` `[ids]`."""

    def __init__(self, ids: int) -> None:
        super().__init__()
        self.counts = np.zeros(ids)

    @property
    def times(self) -> NDArray[np.floating]:
        """How often each id occurred, `[ids]`."""
        return self.counts

    def once(self, end: int) -> float:
        """Share of rows with an id below `end` that occurred once: about that of unseen rows with a new one (Good, 1953)."""
        return float(self.counts[:end][self.times[:end] == 1].sum() / self.rows)

    def _add_present(self, values: NDArray[np.int64]) -> None:
        np.add.at(self.counts, values, 1.0)

    def set_missing(self, stand_in: int, missing: int) -> None:
        """Takes the rows without a value out of the bucket that they share with others."""
        self.missing = min(missing, int(self.counts[stand_in]))
        self.counts[stand_in] -= self.missing


class IdLists(Ids):
    """Rows by id, of which a row with n values gives 1/n to each, and rows by the number of values, `lengths` `[longest + 1]`.

    `values` `[ids]` counts every value as one.
    """

    def __init__(self, ids: int, longest: int) -> None:
        super().__init__(ids)
        self.values = np.zeros(ids)
        self.lengths = np.zeros(longest + 1)

    def _add_present(self, values: NDArray[np.int64]) -> None:
        is_value = values > 0
        lengths = is_value.sum(axis=1)
        np.add.at(self.lengths, lengths, 1.0)
        np.add.at(self.values, values[is_value], 1.0)
        np.add.at(self.counts, values[is_value], np.repeat(1.0 / lengths, lengths))

    @property
    def times(self) -> NDArray[np.floating]:
        """How often each id occurred, `[ids]`."""
        return self.values

    @property
    def mean_length(self) -> float:
        """Values a row, over all rows."""
        return float(self.values.sum() / self.rows)


class Numbers(Distribution):
    """A sample of the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._sample = UniformSample()
        self._taken_out = (np.float32(0), 0)

    def _add_present(self, values: NDArray[np.float32]) -> None:
        self._sample.add(values)

    def set_missing(self, stand_in: float, missing: int) -> None:
        """Takes the rows without a value, which records hold as the default, out of the sample."""
        self._taken_out = (np.float32(stand_in), missing)
        self.missing = missing

    def sorted(self) -> NDArray[np.float32]:
        """The sampled numbers in ascending order."""
        numbers = self._sample.sorted()
        stand_in, missing = self._taken_out
        first, end = np.searchsorted(numbers, stand_in, "left"), np.searchsorted(numbers, stand_in, "right")
        count = min(int(end - first), round(missing * len(numbers) / self.rows))
        return np.delete(numbers, slice(first, first + count))


def _independent_rows(values: NDArray[Any], missing: NDArray[np.bool_], requests: NDArray[np.int64]) -> int:
    """Rows, with those of a request that all have the same value as one."""
    sizes = np.diff(requests, append=len(values))
    first = np.repeat(requests, sizes)
    same = np.reshape(values == values[first], (len(values), -1)).all(axis=1)
    is_constant = np.logical_and.reduceat((missing & missing[first]) | (~missing & ~missing[first] & same), requests)
    return int(np.where(is_constant, 1, sizes).sum())
