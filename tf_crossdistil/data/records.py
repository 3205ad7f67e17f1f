"""Records of a prepared data set as tf.data columns: one tensor `[rows]` a field."""

from pathlib import Path

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import PreparedData, record_fields

Columns = dict[str, tf.Tensor]

_READ_BUFFER = 4 << 20


def serialized_records(files: list[Path]) -> tf.data.Dataset:
    """The serialized tf.Examples of gzip TFRecord files, in an order that depends on the files only."""
    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in files])
    return paths.interleave(
        lambda path: tf.data.TFRecordDataset(path, compression_type="GZIP", buffer_size=_READ_BUFFER),
        cycle_length=min(len(files), 4),
        block_length=256,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def column_signature(experiment: Experiment) -> dict[str, tf.TensorSpec]:
    """The columns of a batch of records, each `[rows]`."""
    dtypes = {"int64": tf.int64, "float": tf.float32}
    return {field.name: tf.TensorSpec([None], dtypes[field.kind], field.name) for field in record_fields(experiment)}


def parse_records(experiment: Experiment, serialized: tf.Tensor) -> Columns:
    """Serialized tf.Examples `[rows]` as columns; parsing whole batches is ten times as fast as one by one."""
    spec = {name: tf.io.FixedLenFeature([], column.dtype) for name, column in column_signature(experiment).items()}
    return tf.io.parse_example(serialized, spec)


def split_batches(data: PreparedData, experiment: Experiment, split: str, batch_size: int) -> tf.data.Dataset:
    """A whole split once, as batches of columns, in the manifest's order."""
    return (
        serialized_records(data.record_files(split))
        .batch(batch_size)
        .map(lambda serialized: parse_records(experiment, serialized), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def feature_columns(experiment: Experiment, columns: Columns) -> Columns:
    """The columns that are features."""
    return {feature.name: columns[feature.name] for feature in experiment.features}


def label_matrix(experiment: Experiment, columns: Columns) -> tf.Tensor:
    """The labels `[rows, tasks]`, in tag order."""
    return tf.stack([columns[name] for name in experiment.task_names], axis=1)
