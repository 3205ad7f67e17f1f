# SPDX-License-Identifier: Apache-2.0
"""From logs to a served model with a regression task: each row is answered as its evaluation had it."""

import json

import numpy as np
import pytest

from pipelines.preprocess import prepare
from tests.conftest import CONTENT, request_rows
from tests.export.asking import raw_inputs
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.data.records import split_batches
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.export.publish import export
from tf_crossdistil.export.version_one import VersionOneModel
from tf_crossdistil.skew.skew import measure_skew
from tf_crossdistil.training.trainer import train

# A tenth of the rows have no duration.
SECONDS = {"name": "seconds", "column": "duration", "kind": "regression", "optional": True}
FEATURES = [{"name": "word", "kind": "categorical", "max_size": 8, "dim": 3}, {"name": "row", "kind": "numeric"}]
MUTUAL = {"features": "ctfm", "distillation": "gkd"}


@pytest.mark.slow
def test_what_is_served_is_what_was_evaluated(raw_rows, quiet_console, tmp_path):
    content = CONTENT | {
        "tasks": [CONTENT["tasks"][0], SECONDS, CONTENT["tasks"][1]],
        "features": FEATURES,
        "model": CONTENT["model"] | {"backbone": "snr", "mutual": MUTUAL},
        "training": CONTENT["training"] | {"epochs": 1},
        "evaluation": {},
    }
    experiment = parse_config(content, "mixed")
    data = prepare(experiment, [str(raw_rows[0])], tmp_path / "data", quiet=True)
    run = train(experiment, data, tmp_path / "run", quiet_console)
    measured = evaluate(run, data, "test")
    made = export(run, tmp_path / "mixed")

    numbers = np.concatenate([c["row"].numpy() for c in split_batches(data, experiment, "test", 512)]).astype(int)
    rows = [raw_rows[1][number] for number in numbers]
    with VersionOneModel(made.directory) as served:
        answers = served("serving_default", raw_inputs(experiment, request_rows(experiment, rows)))
    students = dict(zip(experiment.task_names, measured.predictions.students.T, strict=True))
    assert answers.keys() == students.keys()
    for task, values in students.items():
        # What nothing scales, as the rows' numbers here, makes hidden units large, and so their rounding.
        np.testing.assert_allclose(
            answers[task], values, rtol=0, atol=1e-4 * np.max(np.abs(values)) if task == "seconds" else 1e-6
        )
    watched = [
        (float(row["duration"]), answer) for row, answer in zip(rows, answers["seconds"], strict=True) if row["duration"]
    ]
    assert 0.05 < 1 - len(watched) / len(rows) < 0.2
    error = np.mean([(label - answer) ** 2 for label, answer in watched])
    assert measured.summary["tasks"]["seconds"]["mse"] == pytest.approx(error, rel=1e-5)
    assert json.loads((made.directory / "model_card.json").read_text())["test"]["tasks"]["seconds"]["mse"] == pytest.approx(
        error
    )

    # Its logs hold requests to predict, classify and regress.
    skew = measure_skew(data, [made.directory / "assets.extra/tf_serving_warmup_requests"])
    assert skew.reading.broken.total() == 0 and skew.requests == 11 * len(served.definitions) == 11 * 7
    assert {feature.name for feature in skew.features} == {"word", "row"}
