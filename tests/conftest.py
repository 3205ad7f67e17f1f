# SPDX-License-Identifier: Apache-2.0
"""A small prepared data set with awkward values, and a run trained on it, that many tests share."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipelines.preprocess import prepare
from tf_crossdistil.config import Experiment, MultiValueFeature, NumericFeature
from tf_crossdistil.config_file import load_config
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.startup import load_tensorflow

load_tensorflow()

ROWS = 4000
# Missing, padded, non-ASCII, long, and alike but for a detail that a look-up must not lose.
AWKWARD = [
    "",
    "   ",
    " padded ",
    "padded",
    "tab\tinside",
    "ünïcödé",
    "日本",
    "x" * 17,
    "y" * 40,
    "z" * 90,
    "007",
    "7",
    "-1",
    "7.0",
]

CONTENT: dict[str, Any] = {
    "name": "shared",
    "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
    "features": [
        {"name": "user", "kind": "categorical", "min_count": 3, "oov_buckets": 5, "dim": 4},
        {"name": "word", "kind": "categorical", "max_size": 8, "dim": 3},
        {"name": "author", "kind": "hashed", "buckets": 50, "dim": 4},
        {"name": "duration", "kind": "numeric", "transform": "log1p", "default": 9.5},
        {"name": "row", "kind": "numeric", "transform": "standardize"},
        {
            "name": "tags",
            "kind": "multi_value",
            "weights": "scores",
            "max_length": 4,
            "min_count": 3,
            "oov_buckets": 3,
            "dim": 3,
        },
        {"name": "others", "kind": "multi_value", "share_with": "word", "delimiter": ",", "pooling": "sum"},
        {"name": "quartile", "column": "duration", "kind": "numeric", "transform": "bucketize", "buckets": 4, "dim": 2},
        {"name": "third", "column": "row", "kind": "numeric", "transform": "bucketize", "boundaries": [1333.5, 2667.0]},
    ],
    "split": {"by": "hash", "key": ["row"], "fractions": [0.7, 0.15, 0.15]},
    "model": {"experts": {"shared": 1, "per_task": 1, "units": [8], "levels": 2}, "towers": [4], "dropout": 0.2},
    "training": {"batch_size": 512, "strata_batch_size": 16, "epochs": 2, "early_stopping": None},
    "evaluation": {"group_by": "user"},
}


def write_awkward_logs(path: Path) -> list[dict[str, str]]:
    """Logs whose `row` column numbers the rows, so that records can be joined with the raw rows they came from."""
    generator, lists = np.random.default_rng(0), np.random.default_rng(1)
    taste = {word: generator.normal() for word in AWKWARD}
    rows = []
    for number in range(ROWS):
        word = AWKWARD[min(int(generator.zipf(1.4)) - 1, len(AWKWARD) - 1)]
        finish = generator.random() < 1 / (1 + np.exp(0.5 - taste[word]))
        like = generator.random() < 1 / (1 + np.exp(3.0 - taste[word]))
        rows.append(
            {
                "user": generator.choice(["", f"user {int(generator.zipf(1.3)) % 997}"], p=[0.1, 0.9]),
                "word": word,
                "author": str(generator.choice([*AWKWARD, str(generator.integers(1000))])),
                "duration": generator.choice(["", f"{generator.lognormal(3):.3f}"], p=[0.1, 0.9]),
                "row": str(number),
                **_list_columns(lists),
                "finish": str(int(finish)),
                "like": str(int(like)),
            }
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _list_columns(generator: np.random.Generator) -> dict[str, str]:
    """Lists from none to more values than are kept, with and without weights; some values are empty."""
    tags = "|".join(generator.choice([*AWKWARD, *map(str, range(60))], generator.integers(0, 8)))
    weighted = bool(tags.strip()) and generator.random() < 0.7
    scores = "|".join(generator.choice(["0", "0.25", "1", "3.5"], tags.count("|") + 1)) if weighted else ""
    others = generator.choice(AWKWARD, generator.integers(0, 4))
    return {"tags": tags, "scores": scores, "others": ",".join(others)}


def request_rows(experiment: Experiment, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows of logs as a client sends them: divided lists, numbers, NaN and None for missing ones."""
    return [_request_row(experiment, row) for row in rows]


def _request_row(experiment: Experiment, row: dict[str, str]) -> dict[str, Any]:
    request: dict[str, Any] = {}
    for feature in experiment.features:
        text = row[feature.source_column]
        if isinstance(feature, NumericFeature):
            request[feature.name] = float(text or "nan")
        elif isinstance(feature, MultiValueFeature):
            request[feature.name] = text.split(feature.delimiter) if text else None
            if feature.weights:
                weights = row[feature.weights]
                request[feature.weights_name] = [float(weight) for weight in weights.split("|")] if weights else None
        else:
            request[feature.name] = text
    return request


@pytest.fixture(scope="session")
def config_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "shared.yaml"
    path.write_text(json.dumps(CONTENT), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def shared_experiment(config_file) -> Experiment:
    return load_config(config_file)


@pytest.fixture(scope="session")
def raw_rows(tmp_path_factory) -> tuple[Path, list[dict[str, str]]]:
    path = tmp_path_factory.mktemp("logs") / "awkward.csv"
    return path, write_awkward_logs(path)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, shared_experiment, raw_rows) -> PreparedData:
    return prepare(shared_experiment, [str(raw_rows[0])], tmp_path_factory.mktemp("prepared"), quiet=True)


@pytest.fixture(scope="session")
def quiet_console() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, shared_experiment, prepared, quiet_console):
    """A finished run of two epochs."""
    from tf_crossdistil.training.trainer import train

    return train(shared_experiment, prepared, tmp_path_factory.mktemp("runs") / "run", quiet_console)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, trained) -> Path:
    """The folder of the model that the run exported."""
    from tf_crossdistil.export.publish import export

    target = tmp_path_factory.mktemp("models") / "shared"
    export(trained, target)
    return target
