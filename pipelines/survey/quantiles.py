# SPDX-License-Identifier: Apache-2.0
"""Boundaries between equally filled buckets, the same in whatever order blocks are merged.

Values are counted by the top bits of their float32 pattern: sign, exponent and the first 12 bits of the fraction. So whole
numbers up to 2^13 are exact, and others are off by at most 2^-12 of themselves.
"""

import numpy as np
from numpy.typing import NDArray

_DROPPED_BITS = 11
# Counted keys kept apart before they are added up.
_PENDING_KEYS = 1_000_000


class QuantileCounts:
    """How often each rounded value occurs."""

    def __init__(self) -> None:
        self._keys: list[NDArray[np.int32]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._pending = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """Takes in finite values that fit float32."""
        bits = values.astype(np.float32).view(np.int32)
        magnitudes = (bits & 0x7FFFFFFF) >> _DROPPED_BITS
        self._append(*np.unique(np.where(bits < 0, -magnitudes, magnitudes), return_counts=True))

    def merge(self, other: "QuantileCounts") -> None:
        """Adds what another has counted."""
        self._append(*other._totals())

    def boundaries(self, buckets: int) -> list[float]:
        """The values above which the equally filled `buckets` but the first begin, ascending, each once; none without values.

        Boundary k is the value at position `k * count // buckets` of all values in order, or the second least if that is the
        least. A single value has none.
        """
        keys, counts = self._totals()
        ends = np.cumsum(counts)
        total = int(counts.sum())
        positions = [bucket * total // buckets for bucket in range(1, buckets)] if total else []
        # The least value divides nothing: where it alone fills buckets, the next one begins the bucket above them.
        found = np.maximum(np.searchsorted(ends, positions, side="right"), 1)
        chosen = keys[np.unique(found[found < len(keys)])]
        magnitudes = (np.abs(chosen) << _DROPPED_BITS).view(np.float32)
        return np.where(chosen < 0, -magnitudes, magnitudes).astype(np.float64).tolist()

    def _totals(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Every key once, ascending, and its count."""
        keys = np.concatenate([np.zeros(0, np.int32), *self._keys])
        counts = np.concatenate([np.zeros(0, np.int64), *self._counts])
        distinct, position = np.unique(keys, return_inverse=True)
        totals = np.zeros(len(distinct), np.int64)
        np.add.at(totals, position, counts)
        self._keys, self._counts, self._pending = [distinct], [totals], 0
        return distinct, totals

    def _append(self, keys: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
        self._keys.append(keys)
        self._counts.append(counts)
        self._pending += len(keys)
        if self._pending > _PENDING_KEYS:
            self._totals()
