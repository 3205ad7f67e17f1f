# SPDX-License-Identifier: Apache-2.0
"""Delimited text as blocks: every row comes once, with its position, however the file is divided."""

import bz2
import csv
import gzip
import io
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import csv_source, text
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.fixture(params=PACKERS)
def write(request: pytest.FixtureRequest, tmp_path: Path):
    """Writes text, plain or compressed, under a name that does not tell which."""

    def write(content: bytes) -> Path:
        (tmp_path / "logs").write_bytes(PACKERS[request.param](content))
        return tmp_path / "logs"

    return write


@pytest.mark.parametrize(
    "content, rows, rejected",
    [
        (b"a,b,c\n1,2,3\n4,5,6\n", [("3", "1"), ("6", "4")], []),
        (b"a,b,c\r\n1,2,3\r\n4,5,6", [("3", "1"), ("6", "4")], []),
        (b"\xef\xbb\xbfa,b,c\n1,2,3\n", [("3", "1")], []),
        (b"a,b,c\n", [], []),
        (b"\n\na,b,c\n\n1,2,3\n\n", [("3", "1")], []),
        (b"a,b,c\n\r\n\n", [], []),
        (b"a,b,c\n \n\t\n", [], [" ", "\t"]),
        (b"a,b,c\n1,2,3\n \n", [("3", "1")], [" "]),
        (b' a , "b" ,c\n007,NA,null\n', [("null", "007")], []),
        (b'a,b,c\n"x,""y""\nz",2,3\n', [("3", 'x,"y"\nz')], []),
        (b'"a\nb",b,c,a\n9,2,3,1\n', [("3", "1")], []),
        (b"a,b,b,c\n1,2,2,3\n", [("3", "1")], []),
        (b"a,b,c\n1,2\n1,2,3\n1,2,3,4\n5,6,7\n8\n", [("3", "1"), ("7", "5")], ["1,2", "1,2,3,4", "8"]),
        (b"a,b,c\n1,\xff\n\xc3\xa9,2,3\n", [("3", "é")], ["1,\\xff"]),
        (b"a,b,c\n1,\xff,3\n", [("3", "1")], []),
        (b"a,b,c\nNaN,,-Infinity\n", [("-Infinity", "NaN")], []),
        (b"a,b,c\n123456789012345678901234567890,,\n", [("", "123456789012345678901234567890")], []),
    ],
)
def test_csv(write, read, content: bytes, rows: list[tuple[str, str]], rejected: list[str]) -> None:
    assert read(write(content), ["c", "a"], Source()) == (rows, [("wrong_field_count", row) for row in rejected])


def test_csv_without_header(write, read) -> None:
    source = Source(header=False, columns=["a", "b"], delimiter="\t")
    assert read(write(b"1\t2\n3\t4\n"), ["b"], source) == ([("2",), ("4",)], [])


@pytest.mark.parametrize("blank_lines", [30, 3000])
def test_blank_lines_behind_the_header(write, read, monkeypatch, blank_lines: int) -> None:
    """Also where they fill whole blocks."""
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 64)
    assert read(write(b"a,b\n" + b"\n" * blank_lines), ["a"], Source()) == ([], [])
    found = read(write(b"a,b\n" + b"\r\n" * blank_lines + b"1,2\n" * 50), ["a"], Source())
    assert found == ([("1",)] * 50, [])


def test_a_value_of_white_space(write, read) -> None:
    assert read(write(b"a\n \n"), ["a"], Source()) == ([(" ",)], [])


@pytest.mark.parametrize("range_bytes", [1, 50, 1000, 10**6])
def test_ranges_and_blocks_of_any_size_give_the_same_rows(tmp_path: Path, read, monkeypatch, range_bytes: int) -> None:
    content = "a,b\n" + "".join(f"{row},é{row}\n" if row % 10 else f"{row}\n" for row in range(300))
    path = tmp_path / "logs.csv"
    path.write_bytes(content.encode())
    monkeypatch.setattr(csv_source, "RANGE_BYTES", range_bytes)
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 64)
    reader = make_reader(Source(), ["a"])
    ranges = plan_ranges(reader, find_inputs(reader, [str(path)])).ranges
    assert (len(ranges) > 1) == (range_bytes < len(content))
    assert [part.index for part in ranges] == list(range(len(ranges)))
    assert sum(part.weight for part in ranges) == len(content.encode()) - len("a,b\n")
    rows, rejected = read(path, ["a", "b"], Source())
    assert rows == [(str(row), f"é{row}") for row in range(300) if row % 10]
    assert [raw for _, raw in rejected] == [str(row) for row in range(0, 300, 10)]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.text('ab,"\n é', max_size=9), st.text("xyz", min_size=1, max_size=30)), max_size=30),
    block_bytes=st.integers(16, 120),
    delimiter=st.sampled_from(",;\t|"),
)
def test_what_python_writes_is_read(tmp_path_factory, read, rows, block_bytes: int, delimiter: str) -> None:
    path = tmp_path_factory.mktemp("csv") / "logs"
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows([("a", "b"), *rows])
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_source, "BLOCK_BYTES", block_bytes)
        patch.setattr(csv_source, "RANGE_BYTES", block_bytes)
        assert read(path, ["a", "b"], Source(delimiter=delimiter)) == (rows, [])


