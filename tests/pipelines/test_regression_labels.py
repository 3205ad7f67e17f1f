# SPDX-License-Identifier: Apache-2.0
"""Logs with regression tasks through whole runs: records, tags, statistics, reruns, increments, and what a person is shown."""

import gzip
import io
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from pipelines.inspection import show_prepared
from pipelines.preprocess import prepare
from tf_crossdistil.config import SPLITS, Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData

Make = Callable[..., Experiment]
Row = dict[str, str]

# Two tasks read the same column; regression tasks stand before, between and behind the binary ones.
SECTIONS: dict[str, Any] = {
    "name": "ratings",
    "tasks": [
        {"name": "rating", "column": "stars", "kind": "regression"},
        {"name": "like", "column": "stars", "at_least": 4},
        {"name": "seconds", "column": "seconds", "kind": "regression", "given": "finish", "optional": True},
        {"name": "finish", "column": "finish", "optional": True},
    ],
    "features": [{"name": "user", "kind": "categorical"}, {"name": "row", "kind": "numeric"}],
    "split": {"by": "column", "column": "part"},
}
BAD = {3: "four", 14: "nan", 25: "-inf", 36: "1e39"}


def make_rows(shift: float = 0.0, parts: tuple[str, ...] = ("train", "train", "validation", "test")) -> list[Row]:
    rng = random.Random(0)
    return [
        {
            "user": f"u{number % 7}",
            "row": str(number),
            "part": rng.choice(parts),
            "stars": BAD.get(number, f"{rng.randint(2, 10) / 2 + shift}"),
            "seconds": rng.choice(["", "junk"]) if number % 5 == 0 else f"{rng.lognormvariate(3, 1):.2f}",
            "finish": "0" if number % 5 == 0 else rng.choice(["0", "1", "1", ""]),
        }
        for number in range(800)
    ]


def write(path: Path, rows: list[Row]) -> str:
    path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))
    return str(path)


def expected(row: Row) -> dict[str, float]:
    stars, seconds, finish = float(row["stars"]), row["seconds"], row["finish"]
    return {
        "rating": stars,
        "like": float(stars >= 4),
        "seconds": float(seconds) if finish == "1" else math.nan,
        "finish": float(finish) if finish else math.nan,
    }


def records(data: PreparedData) -> dict[int, tuple[str, str, dict[str, float]]]:
    """Split, tag and labels of every row, in the order of the files."""
    found = {}
    for entry in data.manifest.files:
        if entry.split and entry.rows:
            content = gzip.decompress((data.directory / entry.path).read_bytes())
            while content:
                size = int.from_bytes(content[:8], "little")
                fields = tf.train.Example.FromString(content[12 : 12 + size]).features.feature
                values = {name: field.float_list.value[0] for name, field in fields.items() if name != "user"}
                found[int(values.pop("row"))] = (entry.split, str(entry.tag), values)
                content = content[16 + size :]
    return found


