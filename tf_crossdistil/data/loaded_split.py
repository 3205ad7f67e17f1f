# SPDX-License-Identifier: Apache-2.0
"""A split held in memory: parsed once, however many epochs and models read it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
# The training split of the data that is being worked with, the validation split, and one that is watched beside it.
_KEPT_SPLITS = 3


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
    """All rows of a split, tag by tag, and how many there are."""

    rows: PackedRows
    count: int


def fits_in_memory(data: PreparedData, experiment: Experiment, split: str) -> bool:
    """Whether a split is small enough to be held."""
    return bytes_in_memory(data, experiment, split) <= MOST_BYTES


def bytes_in_memory(data: PreparedData, experiment: Experiment, split: str) -> int:
    """What a split takes when it is held, with lists as long as they can be."""
    values = sum(column.longest or 1 for column in record_fields(experiment))
    return data.rows(split) * values * (4 if _are_ids_narrow(data, experiment) else 8)


def _are_ids_narrow(data: PreparedData, experiment: Experiment) -> bool:
    """Whether all ids fit into 32 bits."""
    tables = [data.metadata.embedding_rows(f) for f in experiment.features if isinstance(f, VocabularyFeature | HashedFeature)]
    return max(tables, default=0) <= tf.int32.max


def load_split(data: PreparedData, experiment: Experiment, split: str) -> LoadedSplit:
    """A split in memory, in the order of `split_batches`; the last ones loaded are kept for the next caller."""
    return _load(_Request(data.directory, data.metadata.run, experiment.schema_hash(), split, data, experiment))


@dataclass(frozen=True)
class _Request:
    """Equal to another one for the same rows, whatever else the experiments say."""

    directory: Path
    run: str
    schema_hash: str
    split: str
    data: PreparedData = field(compare=False)
    experiment: Experiment = field(compare=False)


@lru_cache(maxsize=_KEPT_SPLITS)
def _load(request: _Request) -> LoadedSplit:
    data, split = request.data, request.split
    tags = observed_tags(data.metadata.counts[split])
    return LoadedSplit(load_rows(data, request.experiment, split, tags), data.rows(split))


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
    for first in range(0, split.count, batch_size):
        yield split.rows.between(first, first + batch_size)
