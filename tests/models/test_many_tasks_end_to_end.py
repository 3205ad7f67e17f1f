# SPDX-License-Identifier: Apache-2.0
"""Eight tasks, one of them a regression, with CrossDistil and both kinds of mutual towers: from logs to served answers."""

import csv
import json
from typing import Any

import numpy as np
import pytest

from pipelines.preprocess import prepare
from tests.conftest import request_rows
from tests.export.asking import example_inputs, raw_inputs
from tests.models.small_model import small_batch, small_model, small_rows, small_run
from tf_crossdistil.config_file import load_config
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.data.records import split_batches
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.export.live_model import live_answers
from tf_crossdistil.export.publish import export
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.export.version_one import VersionOneModel
from tf_crossdistil.models.ranking_network import teacher_name
from tf_crossdistil.training.trainer import train

BINARY = ["click", "finish", "like", "share", "follow", "cart", "buy"]
# Amid the others, so that columns of labels and of teachers are not the same.
TASKS = [*BINARY[:3], "seconds", *BINARY[3:]]
ROWS = 3000
CONTENT: dict[str, Any] = {
    "name": "eight",
    "tasks": [{"name": name, "column": name, "kind": "regression" if name == "seconds" else "binary"} for name in TASKS],
    "features": [
        {"name": "user", "kind": "categorical", "dim": 4},
        {"name": "duration", "kind": "numeric", "transform": "standardize"},
        {"name": "row", "kind": "numeric", "transform": "standardize"},
    ],
    "split": {"by": "hash", "key": ["row"], "fractions": [0.6, 0.2, 0.2]},
    "model": {
        "backbone": "mmoe",
        "experts": {"shared": 2, "units": [8]},
        "towers": [16],
        "dropout": 0.1,
        "mutual": {"features": "ctfm", "distillation": "gkd"},
    },
    "training": {
        "batch_size": 128,
        "strata_batch_size": 8,
        "epochs": 8,
        "learning_rate": 0.02,
        "embedding_learning_rate": 0.1,
        "early_stopping": {"metric": "mse"},
    },
}


@pytest.mark.slow
def test_one_step_moves_everything_and_what_is_exported_answers_alike(tmp_path):
    small = {key: CONTENT[key] for key in ("tasks", "model")} | {"features": CONTENT["features"][:2]}
    tags = {"1" * positive + "0" * (7 - positive): 20 for positive in range(8)}
    training = {"batch_size": 16, "strata_batch_size": 8}
    model, experiment = small_model(counts=tags, eagerly=True, **small, training=training)
    batch = small_batch(16, 8, tags=8, tasks=8)
    batch["labels"][:, TASKS.index("seconds")] = np.linspace(-40, 70, 16)
    before = [variable.numpy() for variable in model.trainable_variables]
    losses = {name: float(value) for name, value in model.train_step(batch).items()}
    assert losses.keys() >= {*TASKS, *map(teacher_name, BINARY), *(f"{name}/distillation" for name in BINARY)}
    assert not {"seconds/distillation", teacher_name("seconds")} & losses.keys()
    assert all(np.isfinite(value) for value in losses.values()), losses
    pairs = zip(model.trainable_variables, before, strict=True)
    assert [variable.name for variable, values in pairs if np.array_equal(variable.numpy(), values)] == []

    run = small_run(tmp_path, model, experiment)
    # What `export` writes; loading it is for the slow test.
    served = ServedModel(model, run.vocabularies).served_signatures
    assert {name for name in served if name.startswith("classify_")} == {f"classify_{task}" for task in BINARY}
    answers = served["serving_default"](**raw_columns(experiment, small_rows()))
    live = live_answers(run, small_rows(), model)
    assert answers.keys() == live.keys() == set(TASKS)
    for task in TASKS:
        np.testing.assert_allclose(answers[task], live[task], rtol=1e-5, atol=1e-6)
    assert len({values.tobytes() for values in live.values()}) == 8


def write_logs(path):
    """A funnel, in which users go further if they like, and stay the longer."""
    generator = np.random.default_rng(0)
    liking = dict(zip([f"user {number}" for number in range(30)], generator.normal(0, 1.5, 30), strict=True))
    rows = []
    for number in range(ROWS):
        user = str(generator.choice(list(liking)))
        depth = int(np.clip(round(3.5 + liking[user] + generator.normal(0, 1)), 0, 7))
        row = {"user": user, "duration": f"{generator.uniform(5, 60):.1f}", "row": str(number)}
        row |= {name: str(int(depth > place)) for place, name in enumerate(BINARY)}
        rows.append(row | {"seconds": f"{20 * depth + generator.normal(0, 5):.2f}"})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def area(positive, scores):
    """The share of pairs in the right order, ties as halves."""
    above, below = scores[positive][:, np.newaxis], scores[~positive]
    return np.mean((above > below) + 0.5 * (above == below))


@pytest.mark.slow
def test_from_logs_to_served_answers(tmp_path, quiet_console):
    """What the server answers to raw rows of the test split has the metrics that the evaluation found in records."""
    (tmp_path / "eight.yaml").write_text(json.dumps(CONTENT), encoding="utf-8")
    experiment = load_config(tmp_path / "eight.yaml")
    logs = write_logs(tmp_path / "logs.csv")
    data = prepare(experiment, [str(tmp_path / "logs.csv")], tmp_path / "data", quiet=True)
    assert all(len(tag) == 7 for tag in data.metadata.counts["train"])
    run = train(experiment, data, tmp_path / "run", quiet_console)
    summary = evaluate(run, data, "test").summary
    assert summary["tasks"].keys() == set(TASKS)
    assert summary["teachers"].keys() == set(BINARY)

    numbers = np.concatenate([columns["row"].numpy() for columns in split_batches(data, experiment, "test", 512)]).astype(int)
    assert len(numbers) == summary["rows"] > 400
    raw = [logs[number] for number in numbers]
    rows = request_rows(experiment, raw)
    directory = export(run, tmp_path / "eight").directory
    live = live_answers(run, rows)
    with VersionOneModel(directory) as served:
        answers = served("serving_default", raw_inputs(experiment, rows))
        by_example = served("predict_examples", example_inputs(experiment, rows))
        seconds = served("regress_seconds", example_inputs(experiment, rows, "inputs"))["outputs"]
        assert {f"classify_{task}" for task in TASKS} & served.definitions.keys() == {f"classify_{task}" for task in BINARY}
    np.testing.assert_array_equal(seconds, by_example["seconds"])
    for task in TASKS:
        for given in (answers, by_example):
            np.testing.assert_allclose(given[task], live[task], rtol=1e-5, atol=1e-6)

    labels = {task: np.array([float(row[task]) for row in raw]) for task in TASKS}
    for task in BINARY:
        found = area(labels[task] == 1, answers[task])
        assert found == pytest.approx(summary["tasks"][task]["auc"], abs=1e-3)
        assert found > 0.7, task
    errors = np.mean((answers["seconds"] - labels["seconds"]) ** 2)
    assert errors == pytest.approx(summary["tasks"]["seconds"]["mse"], rel=1e-4)
    # Better than the mean alone.
    assert errors < 0.6 * labels["seconds"].var()