@pytest.fixture(scope="module")
def config(experiment: Make) -> Experiment:
    return experiment(**SECTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ratings")


@pytest.fixture(scope="module")
def logs(folder: Path) -> str:
    return write(folder / "monday.csv", make_rows())


@pytest.fixture(scope="module")
def data(config: Experiment, logs: str, folder: Path) -> PreparedData:
    return prepare(config, [logs], folder / "prepared", quiet=True)


def digit(label: float) -> str:
    return "x" if math.isnan(label) else str(int(label))


def test_records_hold_the_numbers_and_tags_the_binary_labels_alone(data: PreparedData) -> None:
    rows, found = make_rows(), records(data)
    assert data.metadata.dead_letters == {"not_a_number": 4}
    assert set(found) == set(range(len(rows))) - set(BAD)
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for number, (split, tag, labels) in found.items():
        wanted = expected(rows[number])
        assert (split, tag) == (rows[number]["part"], digit(wanted["like"]) + digit(wanted["finish"]))
        assert labels == pytest.approx(wanted, rel=1e-6, nan_ok=True)
        counts[split][tag] += 1
    assert data.metadata.counts == counts
    assert len(counts["train"]) == 6, "each of 0 and 1 beside each of 0, 1 and x"


def test_statistics_are_those_of_the_rows_that_have_the_label(data: PreparedData) -> None:
    good = [row for number, row in enumerate(make_rows()) if number not in BAD]
    for split in SPLITS:
        labels = [expected(row) for row in good if row["part"] == split]
        rates = data.metadata.rates[split]
        assert list(rates.labelled) == ["rating", "like", "seconds", "finish"]
        assert set(rates.positive) == {"like", "finish"} and set(rates.mean) == set(rates.deviation) == {"rating", "seconds"}
        for task in ("rating", "seconds"):
            values = np.array([label[task] for label in labels])
            known = values[~np.isnan(values)]
            assert rates.labelled[task] == len(known) / len(values)
            assert (rates.mean[task], rates.deviation[task]) == pytest.approx((known.mean(), known.std()))
            if split == "train":
                numbers = data.metadata.numeric[task]
                assert (numbers.mean, numbers.deviation) == (rates.mean[task], rates.deviation[task])
                assert (numbers.count, numbers.missing) == (len(known), len(values) - len(known))
                assert (numbers.minimum, numbers.maximum) == pytest.approx((known.min(), known.max()))


def test_a_shuffle_keeps_labels_and_a_rerun_finds_the_run(
    data: PreparedData, config: Experiment, logs: str, folder: Path
) -> None:
    shuffled = prepare(config, [logs], folder / "shuffled", global_shuffle=True, quiet=True)
    before, after = records(data), records(shuffled)
    assert list(before) != list(after)
    assert {n: str(record) for n, record in before.items()} == {n: str(record) for n, record in after.items()}
    assert (shuffled.metadata.numeric, shuffled.metadata.rates) == (data.metadata.numeric, data.metadata.rates)
    assert prepare(config, [logs], folder / "prepared", quiet=True) == data


def test_the_kind_of_a_task_makes_another_run(experiment: Make, folder: Path) -> None:
    path = write(folder / "zeros.csv", [{"user": f"u{n}", "a": str(n % 2), "b": str(n // 2 % 2)} for n in range(100)])
    tasks = [{"name": "a", "column": "a"}, {"name": "b", "column": "b"}]
    runs = [
        prepare(experiment(tasks=[tasks[0], tasks[1] | kind]), [path], folder / "zeros", quiet=True).metadata
        for kind in ({}, {"kind": "regression"})
    ]
    assert runs[0].run != runs[1].run and runs[0].schema_hash != runs[1].schema_hash
    assert [list(run.counts["train"]) for run in runs] == [["00", "01", "10", "11"], ["0", "1"]]
    assert runs[1].compared_with is None, "its labels mean something else"


def shown(data: PreparedData) -> list[list[str]]:
    text = io.StringIO()
    show_prepared(data, Console(file=text, width=160))
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in text.getvalue().splitlines()]


def test_inspect_shows_means_and_deviations_by_split(data: PreparedData) -> None:
    lines = shown(data)
    assert ["rows by split and tag (like, finish)"] in lines and ["split", "like", "finish"] in lines
    assert ["split", "rating mean", "rating deviation", "seconds mean", "seconds deviation"] in lines
    for split in SPLITS:
        rates = data.metadata.rates[split]
        numbers = (values[task] for task in ("rating", "seconds") for values in (rates.mean, rates.deviation))
        assert [split, *(f"{number:.6g}" for number in numbers)] in lines
    assert not any("stratum" in cell for line in lines for cell in line)


def test_an_increment_keeps_the_statistics_and_tells_how_its_labels_moved(
    data: PreparedData, config: Experiment, folder: Path
) -> None:
    """The scale that a model learned stays; what came is in the rates, and held to the run before."""
    output = folder / "increments"
    days = [make_rows(parts=("test",)), make_rows(shift=3.0, parts=("test",))]
    first, second = (
        prepare(config, [write(folder / f"day{n}.csv", rows)], output, vocabulary_from=data.directory, quiet=True).metadata
        for n, rows in enumerate(days)
    )
    assert first.numeric == second.numeric == data.metadata.numeric
    means = [day.rates["test"].mean["rating"] for day in (first, second)]
    assert means[1] == pytest.approx(means[0] + 3)
    warnings = [warning for warning in second.warnings if "label" in warning]
    assert warnings == [
        f"the mean label of task 'rating' of the test split is {means[1]:.6g}, but was {means[0]:.6g} in run {first.run}"
    ]


def test_an_increment_needs_no_labels(data: PreparedData, experiment: Make, config: Experiment, folder: Path) -> None:
    tasks = [task | {"optional": True} for task in SECTIONS["tasks"]]
    lenient = experiment(**SECTIONS | {"tasks": tasks})
    build = prepare(lenient, [str(folder / "monday.csv")], folder / "lenient", quiet=True)
    rows = [row | {"stars": "", "finish": "", "seconds": ""} for row in make_rows(parts=("test",))]
    unlabelled = prepare(
        lenient, [write(folder / "empty.csv", rows)], folder / "unlabelled", vocabulary_from=build.directory, quiet=True
    )
    rates = unlabelled.metadata.rates["test"]
    assert unlabelled.metadata.counts["test"] == {"xx": 800}
    assert (rates.mean, rates.deviation, rates.labelled) == ({}, {}, dict.fromkeys(config.task_names, 0.0))
    assert unlabelled.metadata.numeric == build.metadata.numeric
    assert ["test", "0.00%", "0.00%", "0.00%", "0.00%"] in shown(unlabelled)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"stars": "1650209940000"}, "has the label 1650209940000 in each of the 40 rows of the training split that have it"),
        ({"stars": ""}, "has a label in no row of the training split"),
    ],
)
def test_what_cannot_be_learnt_is_refused(experiment: Make, tmp_path: Path, change: Row, words: str) -> None:
    tasks = [{"name": "like", "column": "like"}, {"name": "rating", "column": "stars", "kind": "regression", "optional": True}]
    config = experiment(tasks=tasks, split={"by": "column", "column": "part"})
    row = {"user": "u", "part": "train", "like": "1", "stars": "3"}
    rows = [row | change | {"like": str(number % 2)} for number in range(40)]
    # That labels vary elsewhere does not help.
    path = write(tmp_path / "logs.csv", [*rows, row | {"part": "test"}])
    with pytest.raises(CrossDistilError, match=f"task 'rating' {words}, so nothing can be learnt; check its column 'stars'"):
        prepare(config, [path], tmp_path / "out", quiet=True)


