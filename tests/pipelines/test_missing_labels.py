# SPDX-License-Identifier: Apache-2.0
"""Logs with missing labels, conditions and weights through whole runs, against their reading row by row."""

import csv
import gzip
import io
import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from rich.console import Console

from pipelines.inspection import show_prepared, warnings
from pipelines.preprocess import prepare
from tf_crossdistil.config import SPLITS, Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData

Make = Callable[..., Experiment]
Row = dict[str, str]

# The tasks stand in another order than that in which they depend on one another.
TASKS: list[dict[str, Any]] = [
    {"name": "buy", "column": "buy", "given": "click"},
    {"name": "click", "column": "click", "given": "view"},
    {"name": "view", "column": "view", "optional": True},
]
NAMES = [task["name"] for task in TASKS]
SECTIONS: dict[str, Any] = {
    "name": "funnel",
    "tasks": TASKS,
    "features": [{"name": "user", "kind": "categorical"}, {"name": "row", "kind": "numeric"}],
    "split": {"by": "column", "column": "part"},
    "sample_weight": "importance",
}


def make_rows(count: int = 600) -> list[Row]:
    """Labels are empty where they mean nothing, and here and there hold what another system wrote."""
    rng = random.Random(0)
    rows = []
    for number in range(count):
        view = rng.choice(["0", "1", "1", "1", ""])
        click = rng.choice("01") if view == "1" else rng.choice(["", "0", "1"])
        buy = rng.choice("01") if (view, click) == ("1", "1") else rng.choice(["", "0", "1", "-1", "maybe"])
        weight = rng.choice(["0", "0.5", "1", "3"])
        part = rng.choice(["train"] * 6 + ["validation", "test"])
        row = {"row": str(number), "user": f"u{number % 7}", "part": part, "importance": weight}
        rows.append(row | {"view": view, "click": click, "buy": buy})
    return rows


def spoil(rows: list[Row]) -> dict[int, str]:
    """Makes some rows bad; their reasons by row."""
    changes = [
        ({"view": "1", "click": "1", "buy": ""}, "label_missing"),
        ({"view": "1", "click": ""}, "label_missing"),
        ({"view": "1", "click": "1", "buy": "maybe"}, "label_not_binary"),
        ({"view": "yes"}, "label_not_binary"),
        ({"importance": ""}, "not_a_number"),
        ({"importance": "inf"}, "not_a_number"),
        ({"importance": "-1"}, "negative_weight"),
    ]
    for number, (change, _) in enumerate(changes):
        rows[10 * number] |= change
    return {10 * number: reason for number, (_, reason) in enumerate(changes)}


def labels_of(row: Row) -> list[float]:
    """In the order of the tasks; each is read only where the one before it in the funnel is 1."""
    view = float(row["view"] or "nan")
    click = float(row["click"]) if view == 1 else math.nan
    buy = float(row["buy"]) if click == 1 else math.nan
    return [buy, click, view]


def tag_of_row(row: Row) -> str:
    return "".join("x" if math.isnan(label) else str(int(label)) for label in labels_of(row))


