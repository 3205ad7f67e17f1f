# SPDX-License-Identifier: Apache-2.0
"""Ranges of text: where they begin and end, and their bytes as clean UTF-8."""

import codecs
import io
from itertools import pairwise
from typing import BinaryIO

from pipelines.checking.columns import NOT_UTF8
from pipelines.sources.blocks import InputRange
from pipelines.sources.files import TextFile
from tf_crossdistil.errors import CrossDistilError

LARGEST_ROW_BYTES = 64 << 20
# The unit separator of ASCII, which a parser of single delimiters can take.
FIELD_END = "\x1f"
_FIELD_END = FIELD_END.encode()
# Text that holds one already cannot be told apart; it is marked like a byte that is no text.
_REFUSED = f"{NOT_UTF8}\\x1f".encode()
# A parser may hold more rows when all bytes are read.
_MOST_DONE = 0.999


def divide_text(path: str, text: TextFile, start: int, goal: int) -> list[InputRange]:
    """Ranges of at least `goal` bytes from `start` on, which end at line ends; one range where text is compressed."""
    if not text.is_divisible:
        return [InputRange(0, path, start, None, text.size)]
    bounds = [start]
    while bounds[-1] + goal < text.size:
        text.stream.seek(bounds[-1] + goal)
        read_line(path, text.stream)
        bounds.append(text.stream.tell())
    spans = [(first, last) for first, last in pairwise([*bounds, text.size]) if first < last]
    return [InputRange(0, path, first, last, last - first) for first, last in spans] or [InputRange(0, path, start, start)]


def read_line(path: str, stream: BinaryIO) -> bytes:
    """The next line of a stream with its end; nothing at the end of the file.

    Raises:
        RowTooLongError: the line is longer than `LARGEST_ROW_BYTES`.
    """
    line = stream.readline(LARGEST_ROW_BYTES + 1)
    if len(line) > LARGEST_ROW_BYTES:
        raise RowTooLongError(path)
    return line


class RowTooLongError(CrossDistilError):
    """A row of a file at `path` does not fit into a block."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} has a row longer than {LARGEST_ROW_BYTES >> 20} MiB; is it text, or is a quote left open?")


def byte_order_mark(stream: BinaryIO) -> int:
    """How many bytes a UTF-8 byte order mark takes at the beginning of a stream, which is left behind it."""
    if stream.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
        return len(codecs.BOM_UTF8)
    stream.seek(0)
    return 0


def without_marks(text: str) -> str:
    """Text as it is shown: bytes that were not UTF-8 as `\\xff`, without the mark ahead of them."""
    return text.replace(NOT_UTF8, "")


class CleanText(io.RawIOBase):
    """A range of a file as clean UTF-8: bytes that are not are marked, so that they can be shown and told apart.

    `chunk_bytes` are read at a time; `errors` is the handler of `codecs` that marks; `encoding` is that of the file, in which
    ASCII is written as in UTF-8; `delimiter`, if given, becomes `FIELD_END`.
    """

    def __init__(
        self,
        text: TextFile,
        part: InputRange,
        chunk_bytes: int,
        errors: str = "mark_not_utf8",
        encoding: str = "utf-8",
        delimiter: str | None = None,
    ) -> None:
        super().__init__()
        self._text = text
        self._part = part
        self._chunk_bytes = chunk_bytes
        self._left = float("inf") if part.last is None else part.last - part.first
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._delimiters = _Delimiters(delimiter.encode()) if delimiter is not None else None
        self._ready = b""
        self._shares: list[float] = []
        text.stream.seek(part.first)
        self._fill(chunk_bytes)

    def skip_blank_lines(self) -> bool:
        """Passes over line ends; whether anything is left, without which a parser complains."""
        while not (rest := self._ready.lstrip(b"\r\n")) and self._left:
            self._ready = b""
            self._fill(self._chunk_bytes)
        self._ready = rest
        return bool(rest)

    @property
    def done(self) -> float:
        """The share of the range, in stored bytes, that has been read; less than 1."""
        if self._part.last is None:
            return min(self._text.stored.tell() / self._text.size, _MOST_DONE)
        return min(1 - self._left / max(self._part.last - self._part.first, 1), _MOST_DONE)

    def done_with(self, index: int) -> float:
        """The share of the range that had been read with call `index` of `read`, for a parser that reads ahead."""
        return self._shares[min(index, len(self._shares) - 1)]

    def readable(self) -> bool:
        """True, as for every source."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        while len(self._ready) < size and self._left:
            self._fill(size)
        result, self._ready = self._ready[:size], self._ready[size:]
        self._shares.append(self.done)
        return result

    def read_lines(self) -> bytes:
        """Whole lines, about `chunk_bytes` of them, the last one of the range with or without its end; nothing at the end.

        Raises:
            RowTooLongError: a line is longer than `LARGEST_ROW_BYTES`.
        """
        lines = self.read(self._chunk_bytes)
        while self._ready or self._left:
            if end := lines.rfind(b"\n") + 1:
                self._ready = lines[end:] + self._ready
                return lines[:end]
            if len(lines) > LARGEST_ROW_BYTES:
                raise RowTooLongError(self._part.path)
            lines += self.read(self._chunk_bytes)
        return lines

    def _fill(self, size: int) -> None:
        chunk = self._text.stream.read(int(min(size, self._left)))
        self._left = self._left - len(chunk) if chunk else 0
        if not chunk.isascii() or self._decoder.getstate()[0]:
            chunk = self._decoder.decode(chunk, final=not self._left).encode()
        self._ready += self._delimiters.mark(chunk, final=not self._left) if self._delimiters else chunk


class _Delimiters:
    """Delimiters of several bytes, in chunks of text, as `FIELD_END`."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        # The text may end so when a delimiter has begun.
        self._beginnings = [delimiter[:size] for size in range(len(delimiter) - 1, 0, -1)]
        self._held = b""

    def mark(self, chunk: bytes, final: bool) -> bytes:
        """The next chunk, without what may be the beginning of a delimiter, unless it is the `final` one."""
        text = self._held + chunk
        if _FIELD_END not in text:
            marked = text.replace(self._delimiter, _FIELD_END)
            self._held = b"" if final else self._begun(marked)
            return marked.removesuffix(self._held)
        *fields, rest = text.split(self._delimiter)
        self._held = b"" if final else self._begun(rest)
        fields.append(rest.removesuffix(self._held))
        return _FIELD_END.join(field.replace(_FIELD_END, _REFUSED) for field in fields)

    def _begun(self, text: bytes) -> bytes:
        return next(filter(text.endswith, self._beginnings), b"")
