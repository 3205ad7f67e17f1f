# SPDX-License-Identifier: Apache-2.0
"""JSON lines, plain or compressed: one object a line, as blocks of columns."""

import codecs
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from pipelines.checking.columns import NOT_UTF8
from pipelines.sources.blocks import Block, FilePlan, InputRange, Reader, RejectedRow
from pipelines.sources.files import open_text
from pipelines.sources.loose import loose_blocks
from pipelines.sources.text import CleanText, byte_order_mark, divide_text, read_line
from tf_crossdistil.errors import CrossDistilError

RANGE_BYTES = 64 << 20
BLOCK_BYTES = 4 << 20
KEY_ROWS = 1000
_EXPECTED = "JSON lines"
_SHOWN_CHARACTERS = 80
_EXACT_INTEGERS = 2.0**53
_SCALARS = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)


class JsonlReader(Reader):
    """Reads JSON lines. Absent keys and null are missing; blank lines are no rows.

    Arrow parses a block whose columns have one type each, and every number without loss; else Python does, line by line,
    and gives text (see `loose_blocks`). Either way a value has the same canonical text.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._schema: Any = None

    def plan(self, path: str) -> FilePlan:
        """Ranges that end at line ends; a column is lacking when no row has its key."""
        with open_text(path, _EXPECTED) as text:
            start = byte_order_mark(text.stream)
            names = self._first_keys(path, iter(lambda: read_line(path, text.stream), b""))
            names += self._late_keys(iter(lambda: read_line(path, text.stream), b""), names)
            self._check_columns(path, names)
            return FilePlan(divide_text(path, text, start, RANGE_BYTES), names)

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a range; a line that is no JSON object is rejected."""
        position = 0
        with open_text(part.path, _EXPECTED) as text:
            clean = CleanText(text, part, BLOCK_BYTES, "mark_not_utf8_in_json")
            while lines := clean.read_lines():
                for block in self._parse(lines, position):
                    position += block.rows
                    yield Block(block.columns, block.positions, block.rejected, clean.done)

    def _first_keys(self, path: str, lines: Iterator[bytes]) -> list[str]:
        filled = (line for line in lines if line.strip())
        first = next(filled, None)
        if first is None:
            raise CrossDistilError(f"{path} is empty; expected rows of logs")
        rows = [_parse_row(line.decode("utf-8", "replace")) for line in [first, *islice(filled, KEY_ROWS - 1)]]
        names = list(dict.fromkeys(name for row in rows for name in row or ()))
        if not any(isinstance(row, dict) for row in rows):
            shown = first.decode("utf-8", "replace").rstrip()[:_SHOWN_CHARACTERS]
            raise CrossDistilError(
                f"{path} holds no JSON object in its first {len(rows)} lines, expected one a line; "
                f"set source.format to what the file is; it starts {shown!r}"
            )
        return names

    def _late_keys(self, lines: Iterator[bytes], known: list[str]) -> list[str]:
        """The columns wanted whose keys only later rows have; the file is read on for as long as one is lacking."""
        lacking = {name: json.dumps(name, ensure_ascii=False).encode() for name in self.columns if name not in known}
        found: list[str] = []
        while lacking and (line := next(lines, b"")):
            candidates = [name for name, quoted in lacking.items() if quoted in line]
            row = _parse_row(line.decode("utf-8", "replace")) if candidates else None
            found += [name for name in candidates if name in (row or ()) and lacking.pop(name)]
        return found

    def _parse(self, lines: bytes, position: int) -> Iterator[Block]:
        columns = self._parse_alike(lines)
        if columns is not None:
            yield Block(columns, np.arange(position, position + len(columns[self.columns[0]])))
            return
        filled = [line for line in lines.decode().split("\n") if line.strip()]
        rows = [_parse_row(line) for line in filled]
        good = [index for index, row in enumerate(rows) if row is not None]
        rejected = [
            RejectedRow(position + index, "a line must be a JSON object", _shown(filled[index]), "not_json")
            for index, row in enumerate(rows)
            if row is None
        ]
        if rejected:
            nothing = pa.array([], pa.string())
            yield Block(dict.fromkeys(self.columns, nothing), np.zeros(0, np.int64), rejected)
        values = {name: [rows[index].get(name) for index in good] for name in self.columns}  # type: ignore[union-attr]
        yield from loose_blocks(values, {}, position + np.array(good, np.int64), lambda row: _shown(filled[good[row]]))

    def _parse_alike(self, lines: bytes) -> dict[str, Any] | None:
        """The columns of a block, or None where only a reading line by line can keep every value as it is."""
        table = self._read_with(lines, self._schema) if self._schema is not None else None
        if table is None:
            guess = self._read_with(lines, None)
            if guess is None:
                return None
            # Text that looks like a date is text. The guess itself is not used: lists in it may not be well-formed.
            known = {field.name: _stays(field.type) for field in guess.schema}
            # A value in a column of nulls is refused, so that a key that only later blocks have is not passed over.
            self._schema = pa.schema([(name, known.get(name, pa.null())) for name in self.columns])
            table = self._read_with(lines, self._schema)
        if table is None or len(table) != lines.count(b"\n") + (not lines.endswith(b"\n")):
            return None
        if not all(_is_exact(table[name]) for name in self.columns):
            return None
        return {name: _without_booleans(table[name].combine_chunks()) for name in self.columns}

    def _read_with(self, lines: bytes, schema: Any) -> Any:
        options = pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
        )
        try:
            return pyarrow.json.read_json(
                pa.BufferReader(lines),
                read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
                parse_options=options,
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Marks as `mark_not_utf8` does, in words that a JSON string can hold."""
    marked, end = codecs.lookup_error("mark_not_utf8")(error)
    return str(marked).replace("\\", "\\\\"), end


codecs.register_error("mark_not_utf8_in_json", _mark)


def _shown(line: str) -> str:
    return line.rstrip("\r").replace(NOT_UTF8 + "\\", "")


def _parse_row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _stays(kind: Any) -> Any:
    if pa.types.is_list(kind):
        return pa.list_(_stays(kind.value_type))
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _is_exact(column: Any) -> bool:
    """Whether a column of scalars or of lists of scalars holds every number as it was written."""
    kind = column.type
    if pa.types.is_list(kind):
        return any(test(kind.value_type) for test in _SCALARS) and _is_exact(pc.list_flatten(column))
    if pa.types.is_floating(kind):
        return bool(pc.all(pc.less(pc.abs(column), _EXACT_INTEGERS), min_count=0).as_py())
    return pa.types.is_null(kind) or any(test(kind) for test in _SCALARS)


def _without_booleans(column: Any) -> Any:
    """Booleans as text, as they are in rows that were parsed one by one."""
    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_boolean(kind.value_type):
        return column.cast(pa.list_(pa.string()))
    return column.cast(pa.string()) if pa.types.is_boolean(kind) else column
