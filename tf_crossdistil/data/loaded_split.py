"""A split held in memory: parsed once, however many epochs and models read it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import tensorflow as tf

from tf_crossdistil.config import Experiment, HashedFeature, VocabularyFeature
from tf_crossdistil.data.records import Columns, concat_rows, parse_records, serialized_batches
from tf_crossdistil.schema import PreparedData, record_fields
from tf_crossdistil.tags import observed_tags

# A split that takes more is read from its files in every epoch.
MOST_BYTES = 1 << 30
_PARSED_ROWS = 8192
# The training and the validation split of the data that is being worked with.
_KEPT_SPLITS = 2


class PackedRows:
    """Rows of columns, those of one type side by side in one tensor `[rows, columns]`.

    A row gathered out of it is one place in memory and not one for each column. Ids of 32 bits are given back with 64.
    """

    def __init__(self, columns: Columns):
        single = {name: column for name, column in columns.items() if column.shape.rank == 1}
        self._lists = {name: column for name, column in columns.items() if name not in single}
        types = dict.fromkeys(column.dtype for column in single.values())
        self._names = [[name for name, column in single.items() if column.dtype == dtype] for dtype in types]
        self._packed = [tf.stack([single[name] for name in names], axis=1) for names in self._names]

    def gather(self, rows: tf.Tensor) -> Columns:
        """Columns of the rows `[count]`."""
        return self._columns(lambda values: tf.gather(values, rows))

    def between(self, first: int, end: int) -> Columns:
        """Columns of rows that follow each other."""
        return self._columns(lambda values: values[first:end])

    def _columns(self, choose: Callable[[tf.Tensor], tf.Tensor]) -> Columns:
        columns = {name: _wide(choose(column)) for name, column in self._lists.items()}
        for names, packed in zip(self._names, self._packed, strict=True):
            columns |= dict(zip(names, tf.unstack(_wide(choose(packed)), axis=1), strict=True))
        return columns


@dataclass(frozen=True)
class LoadedSplit:
    """All rows of a split, tag by tag, with each tag's first row and row count."""

    rows: PackedRows
    tags: dict[str, tuple[int, int]]


def fits_in_memory(data: PreparedData, experiment: Experiment, split: str) -> bool:
    """Whether a split is small enough to be held."""
    values = sum(field.longest or 1 for field in record_fields(experiment))
    return data.rows(split) * values * (4 if _are_ids_narrow(data, experiment) else 8) <= MOST_BYTES


def _are_ids_narrow(data: PreparedData, experiment: Experiment) -> bool:
    """Whether all ids fit into 32 bits."""
    tables = [data.metadata.embedding_rows(f) for f in experiment.features if isinstance(f, VocabularyFeature | HashedFeature)]
    return max(tables, default=0) <= tf.int32.max


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
    tags, first = {}, 0
    counts = request.data.metadata.counts[request.key.split]
    for tag in observed_tags(counts):
        tags[tag] = (first, counts[tag])
        first += counts[tag]
    return LoadedSplit(load_rows(request.data, request.experiment, request.key.split, list(tags)), tags)


def load_rows(data: PreparedData, experiment: Experiment, split: str, tags: Sequence[str]) -> PackedRows:
    """All rows of a split that have one of the tags, tag by tag."""
    keep = _narrow if _are_ids_narrow(data, experiment) else lambda columns: columns
    batches = [
        keep(parse_records(experiment, serialized))
        for tag in tags
        for serialized in serialized_batches(data.record_files(split, tag), _PARSED_ROWS)
    ]
    return PackedRows(concat_rows(batches))


def _narrow(columns: Columns) -> Columns:
    """Ids in 32 bits."""
    return {name: tf.cast(values, tf.int32) if values.dtype == tf.int64 else values for name, values in columns.items()}


def _wide(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.int64) if values.dtype == tf.int32 else values


def loaded_batches(split: LoadedSplit, batch_size: int) -> Iterator[Columns]:
    """A loaded split once, in its order."""
    rows = sum(count for _, count in split.tags.values())
    for first in range(0, rows, batch_size):
        yield split.rows.between(first, first + batch_size)
