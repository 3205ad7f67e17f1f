# SPDX-License-Identifier: Apache-2.0
"""Random experiments over messy rows, against an oracle that reads row by row.

What goes in comes out as a record with the right content, or is a dead letter with a reason that the row gives.
"""

import json
import math
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.checking.dead_letters import dead_letters
from pipelines.checking.validate import Rows, Validator
from pipelines.encoding.records import EncodedBlock, RowEncoder
from pipelines.encoding.tally import Tally
from pipelines.runs.reports import SurveyReport
from pipelines.sources.blocks import Block, InputRange
from pipelines.survey.settle import read_vocabularies, settle
from pipelines.survey.survey import Survey
from tests.pipelines.encoding.random_experiments import Case, Make
from tests.pipelines.encoding.row_oracle import Oracle
from tf_crossdistil.config import SPLITS
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import record_fields


def parse(encoded: EncodedBlock) -> dict[tuple[str, str], list[dict[str, list[Any]]]]:
    result = {}
    for group in encoded.groups:
        content, ends = bytes(group.records.data), group.records.ends.tolist()
        assert ends[-1] == len(content)
        examples = [tf.train.Example.FromString(content[a + 12 : b - 4]) for a, b in zip([0, *ends], ends, strict=False)]
        result[group.split, group.tag] = [
            {name: list(getattr(value, value.WhichOneof("kind")).value) for name, value in example.features.feature.items()}
            for example in examples
        ]
    return result


def check_block(oracle: Oracle, block: Block, rows: Rows, encoded: EncodedBlock) -> None:
    letters = {letter.position: letter.reason for letter in dead_letters(block, rows)}
    expected: defaultdict[tuple[str, str], list[dict[str, list[Any]]]] = defaultdict(list)
    for row in block.positions.tolist():
        assert letters.get(row) in (oracle.reasons[row] or {None}), oracle.reasons[row]
        if row not in letters:
            record = oracle.record(row)
            labels = [record[name][0] for name in oracle.experiment.binary_names]
            tag = "".join("x" if math.isnan(label) else str(int(label)) for label in labels)
            expected[str(oracle.splits[row]), tag].append(record)
    found = parse(encoded)
    assert {key: [exact(record) for record in records] for key, records in found.items()} == {
        key: [exact(record) for record in records] for key, records in expected.items()
    }
    names = {field.name for field in record_fields(oracle.experiment)}
    assert all(set(record) == names for records in found.values() for record in records)


def check_labels(oracle: Oracle, report: SurveyReport) -> None:
    for task in oracle.experiment.regression_names:
        for split in SPLITS:
            labels = np.array(oracle.labels(task, split), np.float32).astype(np.float64)
            found = report.labels[split][task]
            assert (found.count, found.missing) == (len(labels), oracle.splits.count(split) - len(labels))
            if len(labels):
                expected = (labels.mean(), labels.std(), labels.min(), labels.max())
                assert (found.mean, found.deviation, found.minimum, found.maximum) == pytest.approx(expected)
        assert report.numeric[task] == report.labels["train"][task]


