# SPDX-License-Identifier: Apache-2.0
"""Files on any file system that Beam knows: found, opened, decompressed, and recognised by their first bytes."""

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.beam import BeamIOError, CompressionTypes, FileSystems
from tf_crossdistil.errors import CrossDistilError

_HEAD_BYTES = 64
_CHECK = "check the path, and that it may be read"
_SIGNATURES = {
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a file compressed with Zstandard",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


@dataclass(frozen=True)
class InputInfo:
    """A file of logs, or a table of a data base; `joined`: a file of a table that logs are joined with.

    `size` in bytes, `modified` in seconds since 1970, 0 where the file system does not tell.
    """

    path: str
    size: int
    modified: float
    joined: bool = False


@dataclass(frozen=True)
class _Compression:
    """A way of packing that is recognised by `signature` and unpacked as a stream by `open`."""

    name: str
    signature: bytes
    open: Callable[[Any], Any]


_COMPRESSIONS = (
    _Compression("gzip", b"\x1f\x8b", gzip.open),
    _Compression("bzip2", b"BZh", bz2.open),
    _Compression("xz", b"\xfd7zXZ\x00", lzma.open),
)


@dataclass(frozen=True)
class TextFile:
    """An open file of text: the decompressed `stream`, the `stored` bytes beneath, and their `size`."""

    stream: BinaryIO
    stored: BinaryIO
    size: int

    @property
    def is_divisible(self) -> bool:
        """Whether reading can start anywhere, as it cannot in compressed bytes."""
        return self.stream is self.stored


def find_files(pattern: str) -> list[InputInfo]:
    """The files that a path or pattern matches, local ones by their absolute path.

    Raises:
        CrossDistilError: there is none, one is empty, or they cannot be listed.
    """
    matched = _match(pattern)
    if not matched:
        raise CrossDistilError(f"no file matches --input {pattern}; give a path or a quoted pattern such as 'logs/*.csv'")
    for info in matched:
        if not info.size:
            raise CrossDistilError(f"{info.path} is empty; expected rows of logs")
    return matched


def find_beside(file: str, logs: str) -> InputInfo:
    """The file of a table for logs at a path; a relative `file` is looked up in the folder of the logs.

    Raises:
        CrossDistilError: there is none, it is empty, or cannot be looked up.
    """
    path = file if FileSystems.get_scheme(file) else FileSystems.join(FileSystems.split(logs)[0], file)
    found = _look_up(path)
    if found is None or not found.size:
        reason = "an empty file" if found else "no such file"
        raise CrossDistilError(
            f"the table {path} of source.joins: expected a file with rows, found {reason}; a relative path is looked up beside "
            "the first input"
        )
    return replace(found, joined=True)


def _match(pattern: str) -> list[InputInfo]:
    try:
        return [_described(file) for file in FileSystems.match([pattern])[0].metadata_list]
    except (BeamIOError, ValueError) as error:
        raise CrossDistilError(f"cannot list {pattern}: {_sentence(error)}; {_CHECK}") from error


def _look_up(path: str) -> InputInfo | None:
    """The file at a path, in which no character is a wildcard."""
    try:
        system = FileSystems.get_filesystem(path)
        return _described(system.metadata(path)) if system.exists(path) else None
    except (BeamIOError, ValueError) as error:
        raise CrossDistilError(f"cannot look up {path}: {_sentence(error)}; {_CHECK}") from error


def _described(file: Any) -> InputInfo:
    return InputInfo(_one_name(file.path), file.size_in_bytes, file.last_updated_in_seconds or 0.0)


def open_stored(path: str) -> Any:
    """The bytes of a file as they are stored."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


@contextmanager
def open_text(path: str, expected: str) -> Iterator[TextFile]:
    """A file of text, plain or compressed with gzip, bzip2 or xz, whatever its name says.

    Args:
        path: a path of any file system that Beam knows.
        expected: what it should be, for the message.

    Raises:
        CrossDistilError: the file cannot be read, is damaged or truncated, or is no text.
    """
    compression = None
    try:
        with open_stored(path) as stored:
            size = stored.seek(0, io.SEEK_END)
            stored.seek(0)
            head = stored.read(_HEAD_BYTES)
            stored.seek(0)
            compression = next((known for known in _COMPRESSIONS if head.startswith(known.signature)), None)
            stream = compression.open(stored) if compression else stored
            if compression:
                head = stream.read(_HEAD_BYTES)
                stream.seek(0)
            if found := _not_text(head):
                raise CrossDistilError(
                    f"{path} is {found}, expected {expected}; set source.format to what the file is, "
                    "or write it as UTF-8 text, plain or gzip"
                )
            yield TextFile(stream, stored, size)
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if compression and not getattr(error, "errno", None):
            reason = f"{path} is a damaged or truncated {compression.name} file ({error}); copy it again"
            raise CrossDistilError(reason) from error
        raise unreadable(path, error) from error


def looks_like(path: str) -> str:
    """What the first bytes of a file say it is, such as `a Parquet file` or `text`."""
    with open_stored(path) as stored:
        head = stored.read(_HEAD_BYTES)
    if compression := next((known for known in _COMPRESSIONS if head.startswith(known.signature)), None):
        return f"a file compressed with {compression.name}"
    return _not_text(head) or ("JSON lines" if head.lstrip().startswith(b"{") else "text")


def unreadable(path: str, error: Exception) -> CrossDistilError:
    """The error for a file whose bytes cannot be had."""
    return CrossDistilError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; {_CHECK}")


def wrong_format(path: str, expected: str, error: Exception) -> CrossDistilError:
    """The error for a file that cannot be opened as what it should be."""
    found = looks_like(path)
    if found == expected:
        return CrossDistilError(
            f"{path} is a damaged or truncated file, though it starts as {found}: {_sentence(error)}; copy it again"
        )
    return CrossDistilError(
        f"{path} is not {expected}, it looks like {found}; set source.format to what the file is, or copy it again"
    )


def _one_name(path: str) -> str:
    """The same name for a local file however it is spelled."""
    # Links are not followed: stores by content lead two files of the same rows to one place.
    return path if FileSystems.get_scheme(path) else os.path.normpath(Path(path).absolute())


def _not_text(head: bytes) -> str | None:
    """What a file is that starts so and is no text in UTF-8."""
    known = next((name for signature, name in _SIGNATURES.items() if head.startswith(signature)), None)
    return known or ("binary data" if b"\0" in head else None)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())