def test_text_with_quotes_is_one_range(tmp_path: Path, read, monkeypatch) -> None:
    path = tmp_path / "logs.csv"
    path.write_bytes(b"a,b\n" + b'1,"x\ny"\n' * 50)
    monkeypatch.setattr(csv_source, "RANGE_BYTES", 20)
    reader = make_reader(Source(), ["a"])
    assert len(plan_ranges(reader, find_inputs(reader, [str(path)])).ranges) == 1
    assert read(path, ["b"], Source()) == ([("x\ny",)] * 50, [])


@pytest.mark.parametrize(
    "rows, says",
    [
        (b'x,"stray,1\n' + b"u,0,1\n" * 9 + b'y,"z,1\n', """',' expected after '"' in the row that ends at line 12"""),
        (b'"5" tv,0,1\n', """',' expected after '"' in the row that ends at line 2"""),
        (b"u,0,1\n" * 9 + b'"u,0,1\n' + b"u,0,1\n" * 9, "a quote is left open"),
        (b'"u",0,1\nv,\r0,1\n', "a lone CR stands"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, lambda content: gzip.compress(content, mtime=0)], ids=["plain", "gzip"])
def test_quotes_that_would_swallow_rows(tmp_path: Path, read, rows: bytes, says: str, pack) -> None:
    (tmp_path / "logs.csv").write_bytes(pack(b"a,b,c\n" + rows))
    with pytest.raises(CrossDistilError, match="cannot be divided into rows") as caught:
        read(tmp_path / "logs.csv", ["a"], Source())
    assert says in str(caught.value)


def test_quotes_within_a_field_without_quotes_are_text(tmp_path: Path, read) -> None:
    (tmp_path / "logs.csv").write_bytes(b'a,b\n5" tv,1\n"6"" tv",0\n')
    assert read(tmp_path / "logs.csv", ["a"], Source()) == ([('5" tv',), ('6" tv',)], [])


def test_gzip_members_one_after_another(tmp_path: Path, read) -> None:
    path = tmp_path / "logs.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert read(path, ["a"], Source()) == ([("1",), ("3",)], [])


LONG_DELIMITERS = Source(delimiter="::", header=False, columns=["a", "b", "c"])


@pytest.mark.parametrize(
    "content, rows, rejected",
    [
        (b'1::x:y::3\n\n4::"5::6\r\n', [("x:y", "1"), ('"5', "4")], []),
        (b'1::"a\n4::5::6', [("5", "4")], ['1::"a']),
        (b"1:::2::3\n::::\n", [(":2", "1"), ("", "")], []),
        (b"1::2\n1::2::3\n1::2::3::4\n:\n5::6::7\n", [("2", "1"), ("6", "5")], ["1::2", "1::2::3::4", ":"]),
        (b"1::\xff::3\n4::5\xfe\n\xc3\xa9::2::3\n", [("\ufdd0\\xff", "1"), ("2", "é")], ["4::5\\xfe"]),
        (b"1\x1f:::2::\x1f\n4::5\n", [(":2", "1\ufdd0\\x1f")], ["4::5"]),
        (b"1\x1f2::3\n4::5\x1f6::7\n", [("5\ufdd0\\x1f6", "4")], ["1\\x1f2::3"]),
    ],
)
@pytest.mark.parametrize("pack, block_bytes", [(bytes, 1), (bytes, 3), (gzip.compress, 1)])
def test_delimiters_of_several_characters(tmp_path, read, monkeypatch, content, rows, rejected, pack, block_bytes) -> None:
    """However the text is cut, also amid a delimiter; quotes are text, and no character passes for a delimiter."""
    monkeypatch.setattr(csv_source, "RANGE_BYTES", block_bytes)
    path = tmp_path / "logs"
    path.write_bytes(pack(b"9::8::7\n" + content))
    with pytest.MonkeyPatch.context() as patch:
        fill = text.CleanText._fill
        patch.setattr(text.CleanText, "_fill", lambda self, size: fill(self, block_bytes))
        found = read(path, ["b", "a"], LONG_DELIMITERS)
    assert found == ([("8", "9"), *rows], [("wrong_field_count", row) for row in rejected])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.text('ab:|"\x1fé ', max_size=5)] * 2), max_size=20),
    delimiter=st.sampled_from(["::", "|:|", "§", ":|"]),
)
def test_rows_joined_by_a_long_delimiter_are_read(tmp_path_factory, read, rows, delimiter: str) -> None:
    path = tmp_path_factory.mktemp("csv") / "logs"
    rows = [tuple(field.replace(delimiter[0], "") or "-" for field in row) for row in rows]
    path.write_text("".join(delimiter.join(row) + "\n" for row in [("a", "b"), *rows]), encoding="utf-8", newline="")
    expected = [tuple(field.replace("\x1f", "\ufdd0\\x1f") for field in row) for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_source, "RANGE_BYTES", 30)
        assert read(path, ["a", "b"], Source(delimiter=delimiter)) == (expected, [])


