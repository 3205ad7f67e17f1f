# SPDX-License-Identifier: Apache-2.0
"""Framed tf.Example records of one width, built column by column.

A block of rows is a matrix of bytes that starts as copies of one template and whose varying columns are filled in; the
checksum, linear over bits, is the exclusive or of one table entry a varying byte.
"""

from collections.abc import Mapping, Sequence

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from pipelines.encoding.fields import CHECKSUM_BYTES, HEADER_BYTES, Field, head, masked

# Rows filled at a time, so that the matrix stays in the processor's cache.
_CACHED_ROWS = 4096


class RecordEncoder:
    """Rows of ids and numbers to TFRecord bytes."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        body = b""
        positions = {}
        for field in fields:
            body += field.prefix()
            positions[field.name] = len(body)
            body += bytes(field.width)
        framed = head(len(body)) + body
        self._template = np.frombuffer(framed + bytes(CHECKSUM_BYTES), np.uint8)
        self._body = slice(len(framed) - len(body), len(framed))
        self._starts = {name: self._body.start + position for name, position in positions.items()}
        self._checksum = np.uint32(google_crc32c.value(framed[HEADER_BYTES:]))
        self._tables = {
            field.name: [_checksum_table(len(body) - positions[field.name] - byte - 1) for byte in range(field.width)]
            for field in fields
        }

    @property
    def record_bytes(self) -> int:
        """The size of one framed record."""
        return len(self._template)

    def encode(self, columns: Mapping[str, NDArray[np.generic]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All records behind one another, and where each ends, `[rows]`.

        Args:
            columns: `[rows]` of integers or numbers by field name.
        """
        records = self._records(columns)
        return records.reshape(-1), np.arange(1, len(records) + 1) * self.record_bytes

    def bodies(self, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
        """The fields' bytes alone, `[rows, bytes]`."""
        return self._records(columns)[:, self._body]

    def _records(self, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
        rows = len(columns[self._fields[0].name])
        result = np.empty((rows, self.record_bytes), np.uint8)
        for first in range(0, rows, _CACHED_ROWS):
            part = slice(first, first + _CACHED_ROWS)
            self._fill(result[part], {field.name: columns[field.name][part] for field in self._fields})
        return result

    def _fill(self, records: NDArray[np.uint8], columns: Mapping[str, NDArray[np.generic]]) -> None:
        records[:] = self._template
        checksum = np.full(len(records), self._checksum, np.uint32)
        for field in self._fields:
            start = self._starts[field.name]
            for byte, column in enumerate(field.columns(columns[field.name])):
                records[:, start + byte] = column
                checksum ^= self._tables[field.name][byte].take(column, mode="wrap")
        records[:, -CHECKSUM_BYTES:] = masked(checksum).astype("<u4").view(np.uint8).reshape(-1, CHECKSUM_BYTES)


def _checksum_table(bytes_after: int) -> NDArray[np.uint32]:
    """`[256]`: how a byte with so many behind it changes the checksum, against a zero byte in its place."""
    rest = bytes(bytes_after)
    zero = google_crc32c.value(b"\0" + rest)
    return np.array([google_crc32c.value(bytes([byte]) + rest) ^ zero for byte in range(256)], np.uint32)
