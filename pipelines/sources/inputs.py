"""Input files: which they are, which reader takes them, and how they are divided among workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.beam import BeamIOError, FileSystems
from pipelines.sources.blocks import InputRange, Reader
from pipelines.sources.csv_source import CsvReader
from pipelines.sources.parquet_source import ParquetReader
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError

READERS: dict[str, Callable[[Source, Sequence[str]], Reader]] = {"csv": CsvReader, "parquet": ParquetReader}


@dataclass(frozen=True)
class InputInfo:
    """A file of logs; `modified` in seconds since 1970, 0 where the file system does not tell."""

    path: str
    size: int
    modified: float


def make_reader(source: Source, columns: Sequence[str]) -> Reader:
    """The reader of a source's format for some columns."""
    return READERS[source.format](source, columns)


def find_inputs(patterns: Sequence[str]) -> list[InputInfo]:
    """The files that any of the patterns matches, by path.

    Raises:
        CrossDistilError: a pattern matches no file, or a file is empty.
    """
    found = {}
    for pattern in patterns:
        try:
            matched = FileSystems.match([pattern])[0].metadata_list
        except (BeamIOError, ValueError) as error:
            raise CrossDistilError(f"cannot list {pattern}: {' '.join(str(error).split())}") from error
        if not matched:
            raise CrossDistilError(f"no file matches --input {pattern}; give a path or a quoted pattern such as 'logs/*.csv'")
        for file in matched:
            if not file.size_in_bytes:
                raise CrossDistilError(f"{file.path} is empty; expected rows of logs")
            found[file.path] = InputInfo(file.path, file.size_in_bytes, file.last_updated_in_seconds)
    return [found[path] for path in sorted(found)]


def plan_ranges(reader: Reader, inputs: Sequence[InputInfo]) -> list[InputRange]:
    """The ranges of all files, in order; every file has at least one.

    Raises:
        CrossDistilError: a file cannot be read or lacks a column.
    """
    parts = [(file.path, first, last) for file in inputs for first, last in reader.plan(file.path)]
    return [InputRange(index, *part) for index, part in enumerate(parts)]
