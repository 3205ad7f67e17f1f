# SPDX-License-Identifier: Apache-2.0
import gzip
import random
import subprocess

import pytest

from pipelines.runs.compression import GzipCompressor


def compressed(content, step):
    compressor = GzipCompressor()
    pieces = [compressor.compress(memoryview(content)[start : start + step]) for start in range(0, len(content), step)]
    return b"".join(pieces) + compressor.flush()


@pytest.fixture(scope="module")
def content():
    draw = random.Random(0)
    words = [draw.randbytes(draw.randint(3, 40)) for _ in range(300)]
    return b"".join(draw.choice(words) for _ in range(40_000))


@pytest.mark.parametrize("step", [1_000, 65_537, 2**20])
def test_gzip_reads_what_was_written_in_pieces_of_any_size(content, step):
    assert gzip.decompress(compressed(content, step)) == content


def test_the_pieces_do_not_show_in_the_bytes(content):
    assert compressed(content, 999) == compressed(content, 70_001) == compressed(content, len(content))


def test_empty_stream_is_a_whole_gzip_file():
    assert gzip.decompress(GzipCompressor().flush()) == b""


def test_the_header_names_neither_time_nor_system(content):
    assert compressed(content, 2**20)[:10].hex() == "1f8b08000000000000ff"


def test_another_reader_agrees(content, tmp_path):
    (tmp_path / "content.gz").write_bytes(compressed(content, 4096))
    assert subprocess.run(["gzip", "-dc", tmp_path / "content.gz"], capture_output=True, check=True).stdout == content
