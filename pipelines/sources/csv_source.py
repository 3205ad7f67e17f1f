"""Delimited text, plain or gzip, as blocks of text columns."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipelines.beam import CompressionTypes, FileSystems
from pipelines.checking.columns import NOT_UTF8
from pipelines.sources.blocks import Block, InputRange, Reader, RejectedRow
from tf_crossdistil.errors import CrossDistilError

RANGE_BYTES = 32 << 20
BLOCK_BYTES = 8 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_SHOWN_CHARACTERS = 80


class CsvReader(Reader):
    """Reads csv and tsv. Blank lines are no rows; every value is text, whatever it looks like."""

    def plan(self, path: str) -> list[tuple[int, int | None]]:
        """One range for gzip and for text with quotes, which may hold line ends; else ranges that end at line ends."""
        with _explained(path), _open(path) as stream:
            names, start = self._read_header(path, stream)
            self._check_layout(path, names)
            if isinstance(stream, gzip.GzipFile) or _has_quotes(stream):
                return [(start, None)]
            size = stream.seek(0, io.SEEK_END)
            bounds = [start]
            while (goal := bounds[-1] + RANGE_BYTES) < size:
                stream.seek(goal)
                stream.readline()
                bounds.append(stream.tell())
        ranges = list(zip(bounds, [*bounds[1:], size], strict=True))
        return [(first, last) for first, last in ranges if first < last] or [(start, size)]

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a range; a row with another number of fields than there are columns is rejected."""
        rejected: list[RejectedRow] = []

        def reject(row: Any) -> str:
            message = f"a row must have {row.expected_columns} fields; received {row.actual_columns}"
            rejected.append(RejectedRow(row.number - 1, message, row.text.replace(NOT_UTF8, "")))
            return "skip"

        with _explained(part.path), _open(part.path) as stream:
            names, _ = self._read_header(part.path, stream)
            stream.seek(part.first)
            text = _TextRange(stream, part)
            if text.at_end:
                return
            reader = pyarrow.csv.open_csv(
                pa.PythonFile(text, mode="r"),
                read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self._source.delimiter, newlines_in_values=True, invalid_row_handler=reject
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self._columns, pa.string()),
                    include_columns=self._columns,
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
            position = 0
            for batch in reader:
                end = position + batch.num_rows
                bad = []
                while rejected and rejected[0].position < end:
                    bad.append(rejected.pop(0))
                    end += 1
                positions = np.setdiff1d(np.arange(position, end), [row.position for row in bad], assume_unique=True)
                yield Block(dict(zip(batch.schema.names, batch.columns, strict=True)), positions, bad)
                position = end
            if rejected:
                nothing = pa.array([], pa.string())
                yield Block(dict.fromkeys(self._columns, nothing), np.zeros(0, np.int64), rejected)

    def _read_header(self, path: str, stream: BinaryIO) -> tuple[list[str], int]:
        """The columns' names and where the rows start; without a header, the configured names and 0."""
        start = 0
        if stream.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
            start = len(codecs.BOM_UTF8)
        stream.seek(start)
        lines: list[bytes] = []

        def next_lines() -> Iterator[str]:
            while line := stream.readline():
                lines.append(line)
                yield line.decode("utf-8", "replace")

        try:
            found = next(csv.reader(next_lines(), delimiter=self._source.delimiter), None)
        except csv.Error as error:
            raise CrossDistilError(f"{path} is no text with delimiter {self._source.delimiter!r}: {error}") from error
        if found is None:
            raise CrossDistilError(f"{path} is empty; expected rows of logs")
        if self._source.columns is not None:
            if len(found) != len(self._source.columns):
                shown = b"".join(lines).decode("utf-8", "replace").rstrip()[:_SHOWN_CHARACTERS]
                raise CrossDistilError(
                    f"{path} has {len(found)} fields in its first row, expected the {len(self._source.columns)} of "
                    f"source.columns; is the delimiter {self._source.delimiter!r} right? The row starts {shown!r}"
                )
            return self._source.columns, start
        return [name.strip() for name in found], start + sum(map(len, lines))

    def _check_layout(self, path: str, names: list[str]) -> None:
        if len(names) == 1 < len(self._columns):
            raise CrossDistilError(
                f"{path} has a single column {names[0][:_SHOWN_CHARACTERS]!r}, expected {len(self._columns)} columns such as "
                f"'{self._columns[0]}'; is the delimiter {self._source.delimiter!r} right?"
            )
        self._check_columns(path, names)


class _TextRange(io.RawIOBase):
    """A range of a stream as clean UTF-8: bytes that are not are marked, so that a parser can show them."""

    def __init__(self, stream: BinaryIO, part: InputRange) -> None:
        super().__init__()
        self._stream = stream
        self._left = float("inf") if part.last is None else part.last - part.first
        self._decoder = codecs.getincrementaldecoder("utf-8")("mark_not_utf8")
        self._ready = b""
        self._fill(BLOCK_BYTES)

    @property
    def at_end(self) -> bool:
        """Whether there is nothing but white space left, which a parser takes for a missing header."""
        return self._left == 0 and not self._ready.strip()

    def readable(self) -> bool:
        """True, as for every source."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        while len(self._ready) < size and self._left:
            self._fill(size)
        result, self._ready = self._ready[:size], self._ready[size:]
        return result

    def _fill(self, size: int) -> None:
        chunk = self._stream.read(int(min(size, self._left)))
        self._left = self._left - len(chunk) if chunk else 0
        self._ready += self._decoder.decode(chunk, final=not self._left).encode()


def _open(path: str) -> Any:
    """The decompressed bytes of a file, gzip or not, as a seekable stream."""
    stream = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    compressed = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if compressed else stream


def _has_quotes(stream: BinaryIO) -> bool:
    stream.seek(0)
    return any(b'"' in chunk for chunk in iter(lambda: stream.read(BLOCK_BYTES), b""))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CrossDistilError(f"{path} is a damaged or truncated gzip file ({error}); copy it again") from error
    except OSError as error:
        raise CrossDistilError(f"cannot read {path}: {error.strerror or error}") from error
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())
        if "straddling" in reason:
            reason = f"a row is longer than {BLOCK_BYTES >> 20} MiB, is a quote left open?"
        raise CrossDistilError(f"{path} cannot be read as delimited text: {reason}") from error
