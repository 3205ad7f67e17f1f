"""Framed tf.Example records, built column by column.

Within one encoder every record has the same width: a field's ids are varints padded to the width of its largest id, which
every Protocol Buffers parser reads. A block of rows is then a matrix of bytes that starts as copies of one template and
whose varying columns are filled in; the checksum, linear over bits, is the exclusive or of one table entry a varying byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 12
_CHECKSUM_BYTES = 4
_MASK_DELTA = 0xA282EAD8
# Rows filled at a time, so that the matrix stays in the processor's cache.
_CACHED_ROWS = 4096


@dataclass(frozen=True)
class Field:
    """One value of a record. `largest` is the greatest id of an `int64` field; negative ids need `largest=-1`."""

    name: str
    kind: Literal["int64", "float"]
    largest: int = 0

    @property
    def width(self) -> int:
        """How many bytes the value takes."""
        if self.kind == "float":
            return 4
        return max(1, -(-(self.largest % 2**64).bit_length() // 7))

    def prefix(self) -> bytes:
        """The bytes ahead of the value: map entry, key, feature and list headers, as `example.proto` numbers them."""
        packed = _varint(0x0A) + _varint(self.width)
        values = _varint(0x1A if self.kind == "int64" else 0x12) + _varint(len(packed) + self.width) + packed
        key = _delimited(0x0A, self.name.encode())
        feature = _varint(0x12) + _varint(len(values) + self.width) + values
        return _varint(0x0A) + _varint(len(key) + len(feature) + self.width) + key + feature

    def columns(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """The values' bytes `[width, rows]`."""
        if self.kind == "float":
            return np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(-1, 4).T
        rest = values.astype(np.uint64)
        result = np.empty((self.width, len(values)), np.uint8)
        for position in range(self.width):
            more = 0x80 if position < self.width - 1 else 0
            result[position] = (rest & np.uint64(0x7F)).astype(np.uint8) | np.uint8(more)
            rest >>= np.uint64(7)
        return result


class RecordEncoder:
    """Rows of ids and numbers to TFRecord bytes."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        body = b""
        self._positions: dict[str, int] = {}
        for field in fields:
            body += field.prefix()
            self._positions[field.name] = len(body)
            body += bytes(field.width)
        features = _varint(0x0A) + _varint(len(body))
        self._shift = _HEADER_BYTES + len(features)
        example = features + body
        length = len(example).to_bytes(8, "little")
        header = length + int(_masked(np.array([google_crc32c.value(length)], np.uint32))[0]).to_bytes(4, "little")
        self._template = np.frombuffer(header + example + bytes(_CHECKSUM_BYTES), np.uint8)
        self._checksum = np.uint32(google_crc32c.value(example))
        self._tables = {
            field.name: [_checksum_table(len(body) - self._positions[field.name] - byte - 1) for byte in range(field.width)]
            for field in fields
        }

    @property
    def record_bytes(self) -> int:
        """The size of one framed record."""
        return len(self._template)

    def encode(self, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
        """The records `[rows, record_bytes]` of `columns`, each `[rows]` of integers or numbers by field name."""
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
            start = self._shift + self._positions[field.name]
            for byte, column in enumerate(field.columns(columns[field.name])):
                records[:, start + byte] = column
                checksum ^= self._tables[field.name][byte].take(column, mode="wrap")
        records[:, -_CHECKSUM_BYTES:] = _masked(checksum).astype("<u4").view(np.uint8).reshape(-1, _CHECKSUM_BYTES)


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])


def _delimited(key: int, content: bytes) -> bytes:
    return _varint(key) + _varint(len(content)) + content


def _masked(checksum: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """What a TFRecord stores in place of a checksum, so that checksums of stored checksums stay sound."""
    return (checksum >> np.uint32(15) | checksum << np.uint32(17)) + np.uint32(_MASK_DELTA)


def _checksum_table(bytes_after: int) -> NDArray[np.uint32]:
    """`[256]`: how a byte with so many behind it changes the checksum, against a zero byte in its place."""
    rest = bytes(bytes_after)
    zero = google_crc32c.value(b"\0" + rest)
    return np.array([google_crc32c.value(bytes([byte]) + rest) ^ zero for byte in range(256)], np.uint32)
