# SPDX-License-Identifier: Apache-2.0
"""Framed tf.Example records whose lists differ in length.

A record is joined from a head that its size decides, its fields of one width, and for each list the bytes ahead of so many
elements and the elements themselves. Arrow joins; nothing is done record by record but the checksum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.encoding.encode import RecordEncoder
from pipelines.encoding.fields import CHECKSUM_BYTES, HEADER_BYTES, Field, head, masked

_BYTES = pa.large_binary()


@dataclass(frozen=True)
class ListColumn:
    """Lists of ids or numbers: row r has `values[offsets[r]:offsets[r + 1]]`."""

    values: NDArray[np.generic]
    offsets: NDArray[np.int64]


class ListRecordEncoder:
    """Rows of ids, numbers and lists of either to TFRecord bytes; `fields` have one value a row, `lists` any number."""

    def __init__(self, fields: Sequence[Field], lists: Sequence[Field]) -> None:
        self._fields = RecordEncoder(fields)
        self._lists = lists

    def encode(self, columns: Mapping[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All records behind one another, and where each ends, `[rows]`.

        Args:
            columns: by field name `[rows]` of integers or numbers, or a `ListColumn`.
        """
        bodies = self._fields.bodies(columns)
        rows, width = bodies.shape
        parts = [_binary(np.ascontiguousarray(bodies), np.arange(rows + 1) * width)]
        sizes = np.full(rows, width)
        for field in self._lists:
            column = columns[field.name]
            lengths = np.diff(column.offsets)
            prefixes, prefix_sizes = _table([field.prefix(count) for count in range(lengths.max(initial=0) + 1)], lengths)
            elements = np.ascontiguousarray(field.columns(column.values).T)
            parts += [prefixes, _binary(elements, column.offsets * field.width)]
            sizes += prefix_sizes + lengths * field.width
        distinct, size_of = np.unique(sizes, return_inverse=True)
        heads, head_sizes = _table([head(int(size)) for size in distinct], size_of)
        room = pa.scalar(bytes(CHECKSUM_BYTES), _BYTES)
        joined = pc.binary_join_element_wise(heads, *parts, room, pa.scalar(b"", _BYTES))
        ends = np.cumsum(head_sizes + sizes + CHECKSUM_BYTES)
        data = np.frombuffer(joined.buffers()[2] or b"", np.uint8)[: ends[-1] if rows else 0].copy()
        _fill_checksums(data, ends)
        return data, ends


def _fill_checksums(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
    content = data.data
    starts = np.concatenate([[0], ends])[:-1] + HEADER_BYTES
    bounds = zip(starts.tolist(), (ends - CHECKSUM_BYTES).tolist(), strict=True)
    checksums = np.array([google_crc32c.value(bytes(content[start:end])) for start, end in bounds], np.uint32)
    stored = masked(checksums).astype("<u4").view(np.uint8).reshape(-1, CHECKSUM_BYTES)
    data[(ends - CHECKSUM_BYTES)[:, None] + np.arange(CHECKSUM_BYTES)] = stored


def _binary(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Any:
    """Bytes divided at `offsets` `[rows + 1]`, not copied."""
    buffers = [None, pa.py_buffer(offsets.astype(np.int64, copy=False)), pa.py_buffer(data)]
    return pa.Array.from_buffers(_BYTES, len(offsets) - 1, buffers)


def _table(entries: list[bytes], chosen: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """One entry a row, and its size."""
    sizes = np.array([len(entry) for entry in entries], np.int64)
    return pa.array(entries, _BYTES).take(pa.array(chosen)), sizes[chosen]