def exact(record: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Numbers in single precision, and as bytes, so that NaN equals NaN."""
    return {name: [np.float32(v).tobytes() if isinstance(v, float) else v for v in values] for name, values in record.items()}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_experiments(seed: int, experiment: Make, tmp_path_factory: Any) -> None:
    rng = random.Random(seed)
    case = Case(rng, experiment)
    oracle = Oracle(case)
    blocks = case.blocks([rng.randint(0, 15)])
    validator = Validator(case.experiment)
    checked = [validator(block.columns) for block in blocks]
    surveys = []
    for index, (block, rows) in enumerate(zip(blocks, checked, strict=True)):
        survey = Survey.empty(case.experiment)
        survey.open_range(index)
        survey.add(index, block, rows)
        surveys.append(survey)
    total = Survey.empty(case.experiment)
    for survey in rng.sample(surveys, len(surveys)):
        total.merge(survey)
    run: Path = tmp_path_factory.mktemp("run")
    (run / "work").mkdir()
    try:
        report = settle(total, case.experiment, run, [InputRange(n, "logs", 0, None) for n in range(len(blocks))], 1.0)
    except CrossDistilError as error:
        assert "training split" in str(error)
        assert not oracle.can_train
        return
    assert oracle.can_train
    if oracle.weights:
        assert report.numeric["sample_weight"].mean == pytest.approx(np.mean(oracle.weights))
    check_labels(oracle, report)
    vocabularies = read_vocabularies(run, report)
    assert {name: values.to_pylist() for name, values in vocabularies.items()} == oracle.vocabularies
    encoder = RowEncoder(case.experiment, vocabularies)
    tallies: defaultdict[str, list[Tally]] = defaultdict(list)
    for block, rows in zip(blocks, checked, strict=True):
        encoded = encoder.encode(rows)
        check_block(oracle, block, rows, encoded)
        for split, tally in encoded.tallies.items():
            tallies[split].append(tally)
    for split, parts in tallies.items():
        summed: dict[str, Counter[str]] = {name: Counter() for name in ("missing", "values", "oov", "truncated")}
        for part in parts:
            for name, counts in summed.items():
                counts.update(getattr(part, name))
        expected = oracle.tally(split)
        assert sum(part.rows for part in parts) == expected.rows
        assert {name: dict(counts) for name, counts in summed.items()} == expected.model_dump(exclude={"rows"})


def test_many_tasks_make_only_the_tags_that_occur(experiment: Make) -> None:
    tasks = [{"name": f"task{number}", "column": f"t{number}", "optional": True} for number in range(38)]
    config = experiment(tasks=tasks)
    rng = random.Random(0)
    labels = [[rng.choice([0, 1, None]) for _ in tasks] for _ in range(5)] + [[None] * 38, [1] * 38]
    columns = {f"t{number}": pa.array([row[number] for row in labels]) for number in range(38)}
    users = [f"u{number}" for number in range(len(labels))]
    rows = Validator(config)({"user": pa.array(users), **columns})
    assert len(set(rows.splits.tolist())) > 1, "the split is part of what rows are ordered by"
    encoded = RowEncoder(config, {"user": pa.array(users)}).encode(rows)
    tags = ["".join("x" if label is None else str(label) for label in row) for row in labels]
    assert {(group.split, group.tag) for group in encoded.groups} == {
        (SPLITS[split], tag) for split, tag in zip(rows.splits.tolist(), tags, strict=True)
    }
    assert sum(tally.rows for tally in encoded.tallies.values()) == 7


def test_a_block_without_good_rows(experiment: Make) -> None:
    for kind in ("categorical", "multi_value"):
        config = experiment(features=[{"name": "user", "kind": kind}])
        rows = Validator(config)({name: pa.array(["x"]) for name in ("user", "finish", "like")})
        encoder = RowEncoder(config, {"user": pa.array([], pa.string())})
        encoded = encoder.encode(rows)
        assert (encoded.groups, encoded.tallies, encoder.sample(rows, 5)) == ([], {}, [])


def test_sample_is_what_a_request_holds(experiment: Make) -> None:
    config = experiment(
        features=[
            {"name": "user", "kind": "categorical"},
            {"name": "tags", "kind": "multi_value", "weights": "w", "max_length": 2},
            {"name": "n", "kind": "numeric", "default": 4.0},
        ]
    )
    columns = {
        "user": pa.array([" u ", "v", None]),
        "tags": pa.array(["a||b|c", "a", ""]),
        "w": pa.array(["1|2|0.5|4", "", ""]),
        "n": pa.array([None, 1.5, 2.0]),
        "finish": pa.array([1, 7, 0]),
        "like": pa.array([0, 0, 1]),
    }
    rows = Validator(config)(columns)
    sample = RowEncoder(config, {"user": pa.array(["u"]), "tags": pa.array(["a"])}).sample(rows, 5)
    assert [json.loads(line) for line in sample] == [
        {"user": "u", "tags": ["a", "b"], "tags_weights": [1.0, 0.5], "n": 4.0},
        {"user": "", "tags": [], "tags_weights": [], "n": 2.0},
    ]
