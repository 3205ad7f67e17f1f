# SPDX-License-Identifier: Apache-2.0
"""Records with lists are tf.Examples that TensorFlow and Beam read back as they went in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from apache_beam.io.tfrecordio import _TFRecordUtil
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.encoding.fields import Field
from pipelines.encoding.lists import ListColumn, ListRecordEncoder

LARGEST = 2**63 - 1
FIELDS = [Field("id", "int64", 300), Field("zahl ö", "float")]
LISTS = [
    Field("tags", "int64", 70_000),
    Field("tags_weights", "float"),
    Field("größte", "int64", LARGEST),
    Field("signed", "int64", -1),
]


def column(lists: list[list[Any]], kind: Any) -> ListColumn:
    values = np.array([value for values in lists for value in values], kind)
    return ListColumn(values, np.concatenate([[0], np.cumsum([len(values) for values in lists])]).astype(np.int64))


def encode(content: dict[str, list[Any]]) -> tuple[bytes, np.ndarray]:
    lists = {field.name: column(content[field.name], np.int64 if field.kind == "int64" else np.float64) for field in LISTS}
    single = {field.name: np.array(content[field.name]) for field in FIELDS}
    data, ends = ListRecordEncoder(FIELDS, LISTS).encode({**single, **lists})
    return data.tobytes(), ends


def random_content(rows: int) -> dict[str, list[Any]]:
    generator = np.random.default_rng(0)

    def lists(low: int, high: int) -> list[list[int]]:
        return [generator.integers(low, high, count, endpoint=True).tolist() for count in generator.integers(0, 40, rows)]

    tags = lists(1, 70_000)
    return {
        "id": generator.integers(0, 301, rows).tolist(),
        "zahl ö": generator.normal(size=rows).astype(np.float32).tolist(),
        "tags": tags,
        "tags_weights": [generator.random(len(values)).astype(np.float32).tolist() for values in tags],
        "größte": lists(0, LARGEST),
        "signed": lists(-(2**63), LARGEST),
    }


@pytest.fixture(scope="module")
def content() -> dict[str, list[Any]]:
    return random_content(1500)


@pytest.fixture(scope="module")
def file(content: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "records.tfrecord"
    data, ends = encode(content)
    assert ends[-1] == len(data)
    path.write_bytes(data)
    return path


def by_protobuf(record: bytes) -> dict[str, list[Any]]:
    features = tf.train.Example.FromString(record).features.feature
    return {name: list(getattr(value, value.WhichOneof("kind")).value) for name, value in features.items()}


def row_of(content: dict[str, list[Any]], row: int) -> dict[str, list[Any]]:
    single = {field.name: [content[field.name][row]] for field in FIELDS}
    return {**single, **{field.name: content[field.name][row] for field in LISTS}}


def test_every_field_of_every_record_by_protobuf(content: dict[str, list[Any]], file: Path) -> None:
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(file))]
    assert len(records) == 1500
    assert [by_protobuf(record) for record in records] == [row_of(content, row) for row in range(1500)]
    kinds = tf.train.Example.FromString(records[0]).features.feature
    assert kinds["tags"].WhichOneof("kind") == "int64_list"


@pytest.mark.parametrize("batch", [1, 64])
def test_parse_example_as_sequences_and_as_ragged(content: dict[str, list[Any]], file: Path, batch: int) -> None:
    sequence = tf.io.FixedLenSequenceFeature
    padded_spec = {
        "id": tf.io.FixedLenFeature([], tf.int64),
        "tags": sequence([], tf.int64, allow_missing=True),
        "tags_weights": sequence([], tf.float32, allow_missing=True),
        "signed": sequence([], tf.int64, allow_missing=True),
    }
    ragged_spec = {
        "tags": tf.io.RaggedFeature(tf.int64),
        "tags_weights": tf.io.RaggedFeature(tf.float32),
        "größte": tf.io.RaggedFeature(tf.int64),
    }
    first = next(iter(tf.data.TFRecordDataset(str(file)).batch(batch)))
    padded = tf.io.parse_example(first, padded_spec)
    assert padded["id"].numpy().tolist() == content["id"][:batch]
    for name in ("tags", "tags_weights", "signed"):
        longest = max(len(values) for values in content[name][:batch])
        expected = [values + [0] * (longest - len(values)) for values in content[name][:batch]]
        assert padded[name].numpy().tolist() == expected, name
    ragged = tf.io.parse_example(first, ragged_spec)
    for name in ragged_spec:
        assert ragged[name].to_list() == content[name][:batch], name


def beam_records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while (record := _TFRecordUtil.read_record(stream)) is not None:
            yield record


def test_beam_reads_and_checks_every_record(content: dict[str, list[Any]], file: Path, tmp_path: Path) -> None:
    assert [by_protobuf(record)["tags"] for record in beam_records(file)] == content["tags"]
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(ValueError):
        list(beam_records(tmp_path / "damaged"))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.floats(width=32, allow_nan=False),
            st.lists(st.integers(0, 70_000), max_size=200),
            st.lists(st.floats(width=32, allow_nan=False), max_size=3),
            st.lists(st.integers(0, LARGEST), max_size=3),
            st.lists(st.integers(-(2**63), LARGEST), max_size=3),
        ),
        max_size=5,
    )
)
def test_any_lists(rows: list[tuple[Any, ...]]) -> None:
    content = {field.name: [row[position] for row in rows] for position, field in enumerate([*FIELDS, *LISTS])}
    data, ends = encode(content)
    starts = [0, *ends.tolist()]
    for row in range(len(rows)):
        record = data[starts[row] : starts[row + 1]]
        assert by_protobuf(record[12:-4]) == row_of(content, row)
        assert int.from_bytes(record[:8], "little") == len(record) - 16
