# SPDX-License-Identifier: Apache-2.0
"""Tables that logs are joined with, against a row-by-row look-up in Python."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.checking.dead_letters import dead_letters
from pipelines.checking.validate import Validator
from pipelines.sources import csv_source
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from pipelines.sources.joins import check_matched, load_table, unmatched_warnings
from tf_crossdistil.config import Source
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.errors import CrossDistilError, UsageError

LOGS: list[dict[str, Any]] = [{"user": number * 7 % 50, "item": f"i{number % 9}", "seen": number} for number in range(300)]
USERS: list[dict[str, Any]] = [
    {"user": number, "city": f"é{number % 4}", "age": number / 4, "unread": "x"} for number in range(40)
]
ITEMS: list[dict[str, Any]] = [
    {"item": f"i{number}", "tags": [f"t{tag}" for tag in range(number % 3)]} for number in range(1, 9)
]


def _csv(rows: list[dict[str, Any]]) -> bytes:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return "\n".join(lines).encode()


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


def _avro(rows: list[dict[str, Any]]) -> bytes:
    kinds = {int: "long", str: "string", float: "double"}
    fields = [{"name": name, "type": kinds[type(value)]} for name, value in rows[0].items()]
    target = io.BytesIO()
    fastavro.writer(target, {"type": "record", "name": "row", "fields": fields}, rows)
    return target.getvalue()


WRITERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "avro": _avro}
JOINS: list[dict[str, Any]] = [
    {"file": "users", "key": "user", "columns": ["user", "city", "age", "unread"]},
    {"file": "items", "format": "jsonl", "key": "item", "columns": ["item", "tags"]},
]


@pytest.mark.parametrize("table", ["csv", "jsonl", "parquet", "avro"])
@pytest.mark.parametrize("logs", ["csv", "jsonl", "parquet", "avro"])
def test_every_format_with_every_other(memory: dict[str, bytes], read, logs: str, table: str) -> None:
    memory["memory://day1/logs"] = WRITERS[logs](LOGS)
    memory["memory://day1/users"] = WRITERS[table](USERS)
    memory["memory://day1/items"] = _jsonl(ITEMS)
    joins = [JOINS[0] | {"format": table}, JOINS[1]]
    rows, rejected = read("memory://day1/logs", ["seen", "city", "age", "tags"], Source(format=logs, joins=joins))
    cities = {row["user"]: row["city"] for row in USERS}
    ages = {row["user"]: row["age"] for row in USERS}
    tags = {row["item"]: row["tags"] for row in ITEMS}
    assert not rejected
    assert [(int(seen), city, age if age is None else float(age), kept) for seen, city, age, kept in rows] == [
        (row["seen"], cities.get(row["user"]), ages.get(row["user"]), tags.get(row["item"])) for row in LOGS
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Logs and tables in one folder."""
    for name, content in (("logs", _csv(LOGS)), ("users", _csv(USERS)), ("items", _jsonl(ITEMS))):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_rows_without_a_match_are_counted_in_every_range(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "RANGE_BYTES", 500)
    reader = make_reader(Source(joins=JOINS), ["seen", "city", "tags"])
    inputs = find_inputs(reader, [f"{folder}/logs"])
    assert [(Path(info.path).name, info.joined) for info in inputs] == [("logs", False), ("users", True), ("items", True)]
    planned = plan_ranges(reader, inputs)
    assert len(planned.ranges) > 3 and {part.path for part in planned.ranges} == {f"{folder}/logs"}
    assert planned.extra_columns == {f"{folder}/users": ["age", "unread"]}
    before = load_table.cache_info()
    blocks = [block for part in planned.ranges for block in reader.blocks(part)]
    assert load_table.cache_info().misses == before.misses, "a process reads a table once"
    counted = {name: sum(block.unmatched[f"{folder}/{name}"] for block in blocks) for name in ("users", "items")}
    expected = {"users": sum(row["user"] >= 40 for row in LOGS), "items": sum(row["item"] == "i0" for row in LOGS)}
    assert counted == expected and min(expected.values()) > 0
    assert sum(block.columns["city"].null_count for block in blocks) == expected["users"]


