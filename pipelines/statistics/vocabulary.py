"""Vocabularies: counting values, choosing those that get an id, and looking ids up."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.checking.columns import Texts, is_empty
from pipelines.fingerprint import fingerprint64
from tf_crossdistil.config import CategoricalFeature

# Counted values kept apart before they are added up: enough to make adding rare, little enough to bound memory.
_PENDING_VALUES = 2_000_000
_NO_VALUES = pa.table({"value": pa.array([], pa.string()), "count": pa.array([], pa.int64())})


class ValueCounts:
    """How often each text occurs. `table` is a `pa.Table` of `value` and `count`."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._pending = 0
        self._limit = _PENDING_VALUES

    def add(self, texts: Texts, rows: NDArray[np.bool_]) -> None:
        """Counts the chosen rows `[rows]` of a column."""
        counts = np.bincount(texts.codes[rows], minlength=len(texts.values))
        seen = np.flatnonzero(counts)
        self._append(pa.table({"value": texts.values.take(pa.array(seen)), "count": counts[seen]}))

    def merge(self, other: "ValueCounts") -> None:
        """Adds what another has counted."""
        self._append(other.table())

    def table(self) -> Any:
        """Every value once."""
        merged = pa.concat_tables(self._parts or [_NO_VALUES]).group_by("value").aggregate([("count", "sum")])
        table = merged.select(["value", "count_sum"]).rename_columns(["value", "count"]).combine_chunks()
        self._parts, self._pending = [table], 0
        self._limit = max(_PENDING_VALUES, len(table))
        return table

    def vocabulary(self, feature: CategoricalFeature) -> Any:
        """The values that get an id, the most frequent first and equals by their bytes: a `pa.StringArray`."""
        table = self.table()
        # A vocabulary file holds one value a line, and the empty value has the id of what is missing.
        storable = pc.invert(pc.or_(pc.match_substring_regex(table["value"], r"[\n\r]"), pc.equal(table["value"], "")))
        table = table.filter(pc.and_(storable, pc.greater_equal(table["count"], feature.min_count)))
        order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("value", "ascending")])
        return table["value"].take(order[: feature.max_size]).combine_chunks()

    def _append(self, table: Any) -> None:
        self._parts.append(table)
        self._pending += len(table)
        if self._pending > self._limit:
            self.table()


class Lookup:
    """Ids of a categorical feature: 0 is missing, then the vocabulary, then `oov_buckets` ids for every other value."""

    def __init__(self, values: Any, oov_buckets: int) -> None:
        """Takes a vocabulary as `pa.StringArray`; its value n (from 0) has id n + 1."""
        fingerprints = fingerprint64(values)
        self._order = np.argsort(fingerprints, kind="stable")
        self._sorted = fingerprints[self._order]
        self._values = values
        self._oov_buckets = np.uint64(oov_buckets)

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

    def _candidates(
        self, rows: NDArray[np.int64], positions: NDArray[np.int64], fingerprints: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        rows = rows[positions[rows] < len(self._sorted)]
        return rows[self._sorted[positions[rows]] == fingerprints[rows]]


def vocabulary_bytes(values: Any) -> bytes:
    """The content of a vocabulary file: one value a line."""
    lines = pc.binary_join(pa.ListArray.from_arrays([0, len(values)], values), "\n")[0]
    return lines.as_buffer().to_pybytes() + b"\n" if len(values) else b""


def parse_vocabulary(content: bytes) -> Any:
    """The values of a vocabulary file, a `pa.StringArray`."""
    return pc.split_pattern(pa.scalar(content, pa.string()), "\n").values[:-1]
