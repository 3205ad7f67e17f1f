"""A split held in memory: parsed once, however many epochs and models read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.records import Columns, concat_rows, parse_records, serialized_records
from tf_crossdistil.schema import PreparedData, record_fields
from tf_crossdistil.tags import observed_tags

# A split that takes more is read from its files in every epoch.
MOST_BYTES = 1 << 30
_VALUE_BYTES = 8
_PARSED_ROWS = 8192
# The training and the validation split of the data that is being worked with.
_KEPT_SPLITS = 2


@dataclass(frozen=True)
class LoadedSplit:
    """All rows of a split, tag by tag: `columns` `[rows]` or `[rows, longest]`, and each tag's first row and row count."""

    columns: Columns
    tags: dict[str, tuple[int, int]]


def fits_in_memory(data: PreparedData, experiment: Experiment, split: str) -> bool:
    """Whether a split is small enough to be held."""
    values = sum(field.longest or 1 for field in record_fields(experiment))
    return data.rows(split) * values * _VALUE_BYTES <= MOST_BYTES


def load_split(data: PreparedData, experiment: Experiment, split: str) -> LoadedSplit:
    """A split in memory, in the order of `split_batches`; the last ones loaded are kept for the next caller."""
    key = _Key(data.directory, data.metadata.run, experiment.schema_hash(), split)
    return _load(_Request(key, data, experiment))


@dataclass(frozen=True)
class _Key:
    directory: Path
    run: str
    schema_hash: str
    split: str


@dataclass(frozen=True)
class _Request:
    """Equal to another one for the same rows, whatever else the experiments say."""

    key: _Key
    data: PreparedData
    experiment: Experiment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Request) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=_KEPT_SPLITS)
def _load(request: _Request) -> LoadedSplit:
    parts, tags, first = [], {}, 0
    counts = request.data.metadata.counts[request.key.split]
    for tag in observed_tags(counts):
        parts.append(load_tag(request.data, request.experiment, request.key.split, tag))
        tags[tag] = (first, counts[tag])
        first += counts[tag]
    return LoadedSplit(concat_rows(parts), tags)


def load_tag(data: PreparedData, experiment: Experiment, split: str, tag: str) -> Columns:
    """All rows of a split that have a tag."""
    records = serialized_records(data.record_files(split, tag)).batch(_PARSED_ROWS)
    return concat_rows(list(records.map(lambda serialized: parse_records(experiment, serialized))))


def loaded_batches(split: LoadedSplit, batch_size: int) -> Iterator[Columns]:
    """A loaded split once, in its order."""
    rows = sum(count for _, count in split.tags.values())
    for first in range(0, rows, batch_size):
        yield {name: column[first : first + batch_size] for name, column in split.columns.items()}
