"""Inputs: which they are, which reader takes them, and how they are divided among workers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipelines.sources.avro_source import AvroReader
from pipelines.sources.bigquery_source import BigQueryReader
from pipelines.sources.blocks import InputRange, Reader
from pipelines.sources.csv_source import CsvReader
from pipelines.sources.files import InputInfo
from pipelines.sources.jsonl_source import JsonlReader
from pipelines.sources.parquet_source import ParquetReader
from tf_crossdistil.config import Source

__all__ = ["READERS", "InputInfo", "Planned", "find_inputs", "make_reader", "plan_ranges"]

# Planning mostly waits for storage.
_PLANNING_THREADS = 16

READERS: dict[str, Callable[[Source, Sequence[str]], Reader]] = {
    "avro": AvroReader,
    "bigquery": BigQueryReader,
    "csv": CsvReader,
    "jsonl": JsonlReader,
    "parquet": ParquetReader,
}


@dataclass(frozen=True)
class Planned:
    """The ranges of all inputs, in order, and by path the columns that nobody reads."""

    ranges: list[InputRange]
    extra_columns: dict[str, list[str]]


def make_reader(source: Source, columns: Sequence[str]) -> Reader:
    """The reader of a source's format for some columns."""
    return READERS[source.format](source, columns)


def find_inputs(reader: Reader, patterns: Sequence[str]) -> list[InputInfo]:
    """The files, or tables, that any of the patterns matches, by path.

    Raises:
        CrossDistilError: a pattern matches no file, or a file is empty.
    """
    found = {info.path: info for pattern in patterns for info in reader.find(pattern)}
    return [found[path] for path in sorted(found)]


def plan_ranges(reader: Reader, inputs: Sequence[InputInfo]) -> Planned:
    """The ranges of all inputs, numbered, and their extra columns; many inputs are looked at side by side.

    Raises:
        CrossDistilError: an input cannot be read or lacks a column; the first one of those is named.
    """
    ranges: list[InputRange] = []
    extra = {}
    with ThreadPoolExecutor(_PLANNING_THREADS) as pool:
        plans = list(pool.map(reader.plan, [info.path for info in inputs]))
    for info, plan in zip(inputs, plans, strict=True):
        ranges += [replace(part, index=len(ranges) + index) for index, part in enumerate(plan.ranges)]
        if unread := [name for name in plan.columns if name not in reader.columns]:
            extra[info.path] = unread
    return Planned(ranges, extra)
