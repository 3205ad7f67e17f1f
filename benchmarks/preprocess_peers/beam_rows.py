# SPDX-License-Identifier: Apache-2.0
"""Beam as its tutorials show it: a dictionary a row, `tf.train.Example`, one sink per split and tag."""

import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.preprocess_peers.job import BOUNDS, CATEGORICAL, HASHED, KEY, LABELS, NUMERIC, SPLITS, record_path, run_peer
from pipelines.beam import FnApiRunner, beam

Row = dict[str, Any]
Vocabularies = dict[str, dict[str, int]]
GROUPS = list(product(SPLITS, (f"{finish}{like}" for finish in (0, 1) for like in (0, 1))))


def group_of(row: Row) -> tuple[str, str]:
    """Split and tag of a row; a checksum of the key stands in for FarmHash, which is slow in Python."""
    key = "\x1f".join(str(row[name]) for name in KEY)
    position = zlib.crc32(key.encode()) / 2**32
    return SPLITS[sum(position >= bound for bound in BOUNDS)], "".join(str(row[name]) for name in LABELS)


def values_of(row: Row) -> Iterator[tuple[str, str]]:
    """The categorical features of a training row with their values."""
    if group_of(row)[0] == SPLITS[0]:
        for name in CATEGORICAL:
            yield name, str(row[name])


def number(feature: tuple[str, Iterable[tuple[str, int]]]) -> tuple[str, dict[str, int]]:
    """The ids of a feature's values out of their counts."""
    name, counts = feature
    kept = sorted((-count, value) for value, count in counts if count >= CATEGORICAL[name])
    return name, {value: 1 + position for position, (_, value) in enumerate(kept)}


def encode(row: Row, vocabularies: Vocabularies) -> tuple[tuple[str, str], bytes]:
    """Group and serialized example of a row."""
    feature = {}
    for name in CATEGORICAL:
        ids = vocabularies[name]
        feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[ids.get(str(row[name]), 1 + len(ids))]))
    for name, buckets in HASHED.items():
        bucket = zlib.crc32(str(row[name]).encode()) % buckets
        feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[bucket]))
    for name in (*NUMERIC, *LABELS):
        feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[float(row[name])]))
    return group_of(row), tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def write_records(logs: Path, output: Path) -> None:
    """Writes a file per split and tag."""
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        rows = pipeline | "read" >> beam.io.ReadFromParquet(str(logs))
        vocabularies = (
            rows
            | "values" >> beam.FlatMap(values_of)
            | "count" >> beam.combiners.Count.PerElement()
            | "by feature" >> beam.Map(lambda counted: (counted[0][0], (counted[0][1], counted[1])))
            | "gather" >> beam.GroupByKey()
            | "number" >> beam.Map(number)
        )
        examples = rows | "encode" >> beam.Map(encode, beam.pvalue.AsDict(vocabularies))
        parts = examples | "part" >> beam.Partition(lambda element, count: GROUPS.index(element[0]), len(GROUPS))
        for group, part in zip(GROUPS, parts, strict=True):
            path = record_path(output, *group)
            sink = partial(beam.io.WriteToTFRecord, shard_name_template="", compression_type="gzip")
            _ = part | f"bytes {group}" >> beam.Values() | f"write {group}" >> sink(str(path))


if __name__ == "__main__":
    run_peer(write_records)
