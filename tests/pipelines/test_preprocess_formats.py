# SPDX-License-Identifier: Apache-2.0
"""The whole preprocessing of one set of rows in every format of files, against a row-by-row reading of the rows themselves."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipelines.preprocess import prepare
from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import PreparedData

SECTIONS: dict[str, Any] = {
    "tasks": [
        {"name": "rating", "column": "stars", "kind": "regression"},
        {"name": "finish", "column": "finish"},
        {"name": "loved", "column": "stars", "at_least": 4},
    ],
    "features": [
        {"name": "user", "kind": "categorical", "min_count": 4, "oov_buckets": 3},
        {"name": "friends", "kind": "multi_value", "share_with": "user", "max_length": 4},
        {"name": "words", "kind": "multi_value", "max_length": 3, "weights": "strengths", "max_size": 12, "oov_buckets": 2},
        {"name": "item", "kind": "hashed", "buckets": 97},
        {"name": "age", "kind": "numeric", "transform": "bucketize", "buckets": 4, "default": -1.5},
    ],
    "split": {"by": "time", "column": "at", "boundaries": [700, 850]},
}
ROWS = 600


def make_rows() -> list[dict[str, Any]]:
    """Rows with nulls, empty lists, and elements that are null, empty or padded."""
    rng = random.Random(3)

    def user() -> str:
        return f"ü{int(rng.paretovariate(0.8)) % 60}"

    nothing: list[list[float] | None] = [None, []]
    rows = []
    for number in range(ROWS):
        words = rng.choice(
            [None, [], [f"w{rng.randrange(20)}", *rng.choices(["", None, " w1 ", "w2", "東 京"], k=rng.randrange(6))]]
        )
        weighed = words and rng.random() < 0.8
        rows.append(
            {
                "user": rng.choice([None, user(), user()]),
                "friends": rng.choice([None, [user() for _ in range(rng.randrange(7))]]),
                "words": words,
                "strengths": [rng.randrange(40) / 8 for _ in words] if words and weighed else rng.choice(nothing),
                "item": f"i{rng.randrange(10**6)}",
                "age": rng.choice([None, rng.randrange(90) / 4]),
                "finish": rng.randrange(2),
                "stars": rng.choice([rng.randrange(6), rng.randrange(12) / 2]),
                "at": 1000 * number // ROWS,
            }
        )
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    def text(value: Any) -> str:
        return "|".join(map(text, value)) if isinstance(value, list) else "" if value is None else str(value)

    lines = [",".join(rows[0]), *(",".join(text(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    # Absent is as good as null.
    absent = [{name: value for name, value in row.items() if value is not None} for row in rows[1:]]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [rows[0], *absent]), encoding="utf-8")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=150)


def write_avro(path: Path, rows: list[dict[str, Any]]) -> None:
    texts, numbers = [{"type": "array", "items": ["null", "string"]}], [{"type": "array", "items": "double"}]
    types: dict[str, list[Any]] = {"friends": texts, "words": texts, "strengths": numbers, "age": ["double"]}
    types |= {"user": ["string"], "item": ["string"], "stars": ["double"]}
    fields = [{"name": name, "type": ["null", *types.get(name, ["long"])]} for name in rows[0]]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, rows, codec="deflate", sync_interval=4000)


WRITERS = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet, "avro": write_avro}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return make_rows()


@pytest.fixture(scope="module", params=WRITERS)
def data(
    request: pytest.FixtureRequest,
    rows: list[dict[str, Any]],
    experiment: Callable[..., Experiment],
    tmp_path_factory: pytest.TempPathFactory,
) -> PreparedData:
    folder = tmp_path_factory.mktemp(request.param)
    for part, name in enumerate(("a", "b")):
        WRITERS[request.param](folder / name, rows[part * ROWS // 2 : (part + 1) * ROWS // 2])
    return prepare(experiment(**SECTIONS, source={"format": request.param}), [f"{folder}/*"], folder / "out", quiet=True)


def split_of(row: dict[str, Any]) -> str:
    return "train" if row["at"] < 700 else "validation" if row["at"] < 850 else "test"


def kept(row: dict[str, Any], name: str, most: int) -> tuple[list[str], list[float]]:
    values = row[name] or []
    weights = (row["strengths"] or [1.0] * len(values)) if name == "words" else [1.0] * len(values)
    pairs = [(value.strip(), weight) for value, weight in zip(values, weights, strict=True) if value and value.strip()]
    return [value for value, _ in pairs][:most], [weight for _, weight in pairs][:most]


def vocabulary(counts: Counter[str], min_count: int = 1, max_size: int | None = None) -> list[str]:
    values = [value for value, count in counts.items() if count >= min_count]
    return sorted(values, key=lambda value: (-counts[value], value.encode()))[:max_size]


@pytest.fixture(scope="module")
def vocabularies(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    training = [row for row in rows if split_of(row) == "train"]
    users = Counter(row["user"] for row in training if row["user"])
    users.update(friend for row in training for friend in kept(row, "friends", 4)[0])
    words = Counter(word for row in training for word in kept(row, "words", 3)[0])
    return {"user": vocabulary(users, min_count=4), "words": vocabulary(words, max_size=12)}


def look_up(value: str, known: list[str], oov_buckets: int) -> int:
    if value in known:
        return known.index(value) + 1
    return len(known) + 1 + int(tf.strings.to_hash_bucket_fast(value, oov_buckets))


def expected_record(row: dict[str, Any], vocabularies: dict[str, list[str]]) -> dict[str, list[float]]:
    words, weights = kept(row, "words", 3)
    return {
        "user": [look_up(row["user"], vocabularies["user"], 3) if row["user"] else 0],
        "friends": [look_up(value, vocabularies["user"], 3) for value in kept(row, "friends", 4)[0]],
        "words": [look_up(value, vocabularies["words"], 2) for value in words],
        "words_weights": weights,
        "item": [int(tf.strings.to_hash_bucket_fast(row["item"], 97))],
        "age": [-1.5 if row["age"] is None else row["age"]],
        "rating": [row["stars"]],
        "finish": [row["finish"]],
        "loved": [int(row["stars"] >= 4)],
    }


def records(data: PreparedData, split: str, tag: str) -> list[dict[str, list[float]]]:
    result = []
    for serialized in tf.data.TFRecordDataset(list(map(str, data.record_files(split, tag))), "GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(serialized).features.feature
        result.append({name: list(getattr(of, of.WhichOneof("kind")).value) for name, of in features.items()})
    return result


def test_every_row_is_its_record(data: PreparedData, rows: list[dict[str, Any]], vocabularies: dict[str, list[str]]) -> None:
    for owner, values in vocabularies.items():
        assert data.vocabulary_file(owner).read_text("utf-8").splitlines() == values
    groups = defaultdict(list)
    for row in rows:
        groups[split_of(row), f"{row['finish']}{int(row['stars'] >= 4)}"].append(expected_record(row, vocabularies))
    assert (data.metadata.rows_in, data.metadata.dead_letters) == (ROWS, {})
    for (split, tag), expected in groups.items():
        assert records(data, split, tag) == expected
    assert sum(sum(tags.values()) for tags in data.metadata.counts.values()) == ROWS


def test_rates_and_statistics(data: PreparedData, rows: list[dict[str, Any]], vocabularies: dict[str, list[str]]) -> None:
    truncated = Counter[str]()
    for split, rates in data.metadata.rates.items():
        chosen = [row for row in rows if split_of(row) == split]
        lists = {name: [kept(row, name, 99)[0] for row in chosen] for name in ("friends", "words")}
        missing = {name: np.mean([not values for values in lists[name]]) for name in lists}
        missing |= {name: np.mean([row[name] is None for row in chosen]) for name in ("user", "item", "age")}
        assert rates.missing == pytest.approx(missing)
        stars = [row["stars"] for row in chosen]
        assert (rates.mean["rating"], rates.deviation["rating"]) == pytest.approx((np.mean(stars), np.std(stars)))
        taken = {"friends": [value for values in lists["friends"] for value in values[:4]]}
        taken["words"] = [value for values in lists["words"] for value in values[:3]]
        taken["user"] = [row["user"] for row in chosen if row["user"]]
        owners = {"friends": "user", "words": "words", "user": "user"}
        assert rates.oov == pytest.approx(
            {name: np.mean([value not in vocabularies[owners[name]] for value in taken[name]]) for name in taken}
        )
        truncated["friends"] += sum(len(values) > 4 for values in lists["friends"])
        truncated["words"] += sum(len(values) > 3 for values in lists["words"])
    assert data.metadata.truncated == truncated
    ages = [row["age"] for row in rows if split_of(row) == "train" and row["age"] is not None]
    boundaries = data.metadata.numeric["age"].boundaries
    assert len(boundaries) == 3
    shares = np.bincount(np.searchsorted(boundaries, ages, "right"), minlength=4) / len(ages)
    assert shares == pytest.approx([0.25] * 4, abs=0.05)


def test_the_sample_is_what_a_request_would_hold(data: PreparedData, rows: list[dict[str, Any]]) -> None:
    sample = [json.loads(line) for line in (data.directory / "sample.jsonl").read_text("utf-8").splitlines()]
    assert len(sample) == 256
    for received, row in zip(sample, rows, strict=False):
        words, weights = kept(row, "words", 3)
        assert received == {
            "user": row["user"] or "",
            "friends": kept(row, "friends", 4)[0],
            "words": words,
            "words_weights": weights,
            "item": row["item"],
            "age": -1.5 if row["age"] is None else row["age"],
        }
