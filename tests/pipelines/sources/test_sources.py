"""Files as blocks: every row comes once, with its position, however the file is divided."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources import csv_source, parquet_source
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Source

Found = tuple[list[tuple[str, ...]], list[str]]


def read(path: Path, columns: list[str], source: Source) -> Found:
    """The rows of a file in the order of their positions, and the raw text of those rejected."""
    reader = make_reader(source, columns)
    rows, rejected = [], []
    for part in plan_ranges(reader, find_inputs([str(path)])):
        positions = []
        for block in reader.blocks(part):
            rows += list(zip(*(block.columns[name].to_pylist() for name in columns), strict=True))
            rejected += [row.raw for row in block.rejected]
            positions += [*block.positions.tolist(), *(row.position for row in block.rejected)]
        assert sorted(positions) == list(range(len(positions)))
    return rows, rejected


@pytest.fixture(params=["plain", "gzip"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / ("logs.csv" if request.param == "plain" else "logs.csv.gz")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    "content, rows, rejected",
    [
        (b"a,b,c\n1,2,3\n4,5,6\n", [("3", "1"), ("6", "4")], []),
        (b"a,b,c\r\n1,2,3\r\n4,5,6", [("3", "1"), ("6", "4")], []),
        (b"\xef\xbb\xbfa,b,c\n1,2,3\n", [("3", "1")], []),
        (b"a,b,c\n", [], []),
        (b"a,b,c\n\n1,2,3\n\n", [("3", "1")], []),
        (b' a , "b" ,c\n007,NA,null\n', [("null", "007")], []),
        (b'a,b,c\n"x,""y""\nz",2,3\n', [("3", 'x,"y"\nz')], []),
        (b'"a\nb",b,c,a\n9,2,3,1\n', [("3", "1")], []),
        (b"a,b,c\n1,2\n1,2,3\n1,2,3,4\n5,6,7\n8\n", [("3", "1"), ("7", "5")], ["1,2", "1,2,3,4", "8"]),
        (b"a,b,c\n1,\xff\n\xc3\xa9,2,3\n", [("3", "é")], ["1,\\xff"]),
        (b"a,b,c\n1,\xff,3\n", [("3", "1")], []),
    ],
)
def test_csv(packed: Path, content: bytes, rows: list[tuple[str, str]], rejected: list[str]) -> None:
    assert read(write(packed, content), ["c", "a"], Source()) == (rows, rejected)


def test_csv_without_header(packed: Path) -> None:
    source = Source(header=False, columns=["a", "b"], delimiter="\t")
    assert read(write(packed, b"1\t2\n3\t4\n"), ["b"], source) == ([("2",), ("4",)], [])


@pytest.mark.parametrize("range_bytes", [1, 50, 1000, 10**6])
def test_ranges_and_blocks_of_any_size_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_bytes: int
) -> None:
    content = "a,b\n" + "".join(f"{row},é{row}\n" if row % 10 else f"{row}\n" for row in range(300))
    path = write(tmp_path / "logs.csv", content.encode())
    monkeypatch.setattr(csv_source, "RANGE_BYTES", range_bytes)
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 64)
    ranges = plan_ranges(make_reader(Source(), ["a"]), find_inputs([str(path)]))
    assert (len(ranges) > 1) == (range_bytes < len(content))
    rows, rejected = read(path, ["a", "b"], Source())
    assert rows == [(str(row), f"é{row}") for row in range(300) if row % 10]
    assert rejected == [str(row) for row in range(0, 300, 10)]


def test_text_with_quotes_is_one_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "logs.csv", b"a,b\n" + b'1,"x\ny"\n' * 50)
    monkeypatch.setattr(csv_source, "RANGE_BYTES", 20)
    assert len(plan_ranges(make_reader(Source(), ["a"]), find_inputs([str(path)]))) == 1
    assert read(path, ["b"], Source()) == ([("x\ny",)] * 50, [])


def test_gzip_members_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "logs.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert read(path, ["a"], Source()) == ([("1",), ("3",)], [])


@pytest.mark.parametrize("range_rows", [1, 25, 10**6])
def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_rows: int) -> None:
    path = tmp_path / "logs.parquet"
    table = pa.table({"a": [str(row) for row in range(100)], "b": [[1]] * 100, "c": [f"c{row}" for row in range(100)]})
    pq.write_table(table, path, row_group_size=10)
    monkeypatch.setattr(parquet_source, "RANGE_ROWS", range_rows)
    monkeypatch.setattr(parquet_source, "BLOCK_ROWS", 7)
    ranges = plan_ranges(make_reader(Source(format="parquet"), ["a"]), find_inputs([str(path)]))
    assert len(ranges) == {1: 10, 25: 4, 10**6: 1}[range_rows]
    rows, _ = read(path, ["c", "a"], Source(format="parquet"))
    assert rows == [(f"c{row}", str(row)) for row in range(100)]


def test_patterns_name_each_file_once_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text("x")
    found = find_inputs([f"{tmp_path}/*.csv", f"{tmp_path}/a.csv", f"{tmp_path}/c.txt"])
    assert [Path(file.path).name for file in found] == ["a.csv", "b.csv", "c.txt"]
    assert all(file.size == 1 and file.modified > 0 for file in found)