def test_a_path_of_a_table_is_no_pattern(tmp_path: Path, read) -> None:
    (tmp_path / "x").write_text("user,seen\n1,a\n")
    (tmp_path / "users [1]?.csv").write_text("user,city\n1,x\n")
    source = Source(joins=[{"file": "users [1]?.csv", "key": "user", "columns": ["user", "city"]}])
    assert read(tmp_path / "x", ["city"], source) == ([("x",)], [])


def test_a_table_of_which_no_row_matches() -> None:
    check_matched({"users": 0, "items": 9}, 10)
    check_matched({"users": 0}, 0)
    with pytest.raises(CrossDistilError, match=r"no row of the logs, 10 in all, has its key in the table items, expected some"):
        check_matched({"users": 0, "items": 10}, 10)


def test_warnings_of_rows_without_a_match() -> None:
    assert unmatched_warnings({"users": 0}, 10) == []
    (warning,) = unmatched_warnings({"users": 0, "items": 1_500}, 20_000)
    assert warning == "1,500 of 20,000 rows (7.50%) have no row in items; its columns are missing there"


def test_keys_are_compared_as_text(tmp_path: Path, read) -> None:
    """As categorical features are: the number 7.0 and the text " 7 " are one value; a missing key matches nothing."""
    (tmp_path / "logs").write_text("user,seen\n7.0,a\n 7 ,b\n,c\n07,d\nNone,e\n")
    pq.write_table(pa.table({"user": [7.0, 8.0], "city": ["x", "y"]}), tmp_path / "users")
    source = Source(joins=[{"file": "users", "format": "parquet", "key": "user", "columns": ["user", "city"]}])
    rows, _ = read(tmp_path / "logs", ["seen", "city"], source)
    assert rows == [("a", None), ("b", "x"), ("c", None), ("d", None), ("e", None)]


def test_rejected_rows_keep_their_places(tmp_path: Path, read) -> None:
    (tmp_path / "logs").write_text("user,seen\n1,a\nbad\n2,b\n")
    (tmp_path / "users").write_text("user,city\n1,x\n2,y\n")
    source = Source(joins=[{"file": "users", "key": "user", "columns": ["user", "city"]}])
    assert read(tmp_path / "logs", ["city"], source) == ([("x",), ("y",)], [("wrong_field_count", "bad")])


