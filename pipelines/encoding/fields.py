# SPDX-License-Identifier: Apache-2.0
"""Fields of a tf.Example on the wire, as `example.proto` numbers them.

An id is a varint padded to the width of its field's largest id, which every Protocol Buffers parser reads. So a field's
bytes have the same length in all records, but for lists, where it follows from the number of elements.
"""

from dataclasses import dataclass
from typing import Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

LENGTH_BYTES = 8
CHECKSUM_BYTES = 4
HEADER_BYTES = LENGTH_BYTES + CHECKSUM_BYTES
_MASK_DELTA = 0xA282EAD8


@dataclass(frozen=True)
class Field:
    """A field of a record. `largest` is the greatest id of an `int64` field; negative ids need `largest=-1`."""

    name: str
    kind: Literal["int64", "float"]
    largest: int = 0

    @property
    def width(self) -> int:
        """How many bytes one value takes."""
        if self.kind == "float":
            return 4
        return max(1, -(-(self.largest % 2**64).bit_length() // 7))

    def prefix(self, values: int = 1) -> bytes:
        """The bytes ahead of so many values: map entry, key, feature and list headers."""
        size = values * self.width
        packed = varint(0x0A) + varint(size)
        content = varint(0x1A if self.kind == "int64" else 0x12) + varint(len(packed) + size) + packed
        key = varint(0x0A) + varint(len(self.name.encode())) + self.name.encode()
        feature = varint(0x12) + varint(len(content) + size) + content
        return varint(0x0A) + varint(len(key) + len(feature) + size) + key + feature

    def columns(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """The values' bytes `[width, values]`."""
        if self.kind == "float":
            return np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(-1, 4).T
        width = self.width
        # Five bytes hold more than 32 bits.
        rest: NDArray[np.unsignedinteger] = values.astype(np.uint32 if width < 5 else np.uint64)
        result = np.empty((width, len(values)), np.uint8)
        for position in range(width):
            # The cast keeps the lowest eight bits.
            result[position] = rest.astype(np.uint8) & 0x7F | (0x80 if position < width - 1 else 0)
            rest >>= 7
        return result


def varint(value: int) -> bytes:
    """A number as Protocol Buffers write it."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])


def head(body: int) -> bytes:
    """What stands ahead of `body` bytes of fields: the TFRecord's length and checksum, and the header of the features."""
    features = varint(0x0A) + varint(body)
    length = (len(features) + body).to_bytes(LENGTH_BYTES, "little")
    return length + masked(np.array([google_crc32c.value(length)], np.uint32)).astype("<u4").tobytes() + features


def masked(checksum: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """What a TFRecord stores in place of a checksum, so that checksums of stored checksums stay sound."""
    return (checksum >> np.uint32(15) | checksum << np.uint32(17)) + np.uint32(_MASK_DELTA)
