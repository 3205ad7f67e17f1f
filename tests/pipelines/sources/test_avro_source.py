# SPDX-License-Identifier: Apache-2.0
"""Avro files as blocks: types kept, unions and records taken apart, ranges that end where the file's blocks do."""

import io
from datetime import date, datetime, timezone
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import avro_source
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError

SOURCE = Source(format="avro")


def packed(types: dict[str, Any], rows: list[dict[str, Any]], codec: str = "deflate", sync_interval: int = 16_000) -> bytes:
    schema = {"type": "record", "name": "row", "fields": [{"name": name, "type": kind} for name, kind in types.items()]}
    target = io.BytesIO()
    fastavro.writer(target, schema, rows, codec=codec, sync_interval=sync_interval)
    return target.getvalue()


def write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "logs").write_bytes(content)
    return tmp_path / "logs"


NOON = datetime(2024, 5, 6, 12, tzinfo=timezone.utc)
ENUM = {"type": "enum", "name": "colour", "symbols": ["red", "blue"]}


@pytest.mark.parametrize(
    "kind, values, arrow",
    [
        ("long", [2**63 - 1, -(2**63)], "int64"),
        (["null", "int"], [None, 7], "int32"),
        (["double", "null"], [float("inf"), None], "double"),
        ("boolean", [True, False], "bool"),
        (["null", "string"], [None, "é"], "string"),
        ("bytes", [b"\xff", b""], "binary"),
        ({"type": "fixed", "name": "two", "size": 2}, [b"ab", b"cd"], "binary"),
        (ENUM, ["red", "blue"], "string"),
        ({"type": "array", "items": ["null", "long"]}, [[1, None], []], "list<item: int64>"),
        (["null", {"type": "array", "items": "string"}], [None, ["x"]], "list<item: string>"),
        ({"type": "long", "logicalType": "timestamp-millis"}, [NOON, NOON], "timestamp[ms, tz=UTC]"),
        (["null", {"type": "long", "logicalType": "timestamp-micros"}], [None, NOON], "timestamp[us, tz=UTC]"),
        ({"type": "int", "logicalType": "date"}, [date(2024, 5, 6), date(1969, 1, 1)], "date32[day]"),
        ({"type": "long", "logicalType": "unheard-of"}, [1, 2], "int64"),
        ("null", [None, None], "null"),
    ],
)
def test_types(tmp_path: Path, kind: Any, values: list[Any], arrow: str) -> None:
    path = write(tmp_path, packed({"a": kind, "b": "int"}, [{"a": value, "b": 0} for value in values]))
    reader = make_reader(SOURCE, ["a"])
    planned = plan_ranges(reader, find_inputs(reader, [str(path)]))
    (block,) = reader.blocks(planned.ranges[0])
    assert (str(block.columns["a"].type), block.columns["a"].to_pylist()) == (arrow, values)
    assert planned.extra_columns == {str(path): ["b"]}


@pytest.mark.parametrize(
    "kind, values, texts",
    [
        (["int", "string", "double"], [3, "x", 2.5], ["3", "x", "2.5"]),
        (["null", "long", {"type": "array", "items": "long"}], [None, [1, 2], 2**62], [None, ["1", "2"], str(2**62)]),
        (["bytes", "boolean"], [b"\xff", True], ["\ufdd0\\xff", "true"]),
        ({"type": "string", "logicalType": "uuid"}, [UUID(int=1)], ["00000000-0000-0000-0000-000000000001"]),
        ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}, [Decimal("1.50")], ["1.50"]),
    ],
)
def test_what_has_no_single_type_is_text(tmp_path: Path, read, kind: Any, values: list[Any], texts: list[Any]) -> None:
    assert read(write(tmp_path, packed({"a": kind}, [{"a": value} for value in values])), ["a"], SOURCE) == (
        [(text,) for text in texts],
        [],
    )