def test_bad_values_of_a_table_become_dead_letters_of_the_rows_that_have_them(folder: Path) -> None:
    ages = {number: "old" if number == 3 else f"{number}" for number in range(40)}
    (folder / "users").write_text("user,city,age,unread\n" + "".join(f"{user},é,{age},x\n" for user, age in ages.items()))
    content = {"name": "x", "tasks": [{"name": "t", "column": "t"}], "features": [{"name": "age", "kind": "numeric"}]}
    (folder / "logs").write_text("user,item,t\n1,i1,0\n3,i2,1\n90,i2,0\n")
    experiment = parse_config(content | {"split": {"by": "hash", "key": ["item"]}, "source": {"joins": [JOINS[0]]}}, "here")
    reader = make_reader(experiment.source, Validator(experiment).columns)
    (part,) = plan_ranges(reader, find_inputs(reader, [f"{folder}/logs"])).ranges
    (block,) = reader.blocks(part)
    (letter,) = dead_letters(block, Validator(experiment)(block.columns))
    assert (letter.position, letter.reason) == (1, "not_a_number")
    assert letter.raw == {"t": "1", "age": "old", "item": "i2", "user": "3"}
    assert letter.message == "column 'age' of the table users must hold finite numbers; received 'old'"


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("users", None, "users of source.joins: expected a file with rows, found no such file; a relative path is looked up"),
        ("users", b"", "users of source.joins: expected a file with rows, found an empty file"),
        ("users", b"user,city,age,unread\n1,x,1,y\n2,x,1,y\n01,x,1,y\n2.0,x,1,y\n 2,z,1,z", "two rows whose 'user' is '2'"),
        ("users", b"user,city,age,unread\n1,x,1,y\n,x,1,y\n", "users has a row without 'user'"),
        ("users", b"user,city,age,unread\n1,x,1\n", "rows that cannot be read (1), such as '1,x,1': a row must have 4 fields"),
        (
            "users",
            "user,city,age,unread\n1,Köln,1,y\n".encode("latin-1"),
            "must hold text in utf-8; received 'K\\\\xf6ln'; mend",
        ),
        ("items", b'{"item": "i1", "tags": ["a"]}\n{"item": "i2", "tags": "b"}\n', "items holds lists in some rows and single"),
        ("users", b"user,town,age,unread\n1,x,1,y\n", "users has no column 'city'"),
        ("logs", b"user,item,seen,age\n1,i1,1,1\n", "logs and the table users both have a column 'age'; rename one"),
        ("logs", b"uid,item,seen\n1,i1,1\n", "logs has no column 'user', which is to be read"),
    ],
)
def test_tables_that_cannot_be_joined(folder: Path, name: str, content: bytes | None, says: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    reader = make_reader(Source(joins=JOINS), ["seen", "city", "tags"])
    with pytest.raises(CrossDistilError) as caught:
        plan_ranges(reader, find_inputs(reader, [f"{folder}/logs"]))
    assert says in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_among_the_logs(folder: Path) -> None:
    reader = make_reader(Source(joins=JOINS), ["seen", "city"])
    with pytest.raises(UsageError, match=r"users is a table of source\.joins, and --input matches it too"):
        find_inputs(reader, [f"{folder}/logs", f"{folder}/use*"])


def test_a_table_that_changes_while_logs_are_read(folder: Path) -> None:
    reader = make_reader(Source(joins=JOINS), ["city"])
    inputs = find_inputs(reader, [f"{folder}/logs"])
    (part,) = plan_ranges(reader, inputs).ranges
    load_table.cache_clear()
    (folder / "users").write_bytes(_csv(USERS[:-1]))
    with pytest.raises(CrossDistilError, match="users changed while the logs were read"):
        list(reader.blocks(part))
    assert find_inputs(reader, [f"{folder}/logs"]) != inputs


@pytest.mark.parametrize(
    "source, says",
    [
        ({"joins": [{"file": "u", "key": "user", "columns": ["city", "age"]}]}, "u: the key 'user' must be among 'columns'"),
        ({"joins": [{"file": "u", "key": "a", "columns": ["a", "b", "b"]}]}, "u: column 'b' is listed twice"),
        ({"joins": [JOINS[0], JOINS[0] | {"file": "more"}]}, "more and users both give a column 'city'"),
        ({"joins": [JOINS[0], {"file": "c", "key": "city", "columns": ["city", "land"]}]}, "both give a column 'city'"),
        ({"header": False, "columns": ["user", "age"], "joins": [JOINS[0]]}, "users and the logs both give a column 'age'"),
        ({"header": False, "columns": ["uid"], "joins": [JOINS[0]]}, "users is joined on 'user', which is no column of"),
        ({"format": "bigquery", "joins": [JOINS[0]]}, "users: give the table's 'format'"),
        ({"format": "parquet", "joins": [JOINS[0] | {"header": False}]}, "'header' is for format: csv; leave it out for parq"),
        ({"joins": [JOINS[1] | {"delimiter": ";"}]}, "'delimiter' is for format: csv; leave it out for jsonl"),
        ({"joins": [JOINS[0] | {"delimiter": "\r\n"}]}, "a delimiter cannot hold a line end"),
        ({"delimiter": ":\x1f"}, "a delimiter cannot hold a line end, nor U+001F"),
        ({"joins": [JOINS[0] | {"on": "user"}]}, "unknown key 'on'"),
    ],
)
def test_joins_that_cannot_be(source: dict[str, Any], says: str) -> None:
    content = {"name": "x", "tasks": [{"name": "t", "column": "t"}], "features": [{"name": "f", "kind": "categorical"}]}
    with pytest.raises(UsageError) as caught:
        parse_config(content | {"split": {"by": "hash", "key": ["f"]}, "source": source}, "here")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_options_that_are_not_given_are_those_of_the_logs() -> None:
    join = {"file": "u", "key": "user", "columns": ["user", "a"]}
    logs = Source(delimiter="::", header=False, columns=["user"], joins=[join])
    assert logs.tables[0].source == Source(delimiter="::", header=False, columns=["user", "a"])
    own = join | {"header": True, "encoding": "latin-1", "delimiter": ","}
    assert Source(**logs.model_dump() | {"joins": [own]}).tables[0].source == Source(encoding="latin-1")
    foreign = Source(**logs.model_dump() | {"joins": [join | {"format": "parquet"}]})
    assert foreign.tables[0].source == Source(format="parquet")
    csv_of_parquet = Source(format="parquet", joins=[join | {"format": "csv"}])
    assert csv_of_parquet.tables[0].source == Source()
