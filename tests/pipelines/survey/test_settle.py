# SPDX-License-Identifier: Apache-2.0
"""What a survey settles, alone or with the vocabulary of an earlier run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.checking.validate import Validator
from pipelines.runs.reports import SurveyReport, read_survey
from pipelines.sources.blocks import Block, InputRange
from pipelines.survey.settle import read_vocabularies, settle
from pipelines.survey.survey import Survey
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import Manifest, Metadata, PreparedData

Make = Callable[..., Experiment]
FEATURES = [
    {"name": "user", "kind": "categorical"},
    {"name": "author", "kind": "categorical", "share_with": "user"},
    {"name": "friends", "kind": "multi_value", "share_with": "user", "max_length": 2},
    {"name": "tags", "kind": "multi_value", "min_count": 2},
    {"name": "age", "kind": "numeric", "transform": "bucketize", "buckets": 2},
    {"name": "price", "kind": "numeric", "transform": "bucketize", "boundaries": [0.1, 5.0]},
    {"name": "score", "kind": "numeric", "transform": "standardize"},
]
SPLIT = {"by": "column", "column": "part"}
COLUMNS: dict[str, list[Any]] = {
    "user": ["u", "v", "u", "w"],
    "author": ["v", "", None, "z"],
    "friends": [["v", "x", "y"], [], None, ["w"]],
    "tags": ["a|b|a", "b|c", "", "c"],
    "age": [1, 2, 3, 99],
    "price": [1, 2, None, 99],
    "score": [1.0, 3.0, None, 99.0],
    "finish": [0, 1, 0, 1],
    "like": [0, 1, 1, 1],
    "part": ["train", "train", "train", "test"],
}


@pytest.fixture
def config(experiment: Make) -> Experiment:
    return experiment(features=FEATURES, split=SPLIT)


def settled(config: Experiment, run: Path, columns: dict[str, list[Any]], frozen: PreparedData | None = None) -> SurveyReport:
    (run / "work").mkdir(parents=True)
    survey = Survey.empty(config)
    survey.open_range(0)
    block = Block({name: pa.array(values) for name, values in columns.items()}, np.arange(len(columns["part"])))
    survey.add(0, block, Validator(config)(block.columns))
    report = settle(survey, config, run, [InputRange(0, "logs", 0, None)], 0.0, frozen)
    assert read_survey(run) == report
    return report


def prepared(config: Experiment, run: Path, report: SurveyReport) -> PreparedData:
    metadata = Metadata(
        name="first",
        run="1",
        package_version="0",
        schema_hash=config.schema_hash(),
        config={},
        rows_in=4,
        rows_out=4,
        dead_letters={},
        counts={},
        rates={},
        vocabularies=report.vocabularies,
        numeric=report.numeric,
        inputs=[],
    )
    return PreparedData(run, metadata, Manifest(files=report.files))


def test_shared_values_are_counted_together_under_their_owner(config: Experiment, tmp_path: Path) -> None:
    report = settled(config, tmp_path / "run", COLUMNS)
    vocabularies = {name: values.to_pylist() for name, values in read_vocabularies(tmp_path / "run", report).items()}
    # u twice as user; v as user, author and friend; x as friend; y is beyond max_length.
    assert vocabularies == {"user": ["v", "u", "x"], "tags": ["a", "b"]}
    assert {entry.path for entry in report.files} == {"vocabulary/user.txt", "vocabulary/tags.txt"}
    assert (report.vocabularies["user"].size, report.vocabularies["user"].ids) == (3, 5)


def test_numeric_statistics_with_boundaries(config: Experiment, tmp_path: Path) -> None:
    numeric = settled(config, tmp_path / "run", COLUMNS).numeric
    assert numeric["age"].boundaries == [2.0]
    assert numeric["price"].boundaries == [0.1, 5.0]
    assert numeric["score"].boundaries == []
    assert (numeric["score"].mean, numeric["score"].count, numeric["score"].missing) == (2.0, 2, 1)


def test_frozen_vocabularies_and_statistics_are_taken_over(config: Experiment, tmp_path: Path) -> None:
    first = settled(config, tmp_path / "first", COLUMNS)
    only_test = {name: values[3:] for name, values in COLUMNS.items()}
    second = settled(config, tmp_path / "second", only_test, prepared(config, tmp_path / "first", first))
    assert (second.vocabularies, second.numeric) == (first.vocabularies, first.numeric)
    for name in ("user", "tags"):
        path = f"vocabulary/{name}.txt"
        assert (tmp_path / "second" / path).read_bytes() == (tmp_path / "first" / path).read_bytes()
    assert second.rows == [1]


def test_without_a_frozen_run_the_training_split_needs_rows(config: Experiment, tmp_path: Path) -> None:
    with pytest.raises(CrossDistilError, match="no good row belongs to the training split"):
        settled(config, tmp_path / "run", {name: values[3:] for name, values in COLUMNS.items()})


def test_a_damaged_frozen_vocabulary_is_refused(config: Experiment, tmp_path: Path) -> None:
    first = settled(config, tmp_path / "first", COLUMNS)
    (tmp_path / "first" / "vocabulary" / "tags.txt").write_text("other\n")
    with pytest.raises(CrossDistilError, match=r"tags.txt is damaged: its sha256 is"):
        settled(config, tmp_path / "second", COLUMNS, prepared(config, tmp_path / "first", first))
