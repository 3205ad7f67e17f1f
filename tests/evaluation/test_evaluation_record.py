# SPDX-License-Identifier: Apache-2.0
"""What evaluation leaves in a run."""

import json
import os
import shutil

import numpy as np
import pytest

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.evaluation.record import Means, evaluation_file, keep_evaluation, means_by_task, read_evaluations
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.models.run import Run


@pytest.fixture
def run(trained, tmp_path):
    """A run of its own, never evaluated."""
    shutil.copytree(trained.directory, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/evaluation", ignore_errors=True)
    return Run.open(tmp_path / "run")


def test_a_run_keeps_what_was_measured_and_of_which_weights(run, prepared):
    assert read_evaluations(run, "validation") == []
    result = evaluate(run, prepared, "validation")
    content = json.loads((run.directory / f"evaluation/validation-{prepared.metadata.run}.json").read_text())
    assert content["summary"] == result.summary
    assert (content["split"], content["data_run"]) == ("validation", prepared.metadata.run)
    assert run.best_checkpoint().name == f"ckpt-{content['epoch']}"
    (kept,) = read_evaluations(run, "validation")
    assert kept.is_of(run.best_epoch())
    assert read_evaluations(run, "test") == []
    # Other weights under the same epoch's name.
    index = run.best_checkpoint().with_suffix(".index")
    other = index.read_bytes()[:-1] + b"x"
    index.unlink()
    index.write_bytes(other)
    assert not kept.is_of(run.best_epoch())
    evaluation_file(run, "validation", prepared.metadata.run).write_text("{")
    with pytest.raises(CrossDistilError, match=rf"validation-{prepared.metadata.run}\.json is damaged"):
        read_evaluations(run, "validation")


def test_a_run_that_cannot_be_written_is_evaluated_all_the_same(run, prepared, caplog):
    (run.directory / "evaluation").write_text("in the way")
    assert evaluate(run, prepared, "test").summary["rows"] == prepared.rows("test")
    (message,) = [text for text in caplog.messages if text.startswith("warning")]
    assert message.startswith(f"warning: cannot write {run.directory}/evaluation/test-{prepared.metadata.run}.json: ")
    assert (run.directory / "evaluation").read_text() == "in the way"


def test_means_are_of_labelled_rows_and_weighted():
    nan = np.nan
    predictions = Predictions(
        ["buy", "like", "never"],
        np.array([[1, 0, nan], [0, nan, nan], [1, 1, nan]], np.float32),
        np.array([[0.5, 0.25, 0.1], [0.25, 1.0, 0.1], [0.0, 0.75, 0.1]], np.float32),
        weights=np.array([1, 2, 3], np.float32),
    )
    assert means_by_task(predictions) == {
        "buy": Means(positive_rate=4 / 6, mean_prediction=1 / 6),
        "like": Means(positive_rate=3 / 4, mean_prediction=2.5 / 4),
    }


def test_other_data_does_not_replace_what_was_measured_on_the_training_s(run, prepared):
    evaluate(run, prepared, "test")
    (own,) = read_evaluations(run, "test")
    for name, seconds in (("newest", 3e9), ("older", 2e9)):
        keep_evaluation(run, own.model_copy(update={"data_run": name}))
        os.utime(evaluation_file(run, "test", name), (seconds, seconds))
    assert [each.data_run for each in read_evaluations(run, "test")] == [prepared.metadata.run, "newest", "older"]
    assert read_evaluations(run, "test")[0] == own
