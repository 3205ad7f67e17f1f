# SPDX-License-Identifier: Apache-2.0
"""The whole preprocessing, against a row-by-row reading of the same logs with TensorFlow's own functions."""

import csv
import gzip
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines.preprocess import prepare
from pipelines.sources import csv_source
from pipelines.sources.csv_source import BLOCK_BYTES, RANGE_BYTES
from tests.pipelines.written_files import contents
from tf_crossdistil.config import SPLITS, Experiment
from tf_crossdistil.schema import PreparedData, record_fields

COLUMNS = ["user", "item", "city", "age", "finish", "stars", "at", "p"]
SECTIONS: dict[str, Any] = {
    "tasks": [{"name": "finish", "column": "finish", "truth": "p"}, {"name": "loved", "column": "stars", "at_least": 4}],
    "features": [
        {"name": "user", "kind": "categorical", "min_count": 2, "oov_buckets": 5},
        {"name": "item", "kind": "hashed", "buckets": 1000},
        {"name": "city", "kind": "categorical", "max_size": 3},
        {"name": "age", "kind": "numeric", "default": -1.5, "transform": "standardize"},
    ],
    "split": {"by": "time", "column": "at", "boundaries": [700, 850]},
}
BAD_ROWS = [
    ("not_utf8", b"u\xff,i,c,1,0,1,1,0.5"),
    ("label_not_binary", b"u,i,c,1,2,1,1,0.5"),
    ("label_missing", b"u,i,c,1,,1,1,0.5"),
    ("not_a_number", b"u,i,c,old,0,1,1,0.5"),
    ("not_a_number", b"u,i,c,1,0,1,noon,0.5"),
    ("wrong_field_count", b"u,i,c"),
]


