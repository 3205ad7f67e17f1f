# SPDX-License-Identifier: Apache-2.0
"""Fingerprint64 of FarmHash, the hash behind `tf.strings.to_hash_bucket_fast`, over whole columns of text.

The arithmetic is modulo 2^64, which is what NumPy's uint64 arrays do.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]
Offsets = NDArray[np.int64]

K0 = np.uint64(0xC3A5C85C97CB3127)
K1 = np.uint64(0xB492B66FBE98F273)
K2 = np.uint64(0x9AE16A3B2F90404F)
_PADDING = 8
# Rows hashed at a time, so that intermediate columns stay in the processor's cache.
_CACHED_ROWS = 8192


class _Bytes:
    """The bytes of a column, read eight or four at a time from any position, little-endian."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        padded = np.zeros(len(data) + _PADDING, np.uint8)
        padded[: len(data)] = data
        self._words = {
            size: np.ndarray((len(padded) - size + 1,), f"<u{size}", buffer=padded.data, strides=(1,)) for size in (1, 4, 8)
        }

    def fetch(self, at: Offsets, size: int = 8) -> UInt64:
        return self._words[size][at].astype(np.uint64, copy=False)


def fingerprint64(values: Any) -> UInt64:
    """The unsigned 64-bit fingerprint of every value.

    Args:
        values: `pa.StringArray` or `pa.BinaryArray` `[n]`, or a large one, without nulls.

    Returns:
        `[n]`; `fingerprint64(v) % buckets` is `tf.strings.to_hash_bucket_fast(v, buckets)`.
    """
    offsets, data = _buffers(values)
    starts, lengths = offsets[:-1], np.diff(offsets)
    source = _Bytes(data)
    kinds = _KIND_OF_LENGTH[np.minimum(lengths, len(_KIND_OF_LENGTH) - 1)]
    result = np.empty(len(lengths), np.uint64)
    for first in range(0, len(lengths), _CACHED_ROWS):
        part = slice(first, first + _CACHED_ROWS)
        for kind in np.flatnonzero(np.bincount(kinds[part])).tolist():
            rows = first + np.flatnonzero(kinds[part] == kind)
            result[rows] = _HASHES[kind](source, starts[rows], lengths[rows])
    return result


def _buffers(values: Any) -> tuple[Offsets, NDArray[np.uint8]]:
    _, offsets, data = values.buffers()
    if not len(values):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    width = np.int64 if pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type) else np.int32
    positions = np.frombuffer(offsets, width)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    used = np.frombuffer(data or b"", np.uint8)[positions[0] : positions[-1]]
    return positions - positions[0], used


def _rotate(value: UInt64, bits: int) -> UInt64:
    return (value >> np.uint64(bits)) | (value << np.uint64(64 - bits))


def _shift_mix(value: UInt64) -> UInt64:
    return value ^ (value >> np.uint64(47))


def _mix(low: UInt64, high: UInt64, multiplier: UInt64) -> UInt64:
    """Two words and a multiplier to one word (HashLen16)."""
    inner = _shift_mix((low ^ high) * multiplier)
    return _shift_mix((high ^ inner) * multiplier) * multiplier


def _multiplier(lengths: Offsets) -> UInt64:
    return K2 + lengths.astype(np.uint64) * np.uint64(2)


def _hash_empty(source: _Bytes, at: Offsets, lengths: Offsets) -> UInt64:
    return np.full(len(at), K2, np.uint64)


def _hash_1_to_3(source: _Bytes, at: Offsets, lengths: Offsets) -> UInt64:
    first, middle, last = (source.fetch(at + shift, 1) for shift in (0, lengths >> 1, lengths - 1))
    low = first + (middle << np.uint64(8))
    high = lengths.astype(np.uint64) + (last << np.uint64(2))
    return _shift_mix(low * K2 ^ high * K0) * K2


def _hash_4_to_7(source: _Bytes, at: Offsets, lengths: Offsets) -> UInt64:
    low = lengths.astype(np.uint64) + (source.fetch(at, 4) << np.uint64(3))
    return _mix(low, source.fetch(at + lengths - 4, 4), _multiplier(lengths))


def _hash_8_to_16(source: _Bytes, at: Offsets, lengths: Offsets) -> UInt64:
    multiplier = _multiplier(lengths)
    first = source.fetch(at) + K2
    last = source.fetch(at + lengths - 8)
    low = _rotate(last, 37) * multiplier + first
    return _mix(low, (_rotate(first, 25) + last) * multiplier, multiplier)


