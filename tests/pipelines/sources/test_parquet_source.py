# SPDX-License-Identifier: Apache-2.0
"""Parquet files as blocks: row groups divided among ranges, types kept, memory bounded."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import parquet_source
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError

SOURCE = Source(format="parquet")


@pytest.mark.parametrize("range_rows", [1, 25, 10**6])
def test_ranges_and_blocks(tmp_path: Path, read, monkeypatch, range_rows: int) -> None:
    path = tmp_path / "logs.parquet"
    table = pa.table({"a": [str(row) for row in range(100)], "b": [[1]] * 100, "c": [f"c{row}" for row in range(100)]})
    pq.write_table(table, path, row_group_size=10)
    monkeypatch.setattr(parquet_source, "RANGE_ROWS", range_rows)
    monkeypatch.setattr(parquet_source, "BLOCK_ROWS", 7)
    reader = make_reader(SOURCE, ["a"])
    planned = plan_ranges(reader, find_inputs(reader, [str(path)]))
    assert len(planned.ranges) == {1: 10, 25: 4, 10**6: 1}[range_rows]
    assert planned.extra_columns == {str(path): ["b", "c"]}
    assert 0 < sum(part.weight for part in planned.ranges) < path.stat().st_size / 2
    rows, _ = read(path, ["c", "a"], SOURCE)
    assert rows == [(f"c{row}", str(row)) for row in range(100)]


def test_no_rows(tmp_path: Path, read) -> None:
    for groups in (pa.table({"a": pa.array([], pa.string())}), None):
        with pq.ParquetWriter(tmp_path / "logs", pa.schema({"a": pa.string()})) as writer:
            if groups is not None:
                writer.write_table(groups)
        assert read(tmp_path / "logs", ["a"], SOURCE) == ([], [])


def test_every_type_comes_as_it_is(tmp_path: Path, read) -> None:
    table = pa.table(
        {
            "list": pa.array([["a", None], None, []], pa.list_(pa.string())),
            "struct": pa.array([{"x": 1}, None, {"x": 2}], pa.struct({"x": pa.int64()})),
            "time": pa.array([0, None, 1], pa.timestamp("us", "UTC")),
            "nothing": pa.nulls(3),
            "list.element": pa.array([2**63 - 1, None, -(2**63)]),
            "decimal": pa.array([None, None, 1], pa.decimal128(38, 9)),
        }
    )
    pq.write_table(table, tmp_path / "logs")
    reader = make_reader(SOURCE, table.column_names)
    part = plan_ranges(reader, find_inputs(reader, [str(tmp_path / "logs")])).ranges[0]
    (block,) = reader.blocks(part)
    for name in table.column_names:
        assert block.columns[name].to_pylist() == table[name].to_pylist()
        assert block.columns[name].type == table[name].type or name == "list"


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.sampled_from(["", "é", "often"]), st.text(max_size=5)), min_size=1, max_size=60),
    group_rows=st.integers(1, 60),
    times=st.integers(1, 20),
)
def test_repeated_text_is_kept(tmp_path_factory, read, values, group_rows: int, times: int) -> None:
    path = tmp_path_factory.mktemp("parquet") / "logs"
    pq.write_table(pa.table({"a": pa.array(values * times, pa.string()), "b": range(len(values) * times)}), path, group_rows)
    assert read(path, ["a", "b"], SOURCE)[0] == list(zip(values * times, range(len(values) * times), strict=True))


@pytest.mark.parametrize("distinct, is_dictionary", [(50, True), (50_000, False)])
def test_few_texts_come_as_a_dictionary(tmp_path: Path, distinct: int, is_dictionary: bool) -> None:
    """A dictionary is handed on only where it is small: it comes again with every block."""
    texts = [f"user {row * 7919 % distinct}" for row in range(50_000)]
    pq.write_table(pa.table({"a": texts}), tmp_path / "logs")
    reader = make_reader(SOURCE, ["a"])
    part = plan_ranges(reader, find_inputs(reader, [str(tmp_path / "logs")])).ranges[0]
    (block,) = reader.blocks(part)
    assert pa.types.is_dictionary(block.columns["a"].type) == is_dictionary
    assert block.columns["a"].to_pylist() == texts


def test_long_fields_come_in_small_blocks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(parquet_source, "BLOCK_BYTES", 1 << 20)
    values = [bytes([row]) * 300_000 for row in range(20)]
    pq.write_table(pa.table({"a": values, "b": range(20)}), tmp_path / "logs", compression="none", use_dictionary=False)
    reader = make_reader(SOURCE, ["a", "b"])
    part = plan_ranges(reader, find_inputs(reader, [str(tmp_path / "logs")])).ranges[0]
    blocks = list(reader.blocks(part))
    assert max(block.rows for block in blocks) == 3
    assert [value for block in blocks for value in block.columns["a"].to_pylist()] == values


@pytest.mark.parametrize("lengths", [[10] * 4000, [0, 1] * 1000 + [500] * 20])
def test_repeated_texts_in_lists_come_in_small_blocks(tmp_path: Path, monkeypatch, lengths: list[int]) -> None:
    """They take few bytes in the file and many in memory."""
    monkeypatch.setattr(parquet_source, "BLOCK_BYTES", 1 << 20)
    words = [f"{word}" + "x" * 200 for word in range(20)]
    lists = [[words[(row + index) % 20] for index in range(length)] for row, length in enumerate(lengths)]
    pq.write_table(pa.table({"a": lists, "b": range(len(lists))}), tmp_path / "logs")
    assert (tmp_path / "logs").stat().st_size < 1 << 17
    reader = make_reader(SOURCE, ["a", "b"])
    part = plan_ranges(reader, find_inputs(reader, [str(tmp_path / "logs")])).ranges[0]
    blocks = list(reader.blocks(part))
    assert max(sum(column.nbytes for column in block.columns.values()) for block in blocks) <= 1 << 20
    assert [value for block in blocks for value in block.columns["a"].to_pylist()] == lists
    assert np.concatenate([block.positions for block in blocks]).tolist() == list(range(len(lists)))
    shares = [block.done for block in blocks]
    assert shares == sorted(set(shares)) and shares[-1] == 1


@pytest.mark.parametrize("elements, rows", [(1, 1000), (10, 100), (5000, 1)])
def test_rows_with_long_lists_are_read_few_at_a_time(tmp_path: Path, monkeypatch, elements: int, rows: int) -> None:
    monkeypatch.setattr(parquet_source, "BLOCK_ROWS", 1000)
    lists = pa.array([[7] * elements] * 1100)
    pq.write_table(pa.table({"a": lists}), tmp_path / "logs")
    reader = make_reader(SOURCE, ["a"])
    part = plan_ranges(reader, find_inputs(reader, [str(tmp_path / "logs")])).ranges[0]
    assert {block.rows for block in reader.blocks(part)} <= {rows, 1100 % rows}


@pytest.mark.slow
def test_memory_of_ten_megabyte_fields(tmp_path: Path) -> None:
    """A row group of 600 MB is not held at once."""
    noise = np.random.default_rng(0).bytes(10_000_000)
    with pq.ParquetWriter(tmp_path / "logs", pa.schema({"a": pa.binary()}), write_batch_size=1, use_dictionary=False) as writer:
        writer.write_table(pa.table({"a": [noise] * 60}))
    script = (
        "import sys; from pipelines.sources.inputs import *; from tf_crossdistil.config import Source\n"
        "reader = make_reader(Source(format='parquet'), ['a'])\n"
        "peak = lambda: int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
        "before = peak()\n"
        "ranges = plan_ranges(reader, find_inputs(reader, sys.argv[1:])).ranges\n"
        "rows = [block.rows for part in ranges for block in reader.blocks(part)]\n"
        "print(sum(rows), peak() - before)"
    )
    finished = subprocess.run([sys.executable, "-c", script, f"{tmp_path}/logs"], capture_output=True, text=True, check=True)
    rows, grown = map(int, finished.stdout.split())
    assert rows == 60 and grown / 1024 < 300


@pytest.mark.parametrize("left", [3, 100, -1, -100])
def test_truncated(tmp_path: Path, read, left: int) -> None:
    path = tmp_path / "logs"
    pq.write_table(pa.table({"a": range(1000)}), path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CrossDistilError, match=r"logs is (a damaged or truncated file|not a Parquet file)"):
        read(path, ["a"], SOURCE)


def test_damaged_pages(tmp_path: Path, read) -> None:
    path = tmp_path / "logs"
    pq.write_table(pa.table({"a": [f"{row}" for row in range(100_000)]}), path)
    content = bytearray(path.read_bytes())
    content[1000:60_000] = b"\xff" * 59_000
    path.write_bytes(content)
    with pytest.raises(CrossDistilError, match="logs is a damaged or truncated Parquet file: "):
        read(path, ["a"], SOURCE)


def test_columns_that_lack_or_come_twice(tmp_path: Path, read) -> None:
    pq.write_table(pa.table([pa.array([1])] * 3, names=["a", "a", "b"]), tmp_path / "logs")
    assert read(tmp_path / "logs", ["b"], SOURCE) == ([(1,)], [])
    with pytest.raises(CrossDistilError, match="two columns named 'a'"):
        read(tmp_path / "logs", ["a"], SOURCE)
    with pytest.raises(CrossDistilError, match="has no column 'c'"):
        read(tmp_path / "logs", ["c"], SOURCE)