def log_lines(rows: int, seed: int) -> list[bytes]:
    """Rows with missing, padded and non-ASCII values, in time order."""
    rng = random.Random(seed)
    return [
        ",".join(
            [
                f" u{int(rng.paretovariate(0.7)) % 400} ",
                rng.choice(["", f"i{rng.randrange(10**6)}"]),
                rng.choice(["Zürich", "東京", "", "Oslo", "Rome ", "Bonn"]),
                rng.choice(["", str(rng.randrange(90)), f"{rng.random():.3f}"]),
                rng.choice("01"),
                str(rng.randrange(6)),
                str(1000 * row // rows),
                f"{rng.random():.4f}",
            ]
        ).encode()
        for row in range(rows)
    ]


@pytest.fixture(scope="module")
def small_ranges() -> Any:
    """Several ranges and blocks for files of this size."""
    patch = pytest.MonkeyPatch()
    patch.setattr(csv_source, "RANGE_BYTES", 30_000)
    patch.setattr(csv_source, "BLOCK_BYTES", 10_000)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    header = ",".join(COLUMNS).encode()
    first = log_lines(1500, 1)
    for position, (_, row) in enumerate(BAD_ROWS):
        first.insert(200 * position, row)
    (folder / "a.csv").write_bytes(b"\n".join([header, *first]) + b"\n")
    (folder / "b.csv").write_bytes(gzip.compress(b"\n".join([header, *log_lines(500, 2)])))
    return folder


@pytest.fixture(scope="module")
def config(experiment: Callable[..., Experiment]) -> Experiment:
    return experiment(**SECTIONS)


@pytest.fixture(scope="module")
def data(small_ranges: None, logs: Path, config: Experiment, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(config, [f"{logs}/*.csv"], tmp_path_factory.mktemp("prepared"), quiet=True)


def good_rows(logs: Path) -> list[dict[str, str]]:
    bad = {row for _, row in BAD_ROWS}
    lines = (logs / "a.csv").read_bytes().splitlines() + gzip.decompress((logs / "b.csv").read_bytes()).splitlines()
    rows = csv.reader(line.decode() for line in lines if line not in bad)
    return [dict(zip(COLUMNS, map(str.strip, row), strict=True)) for row in rows if row != COLUMNS]


def split_of(row: dict[str, str]) -> str:
    return "train" if float(row["at"]) < 700 else "validation" if float(row["at"]) < 850 else "test"


def tag_of(row: dict[str, str]) -> str:
    return row["finish"] + str(int(float(row["stars"]) >= 4))


def expected_record(row: dict[str, str], vocabularies: dict[str, list[str]]) -> dict[str, float]:
    def categorical(name: str, oov_buckets: int) -> int:
        known = vocabularies[name]
        if not row[name] or row[name] in known:
            return 0 if not row[name] else known.index(row[name]) + 1
        return len(known) + 1 + int(tf.strings.to_hash_bucket_fast(row[name], oov_buckets))

    return {
        "user": categorical("user", 5),
        "item": int(tf.strings.to_hash_bucket_fast(row["item"], 1000)),
        "city": categorical("city", 1),
        "age": float(np.float32(row["age"] or -1.5)),
        "finish": float(row["finish"]),
        "loved": float(float(row["stars"]) >= 4),
        "truth/finish": float(np.float32(row["p"])),
    }


def records(data: PreparedData, split: str, tag: str) -> list[dict[str, float]]:
    """The records of one split and tag, parsed by TensorFlow."""
    kinds = {"int64": tf.int64, "float": tf.float32}
    features = {
        f.name: tf.io.FixedLenFeature([], kinds[f.kind]) for f in record_fields(Experiment.model_validate(data.metadata.config))
    }
    serialized = [r.numpy() for r in tf.data.TFRecordDataset(list(map(str, data.record_files(split, tag))), "GZIP")]
    columns = {name: column.numpy().tolist() for name, column in tf.io.parse_example(serialized, features).items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_vocabularies_are_the_training_values_by_count(data: PreparedData, logs: Path) -> None:
    training = [row for row in good_rows(logs) if split_of(row) == "train"]
    for name, min_count, max_size in (("user", 2, None), ("city", 1, 3)):
        counts = Counter(row[name] for row in training if row[name])
        kept = sorted((v for v in counts if counts[v] >= min_count), key=lambda v: (-counts[v], v.encode()))[:max_size]
        content = data.vocabulary_file(name).read_bytes()
        assert content.decode() == "".join(f"{value}\n" for value in kept)
        known = data.metadata.vocabularies[name]
        assert (known.size, known.ids) == (len(kept), len(kept) + 1 + (5 if name == "user" else 1))
        assert known.sha256 == hashlib.sha256(content).hexdigest()


def test_every_row_is_the_record_that_tensorflow_would_make(data: PreparedData, logs: Path) -> None:
    vocabularies = {n: data.vocabulary_file(n).read_text("utf-8").splitlines() for n in ("user", "city")}
    groups = defaultdict(list)
    for row in good_rows(logs):
        groups[split_of(row), tag_of(row)].append(expected_record(row, vocabularies))
    assert data.metadata.counts == {
        split: {tag: len(groups[split, tag]) for tag in ("00", "01", "10", "11") if groups[split, tag]} for split in SPLITS
    }
    for (split, tag), expected in groups.items():
        assert records(data, split, tag) == expected


def test_metadata_counts_rates_and_statistics(data: PreparedData, logs: Path) -> None:
    metadata, rows = data.metadata, good_rows(logs)
    training = [row for row in rows if split_of(row) == "train"]
    ages = np.array([float(row["age"]) for row in training if row["age"]])
    numbers = metadata.numeric["age"]
    assert (numbers.count, numbers.missing) == (len(ages), len(training) - len(ages))
    np.testing.assert_allclose(
        [numbers.mean, numbers.deviation, numbers.minimum, numbers.maximum], [ages.mean(), ages.std(), ages.min(), ages.max()]
    )
    assert metadata.rates["train"].positive["loved"] == pytest.approx(np.mean([tag_of(row)[1] == "1" for row in training]))
    assert (metadata.rows_in, metadata.rows_out) == (2000 + len(BAD_ROWS), 2000)
    assert metadata.dead_letters == Counter(reason for reason, _ in BAD_ROWS)
    assert [(Path(f.path).name, f.rows_in, f.rows_out, f.dead_letters) for f in metadata.inputs] == [
        ("a.csv", 1506, 1500, 6),
        ("b.csv", 500, 500, 0),
    ]


def test_dead_letters_say_file_row_reason_and_raw_row(data: PreparedData, logs: Path) -> None:
    files = sorted(data.directory.glob("dead_letter/*.jsonl.gz"))
    assert len(files) > 1, "the bad rows lie in several ranges"
    letters = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert [letter["reason"] for letter in letters] == [reason for reason, _ in BAD_ROWS]
    assert {letter["file"] for letter in letters} == {str(logs / "a.csv")}
    assert [letter["row"] for letter in letters] == [200 * position + 1 for position in range(len(BAD_ROWS))]
    assert letters[1]["raw"]["finish"] == "2" and "column 'finish'" in letters[1]["message"]
    assert letters[0]["raw"]["user"] == "u\\xff"
    assert letters[5]["raw"] == "u,i,c"


def test_manifest_lists_every_file_as_it_is(data: PreparedData) -> None:
    files = {str(path.relative_to(data.directory)): path.read_bytes() for path in data.directory.rglob("*") if path.is_file()}
    assert set(files) - {entry.path for entry in data.manifest.files} == {"manifest.json", "_SUCCESS"}
    for entry in data.manifest.files:
        assert (entry.bytes, entry.sha256) == (len(files[entry.path]), hashlib.sha256(files[entry.path]).hexdigest())
        if entry.split is not None:
            assert entry.path.startswith(f"{entry.split}/tag={entry.tag}/part-")
    assert sum(entry.rows or 0 for entry in data.manifest.files) == data.metadata.rows_out
    for path, content in files.items():
        if path.endswith(".gz"):
            assert content[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "neither a name nor a time in the gzip header"


def test_sample_holds_the_first_rows_as_a_request_would(data: PreparedData, logs: Path) -> None:
    sample = [json.loads(line) for line in (data.directory / "sample.jsonl").read_text("utf-8").splitlines()]
    assert sample == [
        {**{name: row[name] for name in ("user", "item", "city")}, "age": float(row["age"] or -1.5)}
        for row in good_rows(logs)[:256]
    ]


def test_open_finds_the_run(data: PreparedData) -> None:
    assert PreparedData.open(data.directory.parent) == data


@pytest.mark.parametrize(
    "arguments",
    [
        ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
        ["--direct_runner_bundle_repeat=1"],
    ],
)
def test_every_mode_gives_the_same_bytes(
    data: PreparedData, logs: Path, config: Experiment, tmp_path: Path, arguments: list[str]
) -> None:
    prepare(config, [f"{logs}/*.csv"], tmp_path, arguments, quiet=True)
    assert contents(tmp_path) == contents(data.directory.parent)


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_in_silence(
    logs: Path, config: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Other processes do not see what this one has patched, so both run with the sizes as they are.
    monkeypatch.setattr(csv_source, "RANGE_BYTES", RANGE_BYTES)
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", BLOCK_BYTES)
    arguments = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    prepare(config, [f"{logs}/*.csv"], tmp_path / "two", arguments, quiet=True)
    prepare(config, [f"{logs}/*.csv"], tmp_path / "one", quiet=True)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert capfd.readouterr() == ("", "")


def test_features_have_names_of_their_own(experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    """Two features may read one column; only the logs go by the column."""
    rows = [(f"u{row % 7}", ["", "1.5", "30"][row % 3], row % 2, row % 3 == 0) for row in range(60)]
    lines = [f"{user},{age},{finish},{like:d}" for user, age, finish, like in rows]
    (tmp_path / "logs.csv").write_text("\n".join(["who,years,finish,like", *lines]))
    features = [
        {"name": "user", "column": "who", "kind": "categorical"},
        {"name": "bucket", "column": "who", "kind": "hashed", "buckets": 9},
        {"name": "age", "column": "years", "kind": "numeric", "default": 7},
        {"name": "age_or_none", "column": "years", "kind": "numeric"},
        {"name": "age_group", "column": "years", "kind": "categorical"},
    ]
    config = experiment(features=features, split={"by": "hash", "key": ["who"], "fractions": [1, 0, 0]})
    data = prepare(config, [f"{tmp_path}/logs.csv"], tmp_path / "prepared", quiet=True)
    vocabularies = {name: data.vocabulary_file(name).read_text().splitlines() for name in data.metadata.vocabularies}
    assert {name: set(values) for name, values in vocabularies.items()} == {
        "user": {f"u{row}" for row in range(7)},
        "age_group": {"1.5", "30"},
    }
    assert [data.metadata.numeric[name].missing for name in ("age", "age_or_none")] == [20, 20]
    expected = [
        {"user": user, "bucket": user, "age": float(age or 7), "age_or_none": float(age or 0), "age_group": age}
        for user, age, _, _ in rows
    ]
    assert [json.loads(line) for line in (data.directory / "sample.jsonl").read_text().splitlines()] == expected
    assert records(data, "train", "10") == [
        {
            "user": vocabularies["user"].index(rows[row][0]) + 1,
            "bucket": int(tf.strings.to_hash_bucket_fast(rows[row][0], 9)),
            "age": expected[row]["age"],
            "age_or_none": expected[row]["age_or_none"],
            "age_group": ["", *vocabularies["age_group"]].index(rows[row][1]),
            "finish": 1.0,
            "like": 0.0,
        }
        for row in range(len(rows))
        if rows[row][2:] == (1, False)
    ]
