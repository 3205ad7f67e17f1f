# SPDX-License-Identifier: Apache-2.0
"""Blocks of rows and the ranges of input they are read from: what every kind of source gives to the pipeline."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.files import InputInfo, find_files
from tf_crossdistil.config import Source, duplicates
from tf_crossdistil.errors import CrossDistilError


@dataclass(frozen=True)
class InputRange:
    """A part of one input file that one worker reads: bytes of decompressed text, or row groups, `[first, last)`.

    `index` counts the ranges of a run; `last` is None for the end of the file. `weight` is the range's share of the work, in
    stored bytes; `stream` is what a source without positions reads it by; `tables` are those that its rows are joined with.
    """

    index: int
    path: str
    first: int
    last: int | None
    weight: float = 1.0
    stream: str = ""
    tables: tuple[InputInfo, ...] = ()


@dataclass(frozen=True)
class RejectedRow:
    """A row that could not be taken apart into columns; `position` counts from 0 in its range, `reason` is its code."""

    position: int
    message: str
    raw: str
    reason: str = "wrong_field_count"


@dataclass(frozen=True)
class Block:
    """Some rows in columns: `columns` `pa.Array` `[rows]` by name, `positions` `[rows]` counts from 0 in the range.

    `done` is about the share of the range that is read with this block, 0 to 1; 1 only where no block follows. `unmatched`
    counts, by its path, the rows that a joined table has no row for.
    """

    columns: dict[str, Any]
    positions: NDArray[np.int64]
    rejected: list[RejectedRow] = field(default_factory=list)
    done: float = 1.0
    unmatched: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows went in, rejected ones too."""
        return len(self.positions) + len(self.rejected)

    def since(self, position: int) -> "Block":
        """The rows at `position` and after it."""
        start = int(np.searchsorted(self.positions, position))
        columns = {name: column[start:] for name, column in self.columns.items()}
        rejected = [row for row in self.rejected if row.position >= position]
        return Block(columns, self.positions[start:], rejected, self.done)


@dataclass(frozen=True)
class FilePlan:
    """How one file is read: its ranges, of which `index` is not set yet, and the names of all its columns."""

    ranges: list[InputRange]
    columns: list[str]


class Reader(ABC):
    """Reads one format. `columns` are those wanted; a file may hold others."""

    def __init__(self, source: Source, columns: Sequence[str]) -> None:
        self._source = source
        self.columns = list(columns)

    def find(self, pattern: str) -> list[InputInfo]:
        """The inputs that an `--input` names: the files that it matches, unless the format is no file's.

        Raises:
            CrossDistilError: there is none, or one is empty.
        """
        return find_files(pattern)

    def find_tables(self, inputs: Sequence[InputInfo]) -> list[InputInfo]:
        """The files of the tables that the rows of some inputs are joined with; none, unless `source.joins` names some.

        Raises:
            CrossDistilError: one cannot be found.
        """
        return []

    def read_tables(self, tables: Sequence[InputInfo]) -> dict[str, list[str]]:
        """Reads the tables, as a check, and gives by path the columns that nobody reads.

        Raises:
            CrossDistilError: one cannot be joined.
        """
        return {}

    @abstractmethod
    def plan(self, path: str) -> FilePlan:
        """Checks that a file can be read and has the columns, and divides it into ranges, at least one; any thread may call it.

        Raises:
            CrossDistilError: the file is empty, damaged, of another format or lacks a column.
        """

    @abstractmethod
    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a range in order, in blocks of bounded size.

        Raises:
            CrossDistilError: the file is damaged.
        """

    def _check_columns(self, path: str, found: Sequence[str]) -> None:
        listed = ", ".join(f"'{name}'" for name in found)
        for column in self.columns:
            if column not in found:
                nearest = difflib.get_close_matches(column, found, n=1)
                hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
                raise CrossDistilError(f"{path} has no column '{column}', which is to be read; it has {listed}{hint}")
        twice = [name for name in duplicates(list(found)) if name in self.columns]
        if twice:
            raise CrossDistilError(f"{path} has two columns named '{twice[0]}'; give each column its own name")