def write(path: Path, rows: list[Row]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def records(data: PreparedData) -> dict[int, tuple[str, str, dict[str, float]]]:
    """Split, tag, and the numbers of the record, by the row of the logs."""
    result = {}
    for entry in data.manifest.files:
        if entry.split is not None and entry.tag is not None:
            path = data.directory / entry.path
            assert f"/tag={entry.tag}/" in entry.path
            for content in tf.data.TFRecordDataset(str(path), compression_type="GZIP"):
                fields = tf.train.Example.FromString(content.numpy()).features.feature
                values = {name: field.float_list.value[0] for name, field in fields.items() if field.float_list.value}
                result[int(values["row"])] = entry.split, entry.tag, values
    return result


@pytest.fixture(scope="module")
def logs() -> tuple[list[Row], dict[int, str]]:
    rows = make_rows()
    return rows, spoil(rows)


@pytest.fixture(scope="module")
def funnel(experiment: Make, logs: tuple[list[Row], dict[int, str]], tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("funnel")
    path = write(folder / "logs.csv", logs[0])
    return prepare(experiment(**SECTIONS), [path], folder / "prepared", max_bad_fraction=0.1, quiet=True)


def test_records_hold_the_labels_that_mean_something(funnel: PreparedData, logs: tuple[list[Row], dict[int, str]]) -> None:
    rows, bad = logs
    found = records(funnel)
    assert set(found) == set(range(len(rows))) - set(bad)
    for number, (split, tag, values) in found.items():
        assert (split, tag) == (rows[number]["part"], tag_of_row(rows[number]))
        for name, label in zip(NAMES, labels_of(rows[number]), strict=True):
            assert values[name] == label or (math.isnan(values[name]) and math.isnan(label))
        assert values["sample_weight"] == float(rows[number]["importance"])
    assert {tag for _, tag, _ in found.values()} == {"111", "011", "x01", "xx0", "xxx"}, "the test has all that can be"


def test_only_rows_that_cannot_be_read_are_dead_letters(funnel: PreparedData, logs: tuple[list[Row], dict[int, str]]) -> None:
    lines = [
        json.loads(line)
        for path in (funnel.directory / "dead_letter").glob("*.gz")
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    assert {letter["row"] - 1: letter["reason"] for letter in lines} == logs[1]
    assert funnel.metadata.dead_letters == Counter(logs[1].values())


def test_rates_are_among_rows_with_the_label(funnel: PreparedData, logs: tuple[list[Row], dict[int, str]]) -> None:
    rows, bad = logs
    for split in SPLITS:
        good = [labels_of(row) for number, row in enumerate(rows) if number not in bad and row["part"] == split]
        rates = funnel.metadata.rates[split]
        for name, labels in zip(NAMES, zip(*good, strict=True), strict=True):
            known = [label for label in labels if not math.isnan(label)]
            assert rates.labelled[name] == pytest.approx(len(known) / len(good))
            assert rates.positive[name] == pytest.approx(sum(known) / len(known))
    assert all(share < 1 for share in funnel.metadata.rates["train"].labelled.values())


def test_statistics_of_weights_are_those_of_the_training_split(
    funnel: PreparedData, logs: tuple[list[Row], dict[int, str]]
) -> None:
    rows, bad = logs
    weights = [float(row["importance"]) for number, row in enumerate(rows) if number not in bad and row["part"] == "train"]
    statistics = funnel.metadata.numeric["sample_weight"]
    assert (statistics.count, statistics.missing, statistics.minimum, statistics.maximum) == (len(weights), 0, 0.0, 3.0)
    assert statistics.mean == pytest.approx(sum(weights) / len(weights))


def test_the_sample_holds_features_alone(funnel: PreparedData) -> None:
    lines = (funnel.directory / "sample.jsonl").read_text().splitlines()
    assert lines and all(set(json.loads(line)) == {"user", "row"} for line in lines)


def test_a_shuffle_keeps_split_tag_and_labels(
    funnel: PreparedData, experiment: Make, logs: tuple[list[Row], dict[int, str]], tmp_path: Path
) -> None:
    path = write(tmp_path / "logs.csv", logs[0])
    config = experiment(**SECTIONS)
    shuffled = prepare(config, [path], tmp_path / "out", max_bad_fraction=0.1, global_shuffle=True, quiet=True)
    before, after = records(funnel), records(shuffled)
    assert list(before) != list(after)
    assert {n: str(record) for n, record in before.items()} == {n: str(record) for n, record in after.items()}
    assert (shuffled.metadata.counts, shuffled.metadata.rates) == (funnel.metadata.counts, funnel.metadata.rates)


def test_an_increment_takes_the_mean_weight_over_and_needs_no_labels(
    funnel: PreparedData, experiment: Make, tmp_path: Path
) -> None:
    rows = [row | {"part": "test", "view": "", "click": "", "buy": "", "importance": "0"} for row in make_rows(20)]
    path, config = write(tmp_path / "logs.csv", rows), experiment(**SECTIONS)
    data = prepare(config, [path], tmp_path / "out", vocabulary_from=funnel.directory, quiet=True)
    assert data.metadata.counts["test"] == {"xxx": 20}
    assert data.metadata.numeric == funnel.metadata.numeric
    rates = data.metadata.rates["test"]
    assert (rates.positive, rates.labelled) == ({}, dict.fromkeys(NAMES, 0.0))
    show_prepared(data, Console(quiet=True))


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"importance": "0"},
            "column 'importance' weighs every row of the training split 0, so nothing can be learnt; sample_weight must name",
        ),
        ({"view": ""}, "task 'buy' has no positive row among the 0 of the training split that have its label"),
        ({"view": "1", "click": "1"}, "task 'click' has no negative row among the 60 of the training split that have its"),
        ({"view": "1", "click": "1", "buy": "0"}, "task 'buy' has no positive row among the 60 of the training split"),
    ],
    ids=["no weight", "no label", "one label of a condition", "one label"],
)
def test_what_cannot_be_learnt_is_one_sentence(experiment: Make, tmp_path: Path, change: Row, words: str) -> None:
    odd = dict.fromkeys(["", "-1", "maybe"], "0")
    complete = [{name: odd.get(value, value) for name, value in row.items()} | {"part": "train"} for row in make_rows(60)]
    rows = [row | change for row in complete]
    with pytest.raises(CrossDistilError) as raised:
        prepare(experiment(**SECTIONS), [write(tmp_path / "logs.csv", rows)], tmp_path / "out", quiet=True)
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert not list((tmp_path / "out").glob("run=*"))


