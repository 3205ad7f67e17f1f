# SPDX-License-Identifier: Apache-2.0
"""Which files are read, on any file system, and what is said of those that are not what they should be."""

import gzip
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources import bigquery_source, csv_source, jsonl_source
from pipelines.sources.blocks import Block, FilePlan, InputRange, Reader
from pipelines.sources.inputs import InputInfo, find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError, UsageError

ROWS = [{"a": f"é{row}", "b": row, "c": "x"} for row in range(50)]


def _csv() -> bytes:
    return ("a,b,c\n" + "".join(f"{row['a']},{row['b']},{row['c']}\n" for row in ROWS)).encode()


def _jsonl() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def _parquet() -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), target)
    return target.getvalue()


def _avro() -> bytes:
    kinds = {"a": "string", "b": "long", "c": "string"}
    target = io.BytesIO()
    schema = {"type": "record", "name": "row", "fields": [{"name": name, "type": kind} for name, kind in kinds.items()]}
    fastavro.writer(target, schema, ROWS)
    return target.getvalue()


CONTENT = {"csv": _csv(), "jsonl": _jsonl(), "parquet": _parquet(), "avro": _avro()}
LOOKS = {"csv": "text|JSON", "jsonl": "JSON lines", "parquet": "a Parquet file", "avro": "an Avro file"}


@pytest.mark.parametrize("name", CONTENT)
def test_any_file_system(name: str, memory: dict[str, bytes], read) -> None:
    for path in ("memory://logs/day2", "memory://logs/day1", "memory://other/day1"):
        memory[path] = CONTENT[name]
    reader = make_reader(Source(format=name), ["b", "a"])
    inputs = find_inputs(reader, ["memory://logs/day*", "memory://logs/day2"])
    assert [(info.path, info.size, info.modified) for info in inputs] == [
        (f"memory://logs/day{day}", len(CONTENT[name]), 5.0) for day in (1, 2)
    ]
    planned = plan_ranges(reader, inputs)
    assert [part.index for part in planned.ranges] == [0, 1]
    assert planned.extra_columns == {info.path: ["c"] for info in inputs}
    rows, rejected = read("memory://logs/day1", ["a", "b"], Source(format=name))
    assert [(a, int(b)) for a, b in rows] == [(row["a"], row["b"]) for row in ROWS] and not rejected


def test_no_extra_columns(memory: dict[str, bytes]) -> None:
    memory["memory://logs/1"] = CONTENT["csv"]
    reader = make_reader(Source(), ["c", "b", "a"])
    assert plan_ranges(reader, find_inputs(reader, ["memory://logs/1"])).extra_columns == {}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_shares_that_are_done(tmp_path: Path, monkeypatch, name: str, pack: Callable[[bytes], bytes]) -> None:
    """They tell of rows that were given out, not of bytes that a parser has read ahead."""
    for module in (csv_source, jsonl_source):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 18)
    total = 150_000
    rows = np.random.default_rng(0).integers(0, 10**6, (total, 2)).tolist()
    texts = {"csv": "".join(f"{a},{b}\n" for a, b in rows), "jsonl": "".join(f'{{"a":{a},"b":{b}}}\n' for a, b in rows)}
    (tmp_path / "logs").write_bytes(pack((f"a,b\n{texts[name]}" if name == "csv" else texts[name]).encode()))
    reader = make_reader(Source(format=name), ["b"])
    (part,) = plan_ranges(reader, find_inputs(reader, [str(tmp_path / "logs")])).ranges
    shares, read = [], 0
    for block in reader.blocks(part):
        read += block.rows
        shares.append(block.done)
        assert block.done == pytest.approx(read / total, abs=0.15)
    assert read == total and len(shares) > 3
    assert shares == sorted(set(shares)) and shares[-1] < 1


@pytest.mark.parametrize("found", CONTENT)
@pytest.mark.parametrize("expected", CONTENT)
def test_a_file_of_another_format(tmp_path: Path, read, found: str, expected: str) -> None:
    path = tmp_path / f"logs.{expected}"
    path.write_bytes(CONTENT[found])
    if found == expected:
        assert len(read(path, ["a"], Source(format=expected))[0]) == len(ROWS)
        return
    with pytest.raises(CrossDistilError) as caught:
        read(path, ["a"], Source(format=expected))
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and "set source.format to what the file is" in message
    assert any(look in message for look in LOOKS[found].split("|"))


