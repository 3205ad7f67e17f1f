# SPDX-License-Identifier: Apache-2.0
"""TFRecord files, and what is wrong with them: TensorFlow's reader stops at a bad record, and takes cut gzip for whole."""

from collections.abc import Iterator
from io import BufferedIOBase

import google_crc32c

_LENGTH = 8
_CHECKSUM = 4


class DamagedFileError(Exception):
    """A file that cannot be read further; the text says where it is damaged."""


def is_tfrecord(first: bytes) -> bool:
    """Whether the first bytes of a file are the length of a record and the checksum of that length."""
    return len(first) >= _LENGTH + _CHECKSUM and is_whole(first[: _LENGTH + _CHECKSUM])


def read_tfrecords(file: BufferedIOBase) -> Iterator[bytes]:
    """Records, each with its checksum behind it, which `is_whole` compares.

    Raises:
        EOFError: the file ends within a record.
        DamagedFileError: the length of a record is not what its checksum says.
    """
    number = 0
    while head := file.read(_LENGTH + _CHECKSUM):
        number += 1
        if len(head) == _LENGTH + _CHECKSUM and not is_whole(head):
            raise DamagedFileError(f"the length of record {number:,} does not match its checksum")
        size = int.from_bytes(head[:_LENGTH], "little") + _CHECKSUM
        record = file.read(size)
        if len(record) < size:
            raise EOFError
        yield record


def without_checksum(record: bytes) -> bytes:
    """What was written."""
    return record[:-_CHECKSUM]


def is_whole(record: bytes) -> bool:
    """Whether the bytes match the checksum behind them."""
    checksum = google_crc32c.value(record[:-_CHECKSUM])
    masked = (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(record[-_CHECKSUM:], "little")
