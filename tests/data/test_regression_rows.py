# SPDX-License-Identifier: Apache-2.0
"""The numbers of regression tasks from the logs to the batches: exact, with their rows, and of no part in tags."""

import csv
from typing import Any

import numpy as np
import pytest

from pipelines.preprocess import prepare
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.data.evaluation_batches import evaluation_batches
from tf_crossdistil.data.strata import strata, thin_strata
from tf_crossdistil.data.training_batches import TrainingBatches

ROWS = 1500
CONTENT: dict[str, Any] = {
    "name": "mixed",
    "tasks": [
        {"name": "stars", "column": "stars", "kind": "regression", "optional": True},
        {"name": "finish", "column": "finish"},
        {"name": "seconds", "column": "seconds", "kind": "regression"},
        {"name": "like", "column": "like", "optional": True},
    ],
    "features": [{"name": "row", "kind": "numeric"}, {"name": "user", "kind": "categorical"}],
    "split": {"by": "hash", "key": ["row"], "fractions": [0.8, 0.1, 0.1]},
    "training": {"batch_size": 256, "strata_batch_size": 16},
}


def label(value):
    return "" if np.isnan(value) else repr(float(value))


@pytest.fixture(scope="module")
def labels():
    """By row; of numbers as of the other labels some are 0, 1 and missing."""
    generator = np.random.default_rng(0)
    stars = generator.choice([np.nan, 0, 1, -2.5, 3], ROWS)
    finish = generator.integers(0, 2, ROWS)
    like = generator.choice([0, 1, np.nan], ROWS, p=[0.8, 0.15, 0.05])
    # One needs all of float32's digits, another all of its range.
    seconds = np.where(np.arange(ROWS) % 2, generator.normal(0, 1e30, ROWS), 16_777_215 - np.arange(ROWS)).astype(np.float32)
    return np.stack([stars, finish, seconds, like], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def mixed(labels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    names = [task["name"] for task in CONTENT["tasks"]]
    with (folder / "logs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "user", *names])
        writer.writerows([number, f"user {number % 7}", *map(label, row)] for number, row in enumerate(labels))
    experiment = parse_config(CONTENT, "mixed")
    return experiment, prepare(experiment, [str(folder / "logs.csv")], folder / "data", quiet=True)


def rows_of(columns):
    return columns["row"].numpy().astype(int)


@pytest.mark.parametrize(
    ("most_bytes", "held"), [(1 << 30, 2_000_000), pytest.param(0, 2_000_000, marks=pytest.mark.slow), (0, 20)], ids=str
)
def test_numbers_stay_exact_and_with_their_rows_and_strata_are_those_of_binary_labels(
    mixed, labels, monkeypatch, most_bytes, held
):
    """In memory; from files; from files with draws that are natural rows, or stream."""
    monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", most_bytes)
    monkeypatch.setattr("tf_crossdistil.data.streamed_rows._HELD_ROWS", held)
    experiment, data = mixed
    tags = strata(data.metadata)
    assert tags == ["00", "01", "0x", "10", "11", "1x"]
    seen = set()
    for batch in TrainingBatches(data, experiment, with_strata=True).epoch(1):
        numbers = rows_of(batch["features"])
        seen |= set(numbers)
        np.testing.assert_array_equal(batch["labels"], labels[numbers])
        drawn = rows_of(batch["strata"]).reshape(len(tags), -1)
        for tag, rows in zip(tags, drawn, strict=True):
            finish, like = labels[rows, 1], labels[rows, 3]
            assert set(finish) == {float(tag[0])}
            assert np.isnan(like).all() if tag[1] == "x" else set(like) == {float(tag[1])}
    assert len(seen) == data.rows("train")


def test_evaluation_has_the_same_numbers(mixed, labels):
    experiment, data = mixed
    for batch in evaluation_batches(data, experiment, "test", batch_size=64):
        np.testing.assert_array_equal(batch["labels"], labels[rows_of(batch["features"])])


def test_terms_that_are_left_out_are_those_of_binary_tasks(mixed):
    experiment, data = mixed
    told = thin_strata(experiment, data.metadata.model_copy(update={"counts": {"train": {"00": 50, "10": 50, "11": 50}}}))
    assert told == [
        "the negatives of 'finish' do not have both labels of 'like'; its ranking loss leaves that term out",
        "the positives of 'like' do not have both labels of 'finish'; its ranking loss leaves that term out",
    ]