def _ends(source: _Bytes, at: Offsets, lengths: Offsets, multiplier: UInt64, k: np.uint64) -> tuple[UInt64, UInt64, UInt64]:
    """What the hashes of 17 to 64 bytes share: words mixed from both ends, and the first word times `k`."""
    first = source.fetch(at) * k
    second = source.fetch(at + 8)
    last = source.fetch(at + lengths - 8) * multiplier
    low = _rotate(first + second, 43) + _rotate(last, 30) + source.fetch(at + lengths - 16) * K2
    return low, first + _rotate(second + K2, 18) + last, first


def _hash_17_to_32(source: _Bytes, at: Offsets, lengths: Offsets) -> UInt64:
    multiplier = _multiplier(lengths)
    low, high, _ = _ends(source, at, lengths, multiplier, K1)
    return _mix(low, high, multiplier)


def _hash_33_to_64(source: _Bytes, at: Offsets, lengths: Offsets) -> UInt64:
    multiplier = _multiplier(lengths)
    low, high, first = _ends(source, at, lengths, multiplier, K2)
    high = _mix(low, high, multiplier)
    third = source.fetch(at + 16) * multiplier
    fourth = source.fetch(at + 24)
    fifth = (low + source.fetch(at + lengths - 32)) * multiplier
    sixth = (high + source.fetch(at + lengths - 24)) * multiplier
    return _mix(
        _rotate(third + fourth, 43) + _rotate(fifth, 30) + sixth, third + _rotate(fourth + first, 18) + fifth, multiplier
    )


def _weak_32(source: _Bytes, at: Offsets, a: UInt64, b: UInt64) -> tuple[UInt64, UInt64]:
    """32 bytes and two seeds to two words (WeakHashLen32WithSeeds)."""
    words = [source.fetch(at + shift) for shift in (0, 8, 16, 24)]
    a = a + words[0]
    b = _rotate(b + a + words[3], 21)
    total = a + words[1] + words[2]
    return total + words[3], b + _rotate(total, 44) + a


def _round(source: _Bytes, at: Offsets, state: UInt64, multiplier: Any, weight: np.uint64) -> UInt64:
    """64 bytes into the state `[7, n]` of a long value's hash; `weight` is 1 but in the closing round."""
    x, y, z, v0, v1, w0, w1 = state
    next_x = _rotate(x + y + v0 + source.fetch(at + 8), 37) * multiplier ^ w1 * weight
    next_y = _rotate(y + v1 + source.fetch(at + 48), 42) * multiplier + v0 * weight + source.fetch(at + 40)
    next_z = _rotate(z + w0, 33) * multiplier
    v = _weak_32(source, at, v1 * multiplier, next_x + w0)
    w = _weak_32(source, at + 32, next_z + w1, next_y + source.fetch(at + 16))
    return np.stack([next_z, next_y, next_x, *v, *w])


def _hash_65_and_more(source: _Bytes, at: Offsets, lengths: Offsets) -> UInt64:
    state = np.zeros((7, len(at)), np.uint64)
    state[0] = np.uint64(81)
    state[1] = state[0] * K1 + np.uint64(113)
    state[2] = _shift_mix(state[1] * K2 + np.uint64(113)) * K2
    state[0] = state[0] * K2 + source.fetch(at)
    rounds = (lengths - 1) // 64
    for done in range(int(rounds.max())):
        unfinished = rounds > done
        state[:, unfinished] = _round(source, at[unfinished] + 64 * done, state[:, unfinished], K1, np.uint64(1))
    multiplier = K1 + ((state[2] & np.uint64(0xFF)) << np.uint64(1))
    state[5] += ((lengths - 1) & 63).astype(np.uint64)
    state[3] += state[5]
    state[5] += state[3]
    x, y, z, v0, v1, w0, w1 = _round(source, at + lengths - 64, state, multiplier, np.uint64(9))
    low = _mix(v0, w0, multiplier) + _shift_mix(y) * K0 + z
    return _mix(low, _mix(v1, w1, multiplier) + x, multiplier)


_KIND_OF_LENGTH = np.searchsorted([0, 3, 7, 16, 32, 64], np.arange(66))
_HASHES: list[Callable[[_Bytes, Offsets, Offsets], UInt64]] = [
    _hash_empty,
    _hash_1_to_3,
    _hash_4_to_7,
    _hash_8_to_16,
    _hash_17_to_32,
    _hash_33_to_64,
    _hash_65_and_more,
]
