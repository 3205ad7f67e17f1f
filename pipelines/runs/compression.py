# SPDX-License-Identifier: Apache-2.0
"""Gzip streams that are the same on every kind of processor.

zlib-ng of 2.2 and later finds matches with the same hash everywhere. Its level 2 costs 0.4 times as much as zlib's level 1 and
makes files a tenth smaller; the bytes do not depend on the pieces that the content comes in. (Its level 1 is a third cheaper
and a sixth larger; isa-l's levels give other bytes on ARM than on x86.)
"""

from zlib_ng import zlib_ng

_LEVEL = 2
# Deflate without a wrapper around the largest window: zlib-ng's own gzip header names the operating system.
_RAW_WINDOW = -15
# Identification, deflate, no flags, no time, no hint about the level, an unknown operating system.
_HEADER = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF])


class GzipCompressor:
    """Compresses a stream piece by piece: `compress` as often as there is content, then `flush` once."""

    def __init__(self) -> None:
        self._deflate = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, _RAW_WINDOW)
        self._pending = _HEADER
        self._checksum = 0
        self._bytes = 0

    def compress(self, content: bytes | memoryview) -> bytes:
        """What of the stream is ready after `content`."""
        self._checksum = zlib_ng.crc32(content, self._checksum)
        self._bytes += memoryview(content).nbytes
        ready, self._pending = self._pending + self._deflate.compress(content), b""
        return ready

    def flush(self) -> bytes:
        """The rest of the stream."""
        length = self._bytes % 2**32
        return self._pending + self._deflate.flush() + self._checksum.to_bytes(4, "little") + length.to_bytes(4, "little")