def test_inspection_shows_what_is_labelled_and_which_strata_lack(funnel: PreparedData) -> None:
    text = io.StringIO()
    show_prepared(funnel, Console(file=text, width=160))
    shown = text.getvalue()
    assert all(f"tag={tag}" in shown for tag in ("011", "111", "x01", "xx0", "xxx"))
    labelled = shown.split("rows that have the label")[1].split("positive rates")[0]
    shares = [f"{funnel.metadata.rates['train'].labelled[name]:.2%}" for name in NAMES]
    assert ["train", *shares] in [line.replace("│", " ").split() for line in labelled.splitlines()]
    assert "sample_weight" in shown.split("numbers in the training split")[1]
    assert not [sentence for sentence in warnings(funnel.metadata) if "stratum" in sentence], "x01 is whole: buy needs a click"


def test_strata_that_the_conditions_allow_are_missed(funnel: PreparedData) -> None:
    def told(counts: dict[str, int], tasks: list[dict[str, Any]]) -> list[str]:
        config = {"tasks": tasks}
        metadata = funnel.metadata.model_copy(
            update={"counts": {"train": counts, "validation": {}, "test": {}}, "config": config}
        )
        return [sentence for sentence in warnings(metadata) if "stratum" in sentence or "combinations" in sentence]

    enough = dict.fromkeys(["011", "111", "x01", "xx0"], 100)
    assert told(enough | {"xxx": 1, "1xx": 1}, TASKS) == [], "labels that are missing now and then make no stratum"
    (absent, thin) = told({tag: rows for tag, rows in enough.items() if tag != "111"} | {"xx0": 9}, TASKS)
    assert "tag=111 (buy, click, view) has no training row" in absent
    assert "tag=xx0 (buy, click, view) has only 9 training rows" in thin
    two: list[dict[str, Any]] = [{"name": "a"}, {"name": "b", "optional": True}]
    assert [sentence.split()[2] for sentence in told({"00": 99, "11": 99, "1x": 2, "0x": 99}, two)] == ["tag=01", "tag=10"]
    # A root with two branches of two tasks: 1 + 3 * 3 combinations.
    conditions = {"r": None, "a": "r", "b": "a", "c": "r", "d": "c"}
    tree: list[dict[str, Any]] = [{"name": name, "given": condition} for name, condition in conditions.items()]
    assert told({"0xxxx": 99}, tree) == [
        "9 of the 10 label combinations (r, a, b, c, d) have no training row, and 0 have fewer than 32; ranking terms between "
        "them are weak or left out"
    ]
    possible = {"0xxxx", *(f"1{ab}{cd}" for ab in ("0x", "10", "11") for cd in ("0x", "10", "11"))}
    for lacking in sorted(possible):
        (sentence,) = told(dict.fromkeys(possible - {lacking}, 99), tree)
        assert f"tag={lacking} (r, a, b, c, d) has no training row" in sentence


def test_drift_of_labels_that_are_there(experiment: Make, tmp_path: Path) -> None:
    config = experiment(**SECTIONS)
    rows = make_rows(4000)
    first = prepare(config, [write(tmp_path / "monday.csv", rows)], tmp_path / "out", quiet=True)
    lost = [row | ({"view": ""} if number % 2 else {}) for number, row in enumerate(rows)]
    second = prepare(config, [write(tmp_path / "tuesday.csv", lost)], tmp_path / "out", quiet=True)
    assert second.metadata.compared_with == first.metadata.run
    before, now = (data.metadata.rates["train"] for data in (first, second))
    training = [sentence for sentence in second.metadata.warnings if "train split" in sentence]
    assert training == [
        f"the share of rows that have the label of task '{name}' of the train split is {now.labelled[name]:.2%}, but was "
        f"{before.labelled[name]:.2%} in run {first.metadata.run}"
        for name in NAMES
    ], "positive rates among the rows with a label are as they were"


def test_nested_tasks_without_a_condition_have_an_empty_stratum(experiment: Make, tmp_path: Path) -> None:
    labels = ["0,0,0", "1,0,0", "1,1,0", "1,1,1"]
    (tmp_path / "logs.csv").write_text("user,view,click,buy\n" + "".join(f"u{n},{labels[n % 4]}\n" for n in range(400)))
    tasks = [{"name": name, "column": name} for name in ("view", "click", "buy")]
    config = experiment(tasks=tasks, split={"by": "hash", "key": ["user"]})
    data = prepare(config, [f"{tmp_path}/logs.csv"], tmp_path / "out", quiet=True)
    assert all(set(counts) == {"000", "100", "110", "111"} for counts in data.metadata.counts.values())
    folders = {path.name for split in SPLITS for path in (data.directory / split).iterdir()}
    assert folders == {"tag=000", "tag=100", "tag=110", "tag=111"}
    assert data.metadata.rates["train"].labelled == {"view": 1.0, "click": 1.0, "buy": 1.0}
    assert sum("has no training row" in sentence for sentence in warnings(data.metadata)) == 4
    text = io.StringIO()
    show_prepared(data, Console(file=text, width=160))
    assert "rows that have the label" not in text.getvalue()
