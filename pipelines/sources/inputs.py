# SPDX-License-Identifier: Apache-2.0
"""Inputs: which they are, which reader takes them, and how they are divided among workers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipelines.sources.blocks import InputRange, Reader
from pipelines.sources.files import InputInfo
from pipelines.sources.joins import JoinedReader
from pipelines.sources.readers import READERS
from tf_crossdistil.config import Source

__all__ = ["READERS", "InputInfo", "Planned", "find_inputs", "make_reader", "plan_ranges"]

# Planning mostly waits for storage.
_PLANNING_THREADS = 16


@dataclass(frozen=True)
class Planned:
    """The ranges of all inputs, in order, and by path the columns that nobody reads."""

    ranges: list[InputRange]
    extra_columns: dict[str, list[str]]


def make_reader(source: Source, columns: Sequence[str]) -> Reader:
    """The reader of a source's format for some columns, which may be those of joined tables."""
    return JoinedReader(source, columns) if source.joins else READERS[source.format](source, columns)


def find_inputs(reader: Reader, patterns: Sequence[str]) -> list[InputInfo]:
    """The files, or tables of a data base, that any of the patterns matches, by path; then the files of joined tables.

    Raises:
        CrossDistilError: a pattern matches no file, or a file is empty, or a joined table is not there.
    """
    found = {info.path: info for pattern in patterns for info in reader.find(pattern)}
    logs = [found[path] for path in sorted(found)]
    return [*logs, *reader.find_tables(logs)]


def plan_ranges(reader: Reader, inputs: Sequence[InputInfo]) -> Planned:
    """The ranges of all inputs, numbered, and their extra columns; many inputs are looked at side by side.

    Raises:
        CrossDistilError: an input cannot be read or lacks a column; the first one of those is named.
    """
    ranges: list[InputRange] = []
    logs = [info for info in inputs if not info.joined]
    tables = tuple(info for info in inputs if info.joined)
    extra = {path: unread for path, unread in reader.read_tables(tables).items() if unread}
    with ThreadPoolExecutor(_PLANNING_THREADS) as pool:
        plans = list(pool.map(reader.plan, [info.path for info in logs]))
    for info, plan in zip(logs, plans, strict=True):
        ranges += [replace(part, index=len(ranges) + index, tables=tables) for index, part in enumerate(plan.ranges)]
        if unread := [name for name in plan.columns if name not in reader.columns]:
            extra[info.path] = unread
    return Planned(ranges, extra)