@pytest.mark.parametrize("delimiter", [",", "::"])
def test_latin_1(write, read, delimiter: str) -> None:
    content = "é§b§c\n1§ÿ\n\xa0x§Ü\x85§2\n".replace("§", delimiter)
    source = Source(encoding="latin-1", delimiter=delimiter)
    rejected = [("wrong_field_count", f"1{delimiter}ÿ")]
    assert read(write(content.encode("latin-1")), ["b", "é"], source) == ([("Ü\x85", "\xa0x")], rejected)


@pytest.mark.parametrize("header", [True, False])
def test_a_field_of_ten_megabytes(tmp_path: Path, read, header: bool) -> None:
    long = b"x" * 10_000_000
    source = Source() if header else Source(header=False, columns=["a", "b"])
    content = b"a,b\n" * header + long + b",0\n" + b"1,2\n3\n" + b"4,5\n" * 2_000 + b'"' + long + b'",6\n7,8\n'
    (tmp_path / "logs").write_bytes(content)
    rows, rejected = read(tmp_path / "logs", ["b", "a"], source)
    assert [b for b, _ in rows] == ["0", "2", *["5"] * 2_000, "6", "8"]
    assert [len(a) for _, a in rows] == [len(long), 1, *[1] * 2_000, len(long), 1]
    assert rejected == [("wrong_field_count", "3")]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n%s,3\n4,5\n", b'a,b\n1,2\n"%s",3\n4,5\n', b"%s,b\n1,2\n"])
def test_a_row_that_is_too_long(tmp_path: Path, read, monkeypatch, content: bytes) -> None:
    for module, name, size in ((csv_source, "BLOCK_BYTES", 64), (csv_source, "LARGEST_ROW_BYTES", 1 << 20)):
        monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(text, "LARGEST_ROW_BYTES", 1 << 20)
    path = tmp_path / "logs.csv"
    path.write_bytes(content % (b"x" * (3 << 20)))
    with pytest.raises(CrossDistilError, match="has a row longer than 1 MiB; is it text, or is a quote left open"):
        read(path, ["b"], Source())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Quotes make one range of a file, which is read in blocks all the same."""
    script = (
        "import sys; from pipelines.sources.inputs import *; from tf_crossdistil.config import Source\n"
        "reader = make_reader(Source(), ['a'])\n"
        "for part in plan_ranges(reader, find_inputs(reader, sys.argv[1:])).ranges:\n"
        "    for block in reader.blocks(part): pass\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for rows in (3_000_000, 18_000_000):
        (tmp_path / "logs.csv").write_bytes(b"a,b\n" + b'"123",456\n' * rows)
        finished = subprocess.run(
            [sys.executable, "-c", script, f"{tmp_path}/logs.csv"], capture_output=True, text=True, check=True
        )
        peaks.append(int(finished.stdout) / 1024)
    assert peaks[1] - peaks[0] < 100


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("left", [5, 0.5, 0.97])
def test_truncated(tmp_path: Path, read, kind: str, left: float) -> None:
    packed = PACKERS[kind](b"a,b\n" + b"".join(b"%d,%d\n" % (row, row * 7919 % 1000) for row in range(20_000)))
    path = tmp_path / "logs"
    path.write_bytes(packed[: int(left if left > 1 else left * len(packed)) + 6])
    with pytest.raises(CrossDistilError, match=f"logs is a damaged or truncated {kind} file"):
        read(path, ["a"], Source())


def test_damaged_gzip(tmp_path: Path, read) -> None:
    packed = bytearray(gzip.compress(b"a,b\n" + b"1,2\n" * 1000))
    packed[len(packed) // 2] ^= 255
    (tmp_path / "logs").write_bytes(packed)
    with pytest.raises(CrossDistilError, match="damaged or truncated gzip file"):
        read(tmp_path / "logs", ["a"], Source())


@pytest.mark.parametrize(
    "content, says",
    [
        (b"a,a,b\n1,2,3\n", "two columns named 'a'"),
        (b"b,c\n1,2\n", "has no column 'a', which is to be read; it has 'b', 'c'"),
        (b"\n\n", "is empty; expected rows of logs"),
        (b'{"a": 1, "b": 2}\n', "looks like JSON lines, expected delimited text"),
        ("a,b\n1,2\n".encode("utf-16"), "is text in UTF-16, expected delimited text"),
        (b"a\0b\0", "is binary data, expected delimited text"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 9, "is a file compressed with Zstandard, expected delimited text"),
        (gzip.compress(b"PAR1" + b"x" * 9, mtime=0), "is a Parquet file, expected delimited text"),
    ],
)
def test_no_table(tmp_path: Path, read, content: bytes, says: str) -> None:
    (tmp_path / "logs").write_bytes(content)
    with pytest.raises(CrossDistilError) as caught:
        read(tmp_path / "logs", ["a"], Source())
    assert says in str(caught.value) and str(tmp_path / "logs") in str(caught.value)
