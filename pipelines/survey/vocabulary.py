# SPDX-License-Identifier: Apache-2.0
"""Vocabularies: counting values and choosing those that get an id."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.checking.columns import Texts
from tf_crossdistil.config import VocabularyFeature

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
        self._limit = max(_PENDING_VALUES, len(table) // 2)
        # The space that grouping took would stay with Arrow, which is some hundred megabytes with millions of values.
        pa.default_memory_pool().release_unused()
        return table

    def vocabulary(self, owner: VocabularyFeature) -> Any:
        """The values that get an id, the most frequent first and equals by their bytes: a `pa.StringArray`."""
        table = self.table()
        # A vocabulary file holds one value a line, and the empty value has the id of what is missing.
        storable = pc.invert(pc.or_(pc.match_substring_regex(table["value"], r"[\n\r]"), pc.equal(table["value"], "")))
        table = table.filter(pc.and_(storable, pc.greater_equal(table["count"], owner.min_count)))
        order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("value", "ascending")])
        return table["value"].take(order[: owner.max_size]).combine_chunks()

    def __getstate__(self) -> dict[str, Any]:
        # Workers hand on every value once, not every part that it was counted in.
        self.table()
        return self.__dict__

    def _append(self, table: Any) -> None:
        self._parts.append(table)
        self._pending += len(table)
        if self._pending > self._limit:
            self.table()


def vocabulary_bytes(values: Any) -> bytes:
    """The content of a vocabulary file: one value a line."""
    lines = pc.binary_join(pa.ListArray.from_arrays([0, len(values)], values), "\n")[0]
    return lines.as_buffer().to_pybytes() + b"\n" if len(values) else b""


def parse_vocabulary(content: bytes) -> Any:
    """The values of a vocabulary file, a `pa.StringArray`."""
    return pc.split_pattern(pa.scalar(content, pa.string()), "\n").values[:-1]
