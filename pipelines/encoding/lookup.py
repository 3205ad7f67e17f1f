# SPDX-License-Identifier: Apache-2.0
"""Looking ids up in a vocabulary."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.checking.columns import is_empty
from pipelines.fingerprint import fingerprint64


def id_count(size: int, oov_buckets: int) -> int:
    """How many ids a vocabulary of `size` values makes: missing, the values, and the buckets for others."""
    return 1 + size + oov_buckets


class Lookup:
    """Ids of values: 0 is missing, then the vocabulary, then `oov_buckets` ids for every other value."""

    def __init__(self, values: Any, oov_buckets: int) -> None:
        """Takes a vocabulary as `pa.StringArray`; its value n (from 0) has id n + 1."""
        fingerprints = fingerprint64(values)
        self._order = np.argsort(fingerprints, kind="stable").astype(np.int32)
        self._sorted = fingerprints[self._order]
        self._values = values
        self._oov_buckets = np.uint64(oov_buckets)
        self.ids_made = id_count(len(values), oov_buckets)

    def ids(self, texts: Any) -> NDArray[np.int64]:
        """The ids `[n]` of a `pa.StringArray` `[n]` of canonical text."""
        fingerprints = fingerprint64(texts)
        result = (fingerprints % self._oov_buckets).astype(np.int64) + len(self._values) + 1
        positions = np.searchsorted(self._sorted, fingerprints)
        rows = np.arange(len(texts))
        while len(rows := self._candidates(rows, positions, fingerprints)):
            candidates = self._order[positions[rows]]
            equal = pc.equal(texts.take(pa.array(rows)), self._values.take(pa.array(candidates))).to_numpy(zero_copy_only=False)
            result[rows[equal]] = candidates[equal] + 1
            # Two texts may share a fingerprint; the next candidate has the same one or ends the search.
            rows = rows[~equal]
            positions[rows] += 1
        result[is_empty(texts)] = 0
        return result

    def is_outside(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which ids stand for values that the vocabulary does not have."""
        return ids > len(self._values)

    def _candidates(
        self, rows: NDArray[np.int64], positions: NDArray[np.int64], fingerprints: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        rows = rows[positions[rows] < len(self._sorted)]
        return rows[self._sorted[positions[rows]] == fingerprints[rows]]