TASKS = [{"name": "like", "column": "like"}, {"name": "rating", "column": "stars", "kind": "regression", "optional": True}]


def write_labels(path: Path, labels: Sequence[float], held_out: str) -> str:
    rows = [{"user": "u", "part": "train", "like": str(n % 2), "stars": repr(label)} for n, label in enumerate(labels)]
    others = [rows[n] | {"part": part, "stars": held_out} for part in ("validation", "test") for n in range(2)]
    return write(path, [*rows, *others])


@pytest.mark.parametrize(
    "labels, words",
    [
        (
            [1650209940000 + 50 * n for n in range(40)],
            "1650209940000 to 1650209941950, deviate by 577.17, expected at least 131072: ",
        ),
        (
            [1650209940000 + 10_000 * n for n in range(40)],
            "1650209940000 to 1650210330000, deviate by 115434, expected at least 131072: ",
        ),
        ([n * 1e-50 for n in range(40)], "0 to 3.9e-49, deviate by 1.15434e-49, expected at least 1.17549e-38: "),
    ],
)
def test_labels_that_records_cannot_tell_apart_are_refused(
    experiment: Make, tmp_path: Path, labels: Sequence[float], words: str
) -> None:
    config = experiment(tasks=TASKS, split={"by": "column", "column": "part"})
    with pytest.raises(
        CrossDistilError, match=f"the labels of task 'rating', {words}.*; subtract an offset from column 'stars'"
    ):
        prepare(config, [write_labels(tmp_path / "logs.csv", labels, "")], tmp_path / "out", quiet=True)


def test_labels_that_records_round_are_told_and_so_are_splits_without_any(experiment: Make, tmp_path: Path) -> None:
    config = experiment(tasks=TASKS, split={"by": "column", "column": "part"})
    labels = [1650209940000 + 100_000 * n for n in range(40)]
    data = prepare(config, [write_labels(tmp_path / "logs.csv", labels, "")], tmp_path / "out", quiet=True).metadata
    assert (data.numeric["rating"].mean, data.numeric["rating"].deviation) == pytest.approx((np.mean(labels), np.std(labels)))
    assert data.warnings == [
        f"the labels of task 'rating' are rounded: they deviate by {np.std(labels):.6g}, but records hold numbers in single "
        "precision, which are 131072 apart at the largest label; subtract an offset from column 'stars' in the logs, or give "
        "it another unit",
        "no row of the validation split has a label of task 'rating', so that it cannot be measured there",
        "no row of the test split has a label of task 'rating', so that it cannot be measured there",
    ]
    fine = [label - labels[0] for label in labels]
    data = prepare(config, [write_labels(tmp_path / "fine.csv", fine, "5")], tmp_path / "fine", quiet=True).metadata
    assert data.warnings == []
