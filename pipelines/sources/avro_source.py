# SPDX-License-Identifier: Apache-2.0
"""Avro files as blocks of columns."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import fastavro
import numpy as np
import pyarrow as pa

from pipelines.sources.blocks import Block, FilePlan, InputRange, Reader
from pipelines.sources.files import open_stored, unreadable, wrong_format
from pipelines.sources.loose import loose_blocks, shown_row
from tf_crossdistil.errors import CrossDistilError

RANGE_BYTES = 64 << 20
BLOCK_ROWS = 32_768
BLOCK_BYTES = 8 << 20
_SYNC_BYTES = 16
_MOST_DONE = 0.999
_EXPECTED = "an Avro file"

_TYPES = {
    **{"null": pa.null(), "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32()},
    **{"double": pa.float64(), "string": pa.string(), "enum": pa.string(), "bytes": pa.binary(), "fixed": pa.binary()},
}
_LOGICAL_TYPES = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "decimal": None,
    "uuid": None,
}


class AvroReader(Reader):
    """Reads Avro with the codecs null, deflate, bzip2, xz, and those whose libraries are installed.

    A column of one type, or of one type and null, becomes an Arrow array of that type; what a union of several types or a
    decimal holds becomes text, and a row with a record or a map in a wanted column is rejected (see `loose_blocks`).
    """

    def plan(self, path: str) -> FilePlan:
        """Ranges of at least `RANGE_BYTES` that end where a block of the file does; one block is read as a check."""
        with _open(path) as stream, _explained(path):
            reader, start = self._read_header(path, stream)
            if (block := next(reader, None)) is not None:
                next(iter(block), None)
            sync = _header(stream, start)[-_SYNC_BYTES:]
            size = stream.seek(0, io.SEEK_END)
            bounds = [start]
            while bounds[-1] + RANGE_BYTES < size:
                bounds.append(_after(stream, sync, bounds[-1] + RANGE_BYTES) or size)
        ends = [*bounds[1:], size]
        ranges = [
            InputRange(0, path, first, last, last - first) for first, last in zip(bounds, ends, strict=True) if first < last
        ]
        return FilePlan(ranges or [InputRange(0, path, start, start)], _names(reader))

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a range."""
        with _open(part.path) as stored:
            with _explained(part.path):
                _, start = self._read_header(part.path, stored)
                stream = _Part(_header(stored, start), stored, part)
                reader = fastavro.block_reader(stream, handle_unicode_errors="mark_not_utf8")
            types = _column_types(reader.writer_schema)
            position = 0
            for rows in _batches(part.path, reader, stream):
                with _explained(part.path):
                    blocks = list(self._columns_of(rows, types, position))
                for block in blocks:
                    yield Block(block.columns, block.positions, block.rejected, stream.done)
                position += len(rows)

    def _columns_of(self, rows: Sequence[dict[str, Any]], types: Mapping[str, Any], position: int) -> Iterator[Block]:
        values = {name: [row[name] for row in rows] for name in self.columns}
        typed = {name: pa.array(values.pop(name), types[name]) for name in self.columns if types[name] is not None}
        positions = np.arange(position, position + len(rows))
        if not values:
            yield Block(typed, positions)
        else:
            yield from loose_blocks(values, typed, positions, lambda row: shown_row(rows[row]))

    def _read_header(self, path: str, stream: BinaryIO) -> tuple[Any, int]:
        """A reader of a whole file, and where the file's blocks start."""
        try:
            reader = fastavro.block_reader(stream, handle_unicode_errors="mark_not_utf8")
        except Exception as error:
            raise wrong_format(path, _EXPECTED, error) from error
        if "fields" not in reader.writer_schema:
            raise CrossDistilError(
                f"{path} holds values of type {reader.writer_schema}, expected records with columns; write each row as a record"
            )
        self._check_columns(path, _names(reader))
        return reader, stream.tell()


class _Part(io.RawIOBase):
    """A file's header and then some of its blocks, as if they were the whole file."""

    def __init__(self, header: bytes, stream: BinaryIO, part: InputRange) -> None:
        super().__init__()
        self._header = io.BytesIO(header)
        self._stream = stream
        self._size = (part.last or part.first) - part.first
        self._left = self._size
        stream.seek(part.first)

    @property
    def done(self) -> float:
        """The share of the range that has been read; less than 1, as rows of the last bytes may come in several blocks."""
        return min(1 - self._left / max(self._size, 1), _MOST_DONE)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self._header.getbuffer()) + self._size

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._header.tell() + self._size - self._left

    def readable(self) -> bool:
        """True, as for every source."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        if header := self._header.read(size):
            return header
        chunk = self._stream.read(min(size, self._left))
        self._left -= len(chunk)
        return chunk


def _names(reader: Any) -> list[str]:
    return [field["name"] for field in reader.writer_schema["fields"]]


def _batches(path: str, reader: Any, stream: _Part) -> Iterator[list[dict[str, Any]]]:
    """Rows of some blocks at a time: those of writers are small."""
    rows: list[dict[str, Any]] = []
    stored, end = 0, stream.tell()
    with _explained(path):
        for block in reader:
            rows += block
            stored += block.size
            end = block.offset + block.size
            if len(rows) >= BLOCK_ROWS or stored >= BLOCK_BYTES:
                yield rows
                rows, stored = [], 0
        # A file that ends within the first bytes of a block ends without an error.
        if end != stream.size:
            raise EOFError("it ends within a block")
    if rows:
        yield rows


def _header(stream: BinaryIO, start: int) -> bytes:
    stream.seek(0)
    return stream.read(start)


def _after(stream: BinaryIO, sync: bytes, goal: int) -> int | None:
    """Where the first block behind `goal` starts, or None when there is none."""
    stream.seek(goal)
    seen = b""
    while chunk := stream.read(BLOCK_BYTES):
        seen = seen[-_SYNC_BYTES:] + chunk
        if (found := seen.find(sync)) >= 0:
            return stream.tell() - len(seen) + found + _SYNC_BYTES
    return None


def _column_types(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {field["name"]: _arrow_type(field["type"]) for field in schema["fields"]}


def _arrow_type(schema: Any) -> Any:
    """The Arrow type of an Avro type, or None for one that Arrow has no column of scalars or of lists of scalars for."""
    if isinstance(schema, str):
        return _TYPES.get(schema)
    if isinstance(schema, list):
        kinds = [kind for kind in schema if kind != "null"]
        return _arrow_type(kinds[0]) if len(kinds) == 1 else None
    if (logical := schema.get("logicalType")) in _LOGICAL_TYPES:
        return _LOGICAL_TYPES[logical]
    if schema["type"] == "array":
        element = _arrow_type(schema["items"])
        return None if element is None or pa.types.is_list(element) else pa.list_(element)
    return _TYPES.get(schema["type"])


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    try:
        with open_stored(path) as stream:
            yield stream
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except CrossDistilError:
        raise
    except Exception as error:  # A damaged byte leads fastavro to whatever exception it leads to.
        reason = " ".join(str(error).split()) or type(error).__name__
        if "codec" in reason and not isinstance(error, UnicodeError):
            raise CrossDistilError(f"{path} cannot be decompressed: {reason}; write it with the codec deflate") from error
        raise CrossDistilError(f"{path} is a damaged or truncated Avro file: {reason}; copy it again") from error