def test_records_and_maps_are_bad_rows(tmp_path: Path, read) -> None:
    inner = {"type": "record", "name": "inner", "fields": [{"name": "x", "type": "int"}]}
    types = {
        "a": ["null", "int", inner],
        "b": ["null", {"type": "map", "values": "int"}],
        "c": {"type": "array", "items": "inner"},
    }
    rows: list[dict[str, Any]] = [
        {"a": 1, "b": None, "c": []},
        {"a": {"x": 5}, "b": None, "c": []},
        {"a": 2, "b": {"k": 1}, "c": []},
        {"a": 3, "b": None, "c": [{"x": 1}]},
        {"a": None, "b": None, "c": []},
    ]
    path = write(tmp_path, packed(types, rows))
    good, rejected = read(path, ["a", "b", "c"], SOURCE)
    assert good == [("1", None, []), (None, None, [])]
    assert [reason for reason, _ in rejected] == ["wrong_type"] * 3
    assert rejected[0][1] == '{"a": {"x": 5}, "b": null, "c": []}'
    assert read(path, ["a"], SOURCE) == ([("1",), ("2",), ("3",), (None,)], [("wrong_type", rejected[0][1])])


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 300), sync=st.integers(10, 3000), range_bytes=st.integers(1, 5000), batch=st.integers(1, 400))
def test_ranges_and_blocks_of_any_size(tmp_path_factory, read, rows: int, sync: int, range_bytes: int, batch: int) -> None:
    values = [{"a": f"user {row * 7919 % 1000}", "b": row} for row in range(rows)]
    path = write(tmp_path_factory.mktemp("avro"), packed({"a": "string", "b": "long"}, values, sync_interval=sync))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(avro_source, "RANGE_BYTES", range_bytes)
        patch.setattr(avro_source, "BLOCK_ROWS", batch)
        assert read(path, ["b", "a"], SOURCE) == ([(row["b"], row["a"]) for row in values], [])
        reader = make_reader(SOURCE, ["a"])
        parts = plan_ranges(reader, find_inputs(reader, [str(path)])).ranges
        if rows * 4 > 10 * max(sync, range_bytes, 60):
            assert len(parts) > 1


def test_every_truncation_is_noticed(tmp_path: Path, read) -> None:
    """A file cut anywhere but between two of its blocks, which no reader can tell from a whole one."""
    rows = [{"a": row} for row in range(300)]
    content = packed({"a": "long"}, rows, sync_interval=300)
    whole = list(fastavro.block_reader(io.BytesIO(content)))
    ends = {block.offset + block.size for block in whole}
    for length in range(5, len(content)):
        if length in ends or length == whole[0].offset:
            continue
        with pytest.raises(CrossDistilError, match="logs is a damaged or truncated"):
            read(write(tmp_path, content[:length]), ["a"], SOURCE)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 10_000), byte=st.integers(1, 255))
def test_a_damaged_byte_is_a_sentence_or_other_values(tmp_path_factory, read, position: int, byte: int) -> None:
    rows = [{"a": f"user {row}", "t": NOON} for row in range(200)]
    content = bytearray(packed({"a": "string", "t": {"type": "long", "logicalType": "timestamp-micros"}}, rows, "null", 400))
    content[position % len(content)] ^= byte
    try:
        read(write(tmp_path_factory.mktemp("avro"), bytes(content)), ["a", "t"], SOURCE)
    except CrossDistilError as error:
        assert "logs" in str(error) and "\n" not in str(error)


def test_text_that_is_not_utf8_is_marked(tmp_path: Path, read) -> None:
    content = packed({"a": "string"}, [{"a": "x@"}, {"a": "y"}], "null").replace(b"x@", b"x\xff")
    assert read(write(tmp_path, content), ["a"], SOURCE) == ([("x\ufdd0\\xff",), ("y",)], [])


def test_codecs(tmp_path: Path, read) -> None:
    for codec in ("null", "deflate", "bzip2", "xz"):
        assert read(write(tmp_path, packed({"a": "int"}, [{"a": 1}], codec)), ["a"], SOURCE) == ([(1,)], [])
    content = packed({"a": "int"}, [{"a": 1}], "deflate").replace(b"deflate", b"snappie")
    with pytest.raises(CrossDistilError, match=r"cannot be decompressed: .*snappie; write it with the codec deflate"):
        read(write(tmp_path, content), ["a"], SOURCE)


@pytest.mark.skipif(find_spec("cramjam") is not None, reason="the library of the codec is installed")
def test_a_codec_whose_library_is_not_installed(tmp_path: Path, read) -> None:
    content = packed({"a": "int"}, [{"a": 1}], "deflate").replace(b"\x0edeflate", b"\x0csnappy")
    with pytest.raises(CrossDistilError, match=r"cannot be decompressed: .*snappy.*; write it with the codec deflate"):
        read(write(tmp_path, content), ["a"], SOURCE)


def test_no_table(tmp_path: Path, read) -> None:
    with pytest.raises(CrossDistilError, match="has no column 'a'"):
        read(write(tmp_path, packed({"b": "int"}, [{"b": 1}])), ["a"], SOURCE)
    target = io.BytesIO()
    fastavro.writer(target, "int", [1, 2])
    with pytest.raises(CrossDistilError, match="holds values of type int, expected records with columns"):
        read(write(tmp_path, target.getvalue()), ["a"], SOURCE)
