# SPDX-License-Identifier: Apache-2.0
"""Records are tf.Examples that TensorFlow reads back as they went in."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.encoding.encode import RecordEncoder
from pipelines.encoding.fields import Field

LARGEST = 2**63 - 1


def read_back(content: bytes, path: Path) -> list[bytes]:
    """The records of TFRecord bytes; TensorFlow checks both checksums of each."""
    path.write_bytes(gzip.compress(content))
    return [record.numpy() for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP")]


def test_parsed_by_protobuf_and_by_parse_example(tmp_path: Path) -> None:
    rows = 5000
    generator = np.random.default_rng(0)
    fields = [
        Field("one", "int64", 1),
        Field("two bytes", "int64", 300),
        Field("größte", "int64", LARGEST),
        Field("signed", "int64", -1),
        Field("number", "float"),
        Field("n" * 200, "float"),
    ]
    columns: dict[str, Any] = {
        "one": generator.integers(0, 2, rows),
        "two bytes": generator.integers(0, 301, rows),
        "größte": generator.integers(0, LARGEST, rows, endpoint=True),
        "signed": generator.integers(-(2**63), LARGEST, rows, endpoint=True),
        "number": generator.normal(size=rows),
        "n" * 200: generator.normal(size=rows).astype(np.float32),
    }
    columns["größte"][:3] = [0, LARGEST, 127]
    columns["signed"][:3] = [-1, -(2**63), LARGEST]
    encoder = RecordEncoder(fields)
    data, ends = encoder.encode(columns)
    np.testing.assert_array_equal(ends, np.arange(1, rows + 1) * encoder.record_bytes)

    serialized = read_back(data.tobytes(), tmp_path / "records.gz")
    assert len(serialized) == rows
    example = tf.train.Example.FromString(serialized[1]).features.feature
    assert set(example) == {field.name for field in fields}
    assert example["größte"].int64_list.value == [LARGEST]
    assert example["signed"].int64_list.value == [-(2**63)]
    assert example["number"].float_list.value == [np.float32(columns["number"][1])]

    kinds = {"int64": tf.int64, "float": tf.float32}
    parsed = tf.io.parse_example(serialized, {f.name: tf.io.FixedLenFeature([], kinds[f.kind]) for f in fields})
    for name, column in columns.items():
        np.testing.assert_array_equal(parsed[name].numpy(), column.astype(parsed[name].numpy().dtype), err_msg=name)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda name: name.isprintable()),
        st.lists(st.integers(0, LARGEST), min_size=3, max_size=3),
        min_size=1,
        max_size=12,
    )
)
def test_any_names_and_ids(ids: dict[str, list[int]]) -> None:
    encoder = RecordEncoder([Field(name, "int64", max(values)) for name, values in ids.items()])
    data, _ = encoder.encode({name: np.array(values) for name, values in ids.items()})
    for row, record in enumerate(data.reshape(-1, encoder.record_bytes)):
        example = tf.train.Example.FromString(record[12:-4].tobytes()).features.feature
        assert {name: list(value.int64_list.value) for name, value in example.items()} == {n: [v[row]] for n, v in ids.items()}


@pytest.mark.parametrize("largest, width", [(0, 1), (127, 1), (128, 2), (16383, 2), (16384, 3), (LARGEST, 9), (-1, 10)])
def test_width_is_that_of_the_largest_id(largest: int, width: int) -> None:
    assert Field("id", "int64", largest).width == width


def test_no_rows() -> None:
    encoder = RecordEncoder([Field("id", "int64", 3)])
    data, ends = encoder.encode({"id": np.zeros(0, np.int64)})
    assert (len(data), len(ends)) == (0, 0)
