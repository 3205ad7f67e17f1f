# SPDX-License-Identifier: Apache-2.0
"""Records of a prepared data set as tf.data columns: a tensor `[rows]` a field, `[rows, longest]` a field with a list."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import tensorflow as tf

from tf_crossdistil.config import SAMPLE_WEIGHT, Experiment
from tf_crossdistil.schema import TRUTH_PREFIX, PreparedData, RecordField, record_fields
from tf_crossdistil.tags import observed_tags

Columns = dict[str, tf.Tensor]

_READ_BUFFER = 4 << 20
# Whatever tf.data does with single records costs more than parsing them.
CHUNK = 256
_DTYPES = {"int64": tf.int64, "float": tf.float32}


def steady_parallelism() -> tf.data.Options:
    """Options of all data sets of records: as many calls at a time as there are threads, at most 16, and no tuner.

    TensorFlow 2.21's tuner now and then misses that its iterator ended, and then holds up the end of an epoch for up to what
    the epoch took, a minute at most. Strategies of several replicas read through data sets of TensorFlow's own as well, which
    are tuned all the same.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def serialized_chunks(files: list[Path]) -> tf.data.Dataset:
    """The serialized tf.Examples of gzip TFRecord files, 256 or fewer at a time.

    The order depends on the files only.
    """
    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in files])
    return paths.interleave(
        lambda path: tf.data.TFRecordDataset(path, compression_type="GZIP", buffer_size=_READ_BUFFER).batch(CHUNK),
        cycle_length=min(len(files), 4),
        block_length=1,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    ).with_options(steady_parallelism())


def serialized_batches(files: list[Path], size: int) -> tf.data.Dataset:
    """The serialized tf.Examples of files in batches `[size]`, the last one of what is left."""
    return serialized_chunks(files).rebatch(size)


def column_signature(experiment: Experiment) -> dict[str, tf.TensorSpec]:
    """The columns of a batch of records: `[rows]`, or `[rows, longest]` for lists, padded with 0 to the batch's longest."""
    return {
        field.name: tf.TensorSpec([None] if field.longest is None else [None, None], _DTYPES[field.kind], field.name)
        for field in record_fields(experiment)
    }


def parse_records(experiment: Experiment, serialized: tf.Tensor) -> Columns:
    """Serialized tf.Examples `[rows]` as columns; parsing whole batches is ten times as fast as one by one."""
    return tf.io.parse_example(serialized, {field.name: _parser(field) for field in record_fields(experiment)})


def _parser(field: RecordField) -> tf.io.FixedLenFeature | tf.io.FixedLenSequenceFeature:
    if field.longest is None:
        return tf.io.FixedLenFeature([], _DTYPES[field.kind])
    return tf.io.FixedLenSequenceFeature([], _DTYPES[field.kind], allow_missing=True)


def concat_rows(parts: Sequence[Columns]) -> Columns:
    """Batches behind one another; lists are padded with 0 to the longest of all."""
    return {name: tf.concat(_equally_wide([part[name] for part in parts]), axis=0) for name in parts[0]}


def _equally_wide(columns: list[tf.Tensor]) -> list[tf.Tensor]:
    if columns[0].shape.rank == 1:
        return columns
    longest = reduce(tf.maximum, [tf.shape(column)[1] for column in columns])
    return [tf.pad(column, [[0, 0], [0, longest - tf.shape(column)[1]]]) for column in columns]


def split_batches(data: PreparedData, experiment: Experiment, split: str, batch_size: int) -> tf.data.Dataset:
    """A whole split once, as batches of columns, tag by tag."""
    tags = observed_tags(data.metadata.counts[split])
    by_tag = [serialized_chunks(data.record_files(split, tag)) for tag in tags]
    return (
        reduce(tf.data.Dataset.concatenate, by_tag)
        .rebatch(batch_size)
        .map(lambda serialized: parse_records(experiment, serialized), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def feature_columns(experiment: Experiment, columns: Columns) -> Columns:
    """The columns that are features, or weights of features."""
    others = {name for task in experiment.task_names for name in (task, TRUTH_PREFIX + task)} | {SAMPLE_WEIGHT}
    return {name: column for name, column in columns.items() if name not in others}


def label_matrix(experiment: Experiment, columns: Columns) -> tf.Tensor:
    """The labels of all tasks `[rows, tasks]`: 0 or 1, or a regression's number; NaN where one is missing."""
    return tf.stack([columns[name] for name in experiment.task_names], axis=1)


def binary_labels(experiment: Experiment, columns: Columns) -> tf.Tensor:
    """The labels that make a row's tag `[rows, binary tasks]`, in tag order; NaN where one is missing."""
    return tf.stack([columns[name] for name in experiment.binary_names], axis=1)
