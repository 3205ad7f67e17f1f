# SPDX-License-Identifier: Apache-2.0
"""The script after an expert looked at it: one message used again for every row, and plain tuples."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.preprocess_peers.job import CATEGORICAL, HASHED, LABELS, NUMERIC, record_path, run_peer
from benchmarks.preprocess_peers.polars_table import encoded_table

_ROWS_AT_A_TIME = 100_000


def write_records(logs: Path, output: Path, options: Any = "GZIP") -> None:
    """Writes a file per split and tag with the `options` of TFRecordWriter."""
    example = tf.train.Example()
    values = [example.features.feature[name].int64_list.value for name in (*CATEGORICAL, *HASHED)]
    values += [example.features.feature[name].float_list.value for name in (*NUMERIC, *LABELS)]
    for value in values:
        value.append(0)
    for (split, tag), rows in encoded_table(logs).partition_by("split", "tag", include_key=False, as_dict=True).items():
        with tf.io.TFRecordWriter(str(record_path(output, str(split), str(tag))), options) as writer:
            for part in rows.iter_slices(_ROWS_AT_A_TIME):
                for row in zip(*(column.to_list() for column in part), strict=True):
                    for value, stored in zip(values, row, strict=True):
                        value[0] = stored
                    writer.write(example.SerializeToString())


if __name__ == "__main__":
    run_peer(write_records)