@pytest.mark.parametrize("expected", ["parquet", "avro"])
@pytest.mark.parametrize(
    "content, says",
    [
        (gzip.compress(b"a,b\n", mtime=0), "it looks like a file compressed with gzip"),
        (bytes(range(200)), "it looks like binary data"),
        (b"PK\x03\x04" + b"x" * 99, "it looks like a zip archive"),
        (b"x", "it looks like text"),
    ],
)
def test_a_file_of_no_known_format(tmp_path: Path, read, expected: str, content: bytes, says: str) -> None:
    (tmp_path / "logs").write_bytes(content)
    with pytest.raises(CrossDistilError, match=says):
        read(tmp_path / "logs", ["a"], Source(format=expected))


def test_patterns_name_each_file_once_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text("x")
    reader = make_reader(Source(), ["x"])
    found = find_inputs(reader, [f"{tmp_path}/*.csv", f"{tmp_path}/a.csv", f"{tmp_path}/c.txt"])
    assert [Path(file.path).name for file in found] == ["a.csv", "b.csv", "c.txt"]
    assert all(file.size == 1 and file.modified > 0 for file in found)


def test_a_file_is_one_however_its_path_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.csv").write_text("x")
    monkeypatch.chdir(tmp_path)
    reader = make_reader(Source(), ["x"])
    spellings = ["logs/a.csv", "./logs/a.csv", "logs/../logs/*.csv", f"{tmp_path}//logs/a.csv"]
    (alone,) = {info for spelling in spellings for info in find_inputs(reader, [spelling])}
    assert find_inputs(reader, spellings) == [alone]
    assert alone.path == str(tmp_path / "logs" / "a.csv")


class SlowReader(Reader):
    """Plans that wait for one another and end in another order than they began; those of bad files fail."""

    def __init__(self, together: int) -> None:
        super().__init__(Source(), ["a"])
        self._all_here = threading.Barrier(together, timeout=10)

    def plan(self, path: str) -> FilePlan:
        self._all_here.wait()
        number = int(path.rpartition("/")[2].removeprefix("bad"))
        time.sleep(0.01 * (8 - number))
        if "bad" in path:
            raise CrossDistilError(f"{path} is bad")
        return FilePlan([InputRange(0, path, 0, 1), InputRange(0, path, 1, 2)], ["a", f"extra {number}"])

    def blocks(self, part: InputRange) -> Iterator[Block]:
        raise NotImplementedError


def test_inputs_are_planned_side_by_side_in_order() -> None:
    paths = [f"logs/{number}" for number in range(8)]
    planned = plan_ranges(SlowReader(8), [InputInfo(path, 1, 0.0) for path in paths])
    assert [(part.index, part.path) for part in planned.ranges] == list(enumerate(sorted(paths * 2)))
    assert list(planned.extra_columns.items()) == [(path, [f"extra {path[-1]}"]) for path in paths]


def test_the_first_bad_input_is_named() -> None:
    paths = ["logs/0", "logs/1", "logs/bad2", "logs/3", "logs/bad4", "logs/5", "logs/6", "logs/bad7"]
    with pytest.raises(CrossDistilError, match="logs/bad2 is bad"):
        plan_ranges(SlowReader(8), [InputInfo(path, 1, 0.0) for path in paths])


@pytest.mark.parametrize(
    "pattern, says",
    [
        ("{folder}/none*.csv", "no file matches --input {folder}/none"),
        ("{folder}/empty", "{folder}/empty is empty"),
        ("nosuchscheme://logs/*", "cannot list nosuchscheme://logs/"),
    ],
)
def test_inputs_that_cannot_be(tmp_path: Path, pattern: str, says: str) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(CrossDistilError) as caught:
        find_inputs(make_reader(Source(), ["a"]), [pattern.format(folder=tmp_path)])
    assert says.format(folder=tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", CONTENT)
def test_a_folder_and_a_file_that_went_away(tmp_path: Path, name: str) -> None:
    reader = make_reader(Source(format=name), ["a"])
    (tmp_path / "logs").mkdir()
    with pytest.raises(CrossDistilError, match="logs"):
        plan_ranges(reader, find_inputs(reader, [str(tmp_path / "logs")]))
    (tmp_path / "file").write_bytes(CONTENT[name])
    inputs = find_inputs(reader, [str(tmp_path / "file")])
    (part,) = plan_ranges(reader, inputs).ranges
    (tmp_path / "file").unlink()
    for attempt in (lambda: plan_ranges(reader, inputs), lambda: list(reader.blocks(part))):
        with pytest.raises(CrossDistilError, match=f"cannot read {tmp_path}/file: No such file"):
            attempt()


def test_bigquery_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(bigquery_source, "import_module", absent)
    with pytest.raises(UsageError, match=r"run pip install '\.\[gcp\]' in a clone"):
        find_inputs(make_reader(Source(format="bigquery"), ["user"]), ["project.dataset.table"])
