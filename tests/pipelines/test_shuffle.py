# SPDX-License-Identifier: Apache-2.0
"""The global shuffle: the same records, in an order that tells nothing of the input's, within bounded shards."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.encoding import shuffle
from pipelines.encoding.records import Group, Records
from pipelines.encoding.shuffle import SpillWriter, read_shards, shard_count, write_shard
from pipelines.graph import encode
from pipelines.preprocess import prepare
from pipelines.runs.manifest import Run
from pipelines.sources import csv_source
from pipelines.synthetic import write_logs
from tf_crossdistil.config import SPLITS, Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData

ROWS, SHARD_ROWS = 24_000, 5_000
SECTIONS: dict[str, Any] = {
    "features": [
        {"name": "at", "kind": "numeric"},
        {"name": "user", "kind": "categorical"},
        {"name": "words", "kind": "multi_value"},
    ],
    "split": {"by": "hash", "key": ["at"], "fractions": [0.8, 0.1, 0.1]},
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Rows in order of time, in two files, with lists of several lengths."""
    folder = tmp_path_factory.mktemp("logs")
    lines = [f"{at},u{at % 37},{'|'.join('abcdefg'[: at % 8])},{at // 7 % 2},{at // 11 % 2}" for at in range(ROWS)]
    for name, part in (("a.csv", lines[: ROWS // 3]), ("b.csv", lines[ROWS // 3 :])):
        (folder / name).write_text("\n".join(["at,user,words,finish,like", *part]))
    return f"{folder}/*.csv"


@pytest.fixture(scope="module")
def make(logs: str, experiment: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Prepares the logs in several ranges, blocks and shards."""

    def make(**options: Any) -> PreparedData:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_source, "RANGE_BYTES", 120_000)
            patch.setattr(csv_source, "BLOCK_BYTES", 50_000)
            patch.setattr(shuffle, "SHARD_ROWS", SHARD_ROWS)
            return prepare(experiment(**SECTIONS), [logs], tmp_path_factory.mktemp("prepared"), quiet=True, **options)

    return make


@pytest.fixture(scope="module")
def plain(make: Callable[..., PreparedData]) -> PreparedData:
    return make()


@pytest.fixture(scope="module")
def shuffled(make: Callable[..., PreparedData]) -> PreparedData:
    return make(global_shuffle=True)


def records(data: PreparedData, split: str, tag: str) -> list[bytes]:
    """The records of a split and tag in the order of the files, their checksums verified by TensorFlow."""
    paths = [str(data.directory / entry.path) for entry in data.manifest.files if (entry.split, entry.tag) == (split, tag)]
    return [record for batch in tf.data.TFRecordDataset(paths, "GZIP").batch(4096).as_numpy_iterator() for record in batch]


def files(data: PreparedData) -> dict[str, str]:
    """The digest of every file, by path."""
    return {entry.path: entry.sha256 for entry in data.manifest.files}


def times(data: PreparedData, split: str, tag: str) -> NDArray[np.float64]:
    """The column `at` of every record."""
    features = {"at": tf.io.FixedLenFeature([], tf.float32)}
    return tf.io.parse_example(records(data, split, tag), features)["at"].numpy().astype(np.float64)


def test_the_same_records_come_out(plain: PreparedData, shuffled: PreparedData) -> None:
    for split, tag in ((split, tag) for split in SPLITS for tag in ("00", "01", "10", "11")):
        assert Counter(records(shuffled, split, tag)) == Counter(records(plain, split, tag))
    assert shuffled.metadata.rows_out == ROWS
    assert shuffled.metadata.counts == plain.metadata.counts
    assert shuffled.metadata.rates == plain.metadata.rates
    assert shuffled.metadata.inputs == plain.metadata.inputs


def test_the_same_bytes_come_out_twice(shuffled: PreparedData, make: Callable[..., PreparedData]) -> None:
    again = make(global_shuffle=True)
    assert again.directory != shuffled.directory
    assert files(again) == files(shuffled)


def test_shards_have_about_the_size_that_they_should(shuffled: PreparedData) -> None:
    rows = Counter[str]()
    for entry in shuffled.manifest.files:
        if entry.split:
            rows[Path(entry.path).name] += entry.rows or 0
    assert sorted(rows) == [f"part-{shard:05d}.tfrecord.gz" for shard in range(5)]
    # Five standard deviations of a binomial of 24,000 draws with probability 1/5.
    assert max(abs(count - ROWS / 5) for count in rows.values()) < 5 * np.sqrt(ROWS * 0.2 * 0.8)


@pytest.mark.parametrize("split, tag", [("train", "00"), ("train", "11"), ("test", "10")])
def test_the_order_tells_nothing_of_the_input(plain: PreparedData, shuffled: PreparedData, split: str, tag: str) -> None:
    sorted_times, mixed = times(plain, split, tag), times(shuffled, split, tag)
    assert np.all(np.diff(sorted_times) > 0), "the input is sorted, so a shuffle has something to do"
    rows = len(mixed)
    ranks = np.argsort(np.argsort(mixed))
    # Under independence the rank correlation has standard deviation 1 / sqrt(rows - 1), here and between neighbours.
    assert abs(np.corrcoef(ranks, np.arange(rows))[0, 1]) < 4.5 / np.sqrt(rows - 1)
    assert abs(np.corrcoef(ranks[1:], ranks[:-1])[0, 1]) < 4.5 / np.sqrt(rows - 2)
    # A label that changes once over time comes in one run before; now in about half as many as there are rows.
    late = mixed > np.median(mixed)
    assert np.count_nonzero(np.diff(late)) == pytest.approx(rows / 2, abs=4.5 * np.sqrt(rows / 4))
    # Every tenth of the output holds about a tenth of every tenth of the input: chi-square of 81 degrees of freedom.
    table = np.histogram2d(np.arange(rows), ranks, bins=10)[0]
    assert np.sum((table - rows / 100) ** 2 / (rows / 100)) < 81 + 4.5 * np.sqrt(2 * 81)


def test_shards_that_get_lost_are_noticed(make: Callable[..., PreparedData], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "write_shard", lambda *_: 0)
    with pytest.raises(CrossDistilError, match="shuffled 0 of 24000"):
        make(global_shuffle=True)


def test_a_failure_ends_it_with_the_worker_s_sentence(
    make: Callable[..., PreparedData], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Path, shard: int, *_: int) -> None:
        raise ZeroDivisionError(f"shard {shard} by zero")

    monkeypatch.setattr(encode, "write_shard", fail)
    with pytest.raises(CrossDistilError, match=r"while shuffling shard 0: ZeroDivisionError: shard 0 by zero at .*\.py:\d+"):
        make(global_shuffle=True)


def framed(texts: list[bytes]) -> list[bytes]:
    """Each with its length ahead, so that they can be told apart again."""
    return [bytes([len(text)]) + text for text in texts]


def parsed(content: bytes) -> Counter[bytes]:
    found = Counter[bytes]()
    while content:
        end = 1 + content[0]
        found[content[:end]] += 1
        content = content[end:]
    return found


def grouped(split: str, tag: str, texts: list[bytes]) -> Group:
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return Group(split, tag, Records(memoryview(b"".join(texts)), ends))


@settings(max_examples=20, deadline=None)
@given(
    blocks=st.lists(
        st.lists(
            st.tuples(st.sampled_from(SPLITS), st.integers(0, 7), st.lists(st.binary(max_size=30), min_size=1, max_size=20)),
            max_size=4,
        ),
        max_size=5,
    ),
    shards=st.integers(1, 7),
)
def test_whatever_goes_in_comes_out(
    blocks: list[list[tuple[str, int, list[bytes]]]], shards: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One range a block, and one more without rows."""
    run = Run(tmp_path_factory.mktemp("run"), "0")
    run.begin()
    expected: defaultdict[tuple[str, str], Counter[bytes]] = defaultdict(Counter)
    for index, block in enumerate([*blocks, []]):
        with SpillWriter(run.directory, index, shards) as spill:
            spill.add([grouped(split, f"{code:03b}", framed(texts)) for split, code, texts in block])
        for split, code, texts in block:
            expected[split, f"{code:03b}"].update(framed(texts))
    for shard in range(shards):
        write_shard(run.directory, shard, shards, len(blocks) + 1, tasks=3)
    found: defaultdict[tuple[str, str], Counter[bytes]] = defaultdict(Counter)
    for entry in read_shards(run.directory):
        assert entry.split and entry.tag and entry.rows
        found[entry.split, entry.tag].update(parsed(gzip.decompress((run.directory / entry.path).read_bytes())))
    rows = sum(len(texts) for block in blocks for _, _, texts in block)
    assert sum(entry.rows or 0 for entry in read_shards(run.directory)) == rows
    assert found == expected


def test_rows_go_into_the_fewest_shards_that_hold_them() -> None:
    assert [shard_count(rows) for rows in (0, 1, 500_000, 500_001, 20_000_000)] == [1, 1, 1, 2, 40]


@pytest.mark.slow
def test_two_processes_shuffle_several_shards_alike(experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    logs = tmp_path / "logs.parquet"
    write_logs(logs, 1_200_000, 0)
    config = experiment(
        source={"format": "parquet"},
        features=[{"name": "uid", "kind": "categorical"}, {"name": "create_time", "kind": "numeric"}],
        split={"by": "hash", "key": ["uid", "item_id"], "fractions": [0.8, 0.1, 0.1]},
    )
    two = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    made = [
        prepare(config, [str(logs)], tmp_path / f"{len(mode)}", mode, global_shuffle=True, quiet=True) for mode in ([], two)
    ]
    assert files(made[0]) == files(made[1])
    assert {Path(entry.path).name[:10] for entry in made[0].manifest.files if entry.split} == {
        f"part-0000{i}" for i in range(3)
    }
