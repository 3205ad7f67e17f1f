# SPDX-License-Identifier: Apache-2.0
"""The script that people write: polars, then one `tf.train.Example` a row into gzip files."""

from pathlib import Path

import tensorflow as tf

from benchmarks.preprocess_peers.job import CATEGORICAL, HASHED, LABELS, NUMERIC, record_path, run_peer
from benchmarks.preprocess_peers.polars_table import encoded_table


def write_records(logs: Path, output: Path) -> None:
    """Writes a file per split and tag."""
    writers: dict[tuple[str, str], tf.io.TFRecordWriter] = {}
    for row in encoded_table(logs).iter_rows(named=True):
        group = row["split"], row["tag"]
        if group not in writers:
            writers[group] = tf.io.TFRecordWriter(str(record_path(output, *group)), "GZIP")
        feature = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=[row[name]])) for name in (*CATEGORICAL, *HASHED)}
        for name in (*NUMERIC, *LABELS):
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[row[name]]))
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        writers[group].write(example.SerializeToString())
    for writer in writers.values():
        writer.close()


if __name__ == "__main__":
    run_peer(write_records)
