# SPDX-License-Identifier: Apache-2.0
"""Delimited text, plain or compressed, as blocks of text columns."""

import collections
import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipelines.sources.blocks import Block, FilePlan, InputRange, Reader, RejectedRow
from pipelines.sources.files import TextFile, looks_like, open_text
from pipelines.sources.text import (
    FIELD_END,
    LARGEST_ROW_BYTES,
    CleanText,
    RowTooLongError,
    byte_order_mark,
    divide_text,
    read_line,
    without_marks,
)
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError

RANGE_BYTES = 32 << 20
# Arrow reads up to 32 blocks ahead.
BLOCK_BYTES = 2 << 20
_GROWTH = 8
_SHOWN_CHARACTERS = 80
_EXPECTED = "delimited text"
_QUOTE_FAULTS = {
    "unexpected end of data": "a quote is left open",
    "new-line character seen in unquoted field - do you need to open the file in universal-newline mode?": "a lone CR stands",
}

# A first row may hold a field that is longer than the 128 KiB that Python's parser allows.
csv.field_size_limit(LARGEST_ROW_BYTES)


class CsvReader(Reader):
    """Reads csv and tsv. Blank lines are no rows; every value is text, whatever it looks like.

    With a delimiter of several bytes, which no parser takes, quotes are text.
    """

    def __init__(self, source: Source, columns: Sequence[str]) -> None:
        super().__init__(source, columns)
        self._quotes = len(source.delimiter.encode()) == 1

    def plan(self, path: str) -> FilePlan:
        """Ranges that end at line ends; a single one for compressed text, and for quotes, which may hold line ends."""
        with open_text(path, _EXPECTED) as text:
            names, start = self._read_header(path, text.stream)
            self._check_layout(path, names)
            quoted = self._quotes and _has_quotes(text)
            if quoted:
                self._check_quotes(path, text)
            if text.is_divisible and not quoted:
                return FilePlan(divide_text(path, text, start, RANGE_BYTES), names)
            return FilePlan([InputRange(0, path, start, None, text.size)], names)

    def _check_quotes(self, path: str, text: TextFile) -> None:
        """Refuses quotes that open or close amid a field: Arrow would take all rows up to the next quote for one value."""
        text.stream.seek(0)
        lines = map(self._decoded, iter(text.stream.readline, b""))
        rows = csv.reader(lines, delimiter=self._source.delimiter, strict=True)
        try:
            collections.deque(rows, maxlen=0)
        except csv.Error as error:
            reason = _QUOTE_FAULTS.get(str(error), str(error))
            raise CrossDistilError(
                f"{path} cannot be divided into rows: {reason} in the row that ends at line {rows.line_num}; double the quotes "
                "within a quoted field, and close every quote"
            ) from error

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a range; a row with another number of fields than there are columns is rejected."""
        yield from self._blocks_from(part, 0, BLOCK_BYTES)

    def _blocks_from(self, part: InputRange, position: int, block_bytes: int) -> Iterator[Block]:
        """The rows at `position` and after it; memory for long rows is taken only where there are any."""
        try:
            for block in self._parse(part, block_bytes):
                if (new := block.since(position)).rows:
                    position += new.rows
                    yield new
        except RowTooLongError:
            if block_bytes >= LARGEST_ROW_BYTES:
                raise
            yield from self._blocks_from(part, position, min(_GROWTH * block_bytes, LARGEST_ROW_BYTES))

    def _parse(self, part: InputRange, block_bytes: int) -> Iterator[Block]:
        rejected: list[RejectedRow] = []

        def reject(row: Any) -> str:
            message = f"a row must have {row.expected_columns} fields; received {row.actual_columns}"
            rejected.append(RejectedRow(row.number - 1, message, self._as_written(row.text)))
            return "skip"

        with open_text(part.path, _EXPECTED) as text, _explained(part.path):
            names, _ = self._read_header(part.path, text.stream)
            delimiter = None if self._quotes else self._source.delimiter
            clean = CleanText(text, part, BLOCK_BYTES, encoding=self._source.encoding, delimiter=delimiter)
            if not clean.skip_blank_lines():
                return
            position = 0
            for index, batch in enumerate(self._batches(clean, names, block_bytes, reject)):
                end = position + batch.num_rows
                bad = []
                while rejected and rejected[0].position < end:
                    bad.append(rejected.pop(0))
                    end += 1
                positions = np.delete(np.arange(position, end), [row.position - position for row in bad])
                # Arrow makes one batch of what it gets with one read.
                done = clean.done_with(index)
                yield Block(dict(zip(batch.schema.names, batch.columns, strict=True)), positions, bad, done)
                position = end
            if rejected:
                nothing = pa.array([], pa.string())
                yield Block(dict.fromkeys(self.columns, nothing), np.zeros(0, np.int64), rejected)

    def _batches(self, clean: CleanText, names: list[str], block_bytes: int, reject: Any) -> Any:
        return pyarrow.csv.open_csv(
            pa.PythonFile(clean, mode="r"),
            read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=block_bytes),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._source.delimiter if self._quotes else FIELD_END,
                quote_char='"' if self._quotes else False,
                newlines_in_values=self._quotes,
                invalid_row_handler=reject,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(self.columns, pa.string()),
                include_columns=self.columns,
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )

    def _read_header(self, path: str, stream: BinaryIO) -> tuple[list[str], int]:
        """The columns' names and where the rows start; without a header, the configured names and 0."""
        start = byte_order_mark(stream)
        lines: list[bytes] = []

        def next_lines() -> Iterator[str]:
            while line := read_line(path, stream):
                lines.append(line)
                yield self._decoded(line)

        try:
            found = next(filter(None, self._divided(next_lines())), None)
        except csv.Error as error:
            raise CrossDistilError(
                f"{path} is no text with delimiter {self._source.delimiter!r}: {error}; set source.delimiter to the file's own"
            ) from error
        if found is None:
            raise CrossDistilError(f"{path} is empty; expected rows of logs")
        if self._source.columns is not None:
            if len(found) != len(self._source.columns):
                shown = self._decoded(b"".join(lines)).rstrip()[:_SHOWN_CHARACTERS]
                raise CrossDistilError(
                    f"{path} has {len(found)} fields in its first row, expected the {len(self._source.columns)} of "
                    f"source.columns; is the delimiter {self._source.delimiter!r} right? The row starts {shown!r}"
                )
            return self._source.columns, start
        return [name.strip() for name in found], start + sum(map(len, lines))

    def _divided(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """The fields of rows, none of a blank line."""
        if self._quotes:
            return csv.reader(lines, delimiter=self._source.delimiter)
        return (row.split(self._source.delimiter) if row else [] for row in (line.rstrip("\r\n") for line in lines))

    def _decoded(self, line: bytes) -> str:
        return line.decode(self._source.encoding, "replace")

    def _as_written(self, row: str) -> str:
        return without_marks(row if self._quotes else row.replace(FIELD_END, self._source.delimiter))

    def _check_layout(self, path: str, names: list[str]) -> None:
        if names[0].startswith("{") and looks_like(path) == "JSON lines":
            raise CrossDistilError(f"{path} looks like JSON lines, expected {_EXPECTED}; set source.format to what the file is")
        if len(names) == 1 < len(self.columns):
            raise CrossDistilError(
                f"{path} has a single column {names[0][:_SHOWN_CHARACTERS]!r}, expected {len(self.columns)} columns such as "
                f"'{self.columns[0]}'; is the delimiter {self._source.delimiter!r} right?"
            )
        self._check_columns(path, names)


def _has_quotes(text: TextFile) -> bool:
    text.stream.seek(0)
    return any(b'"' in chunk for chunk in iter(lambda: text.stream.read(BLOCK_BYTES), b""))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())
        if "straddling" in reason:
            raise RowTooLongError(path) from error
        raise CrossDistilError(
            f"{path} cannot be read as {_EXPECTED}: {reason}; mend the file, or set source.format to what it is"
        ) from error
