# SPDX-License-Identifier: Apache-2.0
"""JSON lines as blocks: every value as it was written, whichever of the two parsers read it."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.checking.columns import NOT_UTF8, canonical
from pipelines.sources import jsonl_source
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from pipelines.sources.jsonl_source import JsonlReader
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError

SOURCE = Source(format="jsonl")


def write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "logs").write_bytes(content)
    return tmp_path / "logs"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "content, values",
    [
        (b'{"a":1}\n{"a":null}\n{}\n\n  \r\n{"a":2}', ["1", None, None, "2"]),
        (b'{"a":1}\n{"a":null}\n{}\n{"a":2}', [1, None, None, 2]),
        (b'{"a":[null]}\n{"a":[]}\n', [[None], []]),
        (b'\xef\xbb\xbf{"a":1, "b":{"c":[{}]}}\r\n{"a":2}\r\n', [1, 2]),
        (b'{"a":12345678901234567890}\n{"a":-3}', ["12345678901234567890", "-3"]),
        (b'{"a":9007199254740993}\n{"a":2.5}', ["9007199254740993", "2.5"]),
        (b'{"a":9223372036854775807}\n{"a":-9223372036854775808}', [2**63 - 1, -(2**63)]),
        (b'{"a":1.5}\n{"a":1}', [1.5, 1.0]),
        (b'{"a":"2020-01-01"}\n{"a":"2020-01-02 10:00:00"}\n', ["2020-01-01", "2020-01-02 10:00:00"]),
        (b'{"a":["2020-01-01"]}\n{"a":[]}\n', [["2020-01-01"], []]),
        (b'{"a":true}\n{"a":false}', ["true", "false"]),
        (b'{"a":true}\n{"a":"x"}\n{"a":1}\n{"a":1.0}', ["true", "x", "1", "1"]),
        (b'{"a":[1,2]}\n{"a":[]}\n{"a":null}\n{"a":[null,3]}', [[1, 2], [], None, [None, 3]]),
        (b'{"a":[true]}\n{"a":[false,null]}', [["true"], ["false", None]]),
        (b'{"a":[1,"x",true,2.50]}\n{"a":5}\n{"a":["p"]}', [["1", "x", "true", "2.5"], "5", ["p"]]),
        (b'{"a":NaN}\n{"a":-Infinity}\n{"a":1e400}', ["NaN", "-Infinity", "inf"]),
        (b'{"a":1,"a":2}\n', ["2"]),
        (b'{"a":"\\u00e9\\n\\""}\n{"a":"\xe2\x82\xac"}', ['é\n"', "€"]),
        (b'{"a":"\xff"}\n{"a":"b"}', [NOT_UTF8 + "\\xff", "b"]),
        (b'{"a":"\\ud800"}\n', [f"{NOT_UTF8}\\xed{NOT_UTF8}\\xa0{NOT_UTF8}\\x80"]),
    ],
)
def test_values(tmp_path: Path, read, pack, content: bytes, values: list[Any]) -> None:
    assert read(write(tmp_path, pack(content)), ["a"], SOURCE) == ([(value,) for value in values], [])


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"null", "not_json"),
        (b"[1]", "not_json"),
        (b'"x"', "not_json"),
        (b'{"a":2} {"a":3}', "not_json"),
        (b'{"a":', "not_json"),
        (b'{"a":01}', "not_json"),
        (b"a,b", "not_json"),
        (b'{"a":' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
        (b'{"a":{"b":1}}', "wrong_type"),
        (b'{"a":[[1]]}', "wrong_type"),
        (b'{"a":[{"b":1}]}', "wrong_type"),
    ],
)
def test_bad_rows_cost_no_other(tmp_path: Path, read, line: bytes, reason: str) -> None:
    path = write(tmp_path, b'{"a":1}\n' + line + b'\n\n{"a":[4]}\n{"a":"z"}\n')
    assert read(path, ["a"], SOURCE) == ([("1",), (["4"],), ("z",)], [(reason, line.decode())])


def test_raw_text_of_bytes_that_are_not_utf8(tmp_path: Path, read) -> None:
    path = write(tmp_path, b'{"a":1}\n{"a":"\xff\n')
    assert read(path, ["a"], SOURCE) == ([("1",)], [("not_json", '{"a":"\\xff')])


def test_kinds_of_rows_come_in_blocks_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"a":[1],"b":[]}\n{"a":"x"}\n{"a":["y"],"b":[2]}\n{"a":3,"b":7}\n')
    reader = make_reader(SOURCE, ["a", "b"])
    part = plan_ranges(reader, find_inputs(reader, [str(path)])).ranges[0]
    blocks = list(reader.blocks(part))
    kinds = {tuple(block.positions.tolist()): [str(column.type) for column in block.columns.values()] for block in blocks}
    assert kinds == {(0, 2): ["list<item: string>"] * 2, (1, 3): ["string"] * 2}


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from(["", "2020-01-01", "1", "true", "é\n\t", "\ud800", "2020-01-01T00:00:00Z"]),
    st.text(max_size=4),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=2), SCALARS, max_size=1))


def canonical_values(column: Any) -> list[Any]:
    """What a column says, whatever its type: canonical text, or lists of it; missing is the empty text."""
    if pa.types.is_list(column.type):
        return [
            "" if row is None else canonical(pa.array(row, column.type.value_type)).to_pylist() for row in column.to_pylist()
        ]
    return canonical(column).to_pylist()


def parsed(blocks: Sequence[bytes], alike: bool) -> dict[int, Any]:
    """Rows of blocks that one reader parses one behind another."""
    reader = JsonlReader(SOURCE, ["a", "b"])
    if not alike:
        reader._parse_alike = lambda lines: None  # type: ignore[method-assign]
    found: dict[int, Any] = {}
    for lines in blocks:
        for block in reader._parse(lines, len(found)):
            rows = zip(*(canonical_values(block.columns[name]) for name in "ab"), strict=True)
            found |= dict(zip(block.positions.tolist(), rows, strict=True))
            found |= {row.position: (row.reason, row.raw) for row in block.rejected}
    return found


ALIKE = [
    st.lists(st.fixed_dictionaries({}, optional={"a": values, "b": values}), min_size=1, max_size=6)
    for values in (
        st.none(),
        st.integers(-(2**64), 2**64),
        st.integers(-3, 3),
        st.floats(),
        st.booleans(),
        st.text(max_size=5),
        st.dates().map(str),
        st.lists(st.none(), max_size=2),
        st.lists(st.one_of(st.none(), st.integers()), max_size=3),
        st.lists(st.dates().map(str), max_size=3),
        st.lists(st.floats(), max_size=3),
        st.dictionaries(st.just("x"), st.integers(0, 3), max_size=1),
    )
]
MIXED = st.lists(st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "c": VALUES}), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(blocks=st.lists(st.one_of(*ALIKE, MIXED), min_size=1, max_size=4), ascii_only=st.booleans())
@example(blocks=[[{"a": 2**53 + 1}, {"a": 0.5}]], ascii_only=True)
@example(blocks=[[{"b": 1}], [{"a": "late"}, {}]], ascii_only=True)
@example(blocks=[[{"a": 0.5}], [{"a": 2**53 + 1}]], ascii_only=True)
def test_both_parsers_agree(blocks: list[list[dict[str, Any]]], ascii_only: bool) -> None:
    try:
        parts = ["".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode() for rows in blocks]
    except UnicodeEncodeError:
        return
    assert parsed(parts, alike=True) == parsed(parts, alike=False)


CHANGES: list[list[Any]] = [
    [..., 1],
    [..., "x"],
    [..., [1, 2]],
    [..., ["x", None]],
    [None, 1.5],
    [[], ["x"]],
    [[None], [3]],
    [1, ...],
    [1, None],
    [1, 2.5],
    [1, "x"],
    [1, [1]],
    [1.5, 2],
    [0.5, 2**53 + 1],
    ["x", 7],
    ["2020-01-01", "x"],
    ["x", ["x"]],
    [[1], [2.5]],
    [[1], ["x"]],
    [[1], 1],
    [True, "x"],
    [..., 1, ..., "x", ..., [2.5], 1, 2.5],
]


@pytest.mark.parametrize("values", CHANGES)
def test_keys_and_types_that_change_within_a_range(tmp_path: Path, read, monkeypatch, values: list[Any]) -> None:
    """Blocks hold some rows of one kind; a key is absent where the value is `...`."""
    monkeypatch.setattr(jsonl_source, "BLOCK_BYTES", 64)
    wanted = [value for value in values for _ in range(30)]
    rows = [{"b": row} if value is ... else {"b": row, "a": value} for row, value in enumerate(wanted)]
    path = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    found, rejected = read(path, ["a", "b"], SOURCE)
    assert not rejected
    texts = [json.dumps(value) if isinstance(value, bool | int | float) else value for value in wanted]
    for value, text, (a, b), row in zip(wanted, texts, found, rows, strict=True):
        assert int(b) == row["b"]
        if isinstance(value, list):
            assert list(map(str, a)) == list(map(str, value))
        elif value is ... or value is None:
            assert a is None
        else:
            assert (str(a).lower() if isinstance(a, bool) else str(a).removesuffix(".0")) == text


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(st.text('{}[]":,a1e.-+ntf \\', max_size=12), max_size=4))
def test_both_parsers_reject_the_same_lines(lines: list[str]) -> None:
    content = "".join(f"{line}\n" for line in ['{"a":1}', *lines] if line.strip()).encode()
    assert parsed([content], alike=True) == parsed([content], alike=False)


@pytest.mark.parametrize("range_bytes", [1, 70, 10**6])
@pytest.mark.parametrize("block_bytes", [16, 200, 10**6])
def test_ranges_and_blocks_of_any_size(tmp_path: Path, read, monkeypatch, range_bytes: int, block_bytes: int) -> None:
    monkeypatch.setattr(jsonl_source, "RANGE_BYTES", range_bytes)
    monkeypatch.setattr(jsonl_source, "BLOCK_BYTES", block_bytes)
    lines = [json.dumps({"b": row, "a": "é" * (row % 50)}, ensure_ascii=False) for row in range(200)]
    path = write(tmp_path, "\n".join(lines).encode())
    assert read(path, ["a", "b"], SOURCE) == ([("é" * (row % 50), row) for row in range(200)], [])


def test_a_field_of_ten_megabytes(tmp_path: Path, read) -> None:
    long = "x" * 10_000_000
    path = write(tmp_path, f'{{"a":1}}\n{{"a":"{long}"}}\n{{"a":"z"}}\n'.encode())
    rows, rejected = read(path, ["a"], SOURCE)
    assert [len(str(value)) for (value,) in rows] == [1, 10_000_000, 1] and not rejected


def test_a_row_that_is_too_long(tmp_path: Path, read, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.sources.text.LARGEST_ROW_BYTES", 1 << 20)
    monkeypatch.setattr(jsonl_source, "BLOCK_BYTES", 1 << 16)
    lines = b'{"a":1}\n' * jsonl_source.KEY_ROWS + b'{"a":"' + b"x" * (3 << 20) + b'"}\n{"a":2}\n'
    with pytest.raises(CrossDistilError, match="has a row longer than 1 MiB"):
        read(write(tmp_path, lines), ["a"], SOURCE)


def test_a_key_that_only_a_late_row_has(tmp_path: Path, read) -> None:
    lines = b'{"b":"a"}\n' * (jsonl_source.KEY_ROWS + 5) + b'{"b":{"a":1}}\n{"b":2, "a":"late"}\n'
    rows, _ = read(write(tmp_path, lines), ["a"], SOURCE)
    assert rows[-1] == ("late",) and set(rows[:-1]) == {(None,)}
    with pytest.raises(CrossDistilError, match="has no column 'a'"):
        read(write(tmp_path, lines.replace(b'"late"', b"1").replace(b', "a"', b', "c"')), ["a"], SOURCE)


@pytest.mark.parametrize(
    "content, says",
    [
        (b'{"b":1}\n{"aa":2}\n', "has no column 'a', which is to be read; it has 'b', 'aa'"),
        (b"a,b\n1,2\n", "holds no JSON object in its first 2 lines, expected one a line"),
        (b"\n\n", "is empty; expected rows of logs"),
        (b"Obj\x01xxxx", "is an Avro file, expected JSON lines"),
        (gzip.compress(b'{"a":1}\n' * 99, mtime=0)[:-9], "is a damaged or truncated gzip file"),
    ],
)
def test_no_json_lines(tmp_path: Path, read, content: bytes, says: str) -> None:
    with pytest.raises(CrossDistilError) as caught:
        read(write(tmp_path, content), ["a"], SOURCE)
    assert says in str(caught.value)
