# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.binned_error import expected_calibration_error
from tf_crossdistil.config import Experiment
from tf_crossdistil.metrics import exact
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.summary import best_multi_auc, mean_metric, summarize

ROWS = 20_000
METRICS = ["auc", "multi_auc", "log_loss", "normalized_entropy", "ece", "calibration_ratio", "gauc"]
FOUR = np.tri(4, k=-1, dtype=bool)


def expected_metrics(labels, classes, scores, groups, weights=None):
    """By name, each from its own function; `classes` are the four of two tasks without missing labels."""
    return {
        "auc": exact.auc(labels, scores, weights),
        "multi_auc": exact.multi_auc(classes, scores, FOUR, weights),
        "log_loss": exact.log_loss(labels, scores, weights),
        "normalized_entropy": exact.normalized_entropy(labels, scores, weights),
        "ece": expected_calibration_error(labels, scores, weights),
        "calibration_ratio": exact.calibration_ratio(labels, scores, weights),
        "gauc": exact.grouped_auc(labels, scores, groups, weights),
    }


@pytest.fixture(scope="module")
def experiment():
    return Experiment.model_validate(
        {
            "name": "test",
            "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
            "features": [{"name": "uid", "kind": "categorical"}],
            "split": {"by": "hash", "key": ["uid"]},
        }
    )


@pytest.fixture(scope="module")
def predictions():
    generator = np.random.default_rng(0)
    logits = generator.multivariate_normal([-0.5, -2.5], [[1, 0.5], [0.5, 1]], ROWS)
    truth = 1 / (1 + np.exp(-logits))
    return Predictions(
        tasks=["finish", "like"],
        labels=(generator.random(truth.shape) < truth).astype(np.float32),
        students=(1 / (1 + np.exp(-logits - generator.standard_normal(truth.shape)))).astype(np.float32),
        teachers=(1 / (1 + np.exp(-logits - 0.5 * generator.standard_normal(truth.shape)))).astype(np.float32),
        truth=truth.astype(np.float32),
        groups=generator.integers(-1, 500, ROWS),
    )


def test_summary_has_the_documented_form(experiment, predictions):
    summary = summarize(experiment, predictions, "test")
    assert list(summary) == ["split", "rows", "tasks", "teachers", "best"]
    assert (summary["split"], summary["rows"]) == ("test", ROWS)
    for task in ("finish", "like"):
        assert list(summary["tasks"][task]) == list(summary["teachers"][task]) == ["rows", *METRICS]
        assert list(summary["best"][task]) == ["auc", "multi_auc"]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize("weighted", [False, True])
def test_summary_takes_each_metric_from_its_own_column(experiment, predictions, weighted):
    weights = np.random.default_rng(1).exponential(size=ROWS).astype(np.float32) if weighted else None
    summary = summarize(experiment, replace(predictions, weights=weights), "test")
    finish, like = predictions.labels.T.astype(np.int64)
    classes = {"finish": 2 * finish + like, "like": 2 * like + finish}
    for index, task in enumerate(("finish", "like")):
        for role, scores in (("tasks", predictions.students), ("teachers", predictions.teachers)):
            expected = expected_metrics(
                predictions.labels[:, index], classes[task], scores[:, index], predictions.groups, weights
            )
            assert summary[role][task] == pytest.approx({"rows": ROWS} | expected, abs=1e-7)
    if weighted:
        assert summary["tasks"]["like"]["auc"] != summarize(experiment, predictions, "test")["tasks"]["like"]["auc"]


def test_rows_without_a_label_are_left_out_of_its_task_only(experiment, predictions):
    missing = np.random.default_rng(2).random(ROWS) < 0.3
    labels = predictions.labels.copy()
    labels[missing, 1] = np.nan
    summary = summarize(experiment, replace(predictions, labels=labels), "test")
    names = ("labels", "students", "teachers", "truth", "groups")
    kept = replace(predictions, **{name: getattr(predictions, name)[~missing] for name in names})
    without, complete = summarize(experiment, kept, "test"), summarize(experiment, predictions, "test")
    assert summary["tasks"]["like"]["rows"] == (~missing).sum()
    for role in ("tasks", "teachers"):
        assert summary[role]["like"] == pytest.approx(without[role]["like"], abs=1e-12)
        finish, expected = summary[role]["finish"], complete[role]["finish"]
        assert {**finish, "multi_auc": 0} == {**expected, "multi_auc": 0}
        # Rows without a like still tell finished from unfinished ones, but nothing within either.
        assert abs(finish["multi_auc"] - expected["multi_auc"]) < 0.02
    assert summary["best"]["like"] == pytest.approx(without["best"]["like"], abs=1e-12)


def test_best_is_above_every_other_score(experiment, predictions):
    summary = summarize(experiment, predictions, "test")
    for task in ("finish", "like"):
        for metric in ("auc", "multi_auc"):
            assert summary["best"][task][metric] > summary["teachers"][task][metric] > summary["tasks"][task][metric]


def test_best_multi_auc_uses_the_auxiliary_task(predictions):
    finish, like = np.log(predictions.truth / (1 - predictions.truth)).T
    classes = (2 * predictions.labels[:, 0] + predictions.labels[:, 1]).astype(np.int64)
    alone = best_multi_auc(classes, FOUR, finish, [])
    assert alone == exact.multi_auc(classes, finish, FOUR)
    assert best_multi_auc(classes, FOUR, finish, [like]) > alone + 0.005


def test_best_leaves_out_tasks_without_truth(experiment, predictions):
    partly = predictions.truth.copy()
    partly[:, 1] = np.nan
    best = summarize(experiment, replace(predictions, truth=partly), "test")["best"]
    assert list(best) == ["finish"]
    assert best["finish"]["auc"] == summarize(experiment, predictions, "test")["best"]["finish"]["auc"]


def test_what_a_model_lacks_is_absent(experiment, predictions):
    summary = summarize(experiment, replace(predictions, teachers=None, truth=None, groups=None), "test")
    assert summary["teachers"] == {}
    assert "best" not in summary
    assert summary["tasks"]["like"]["gauc"] is None


def test_undefined_metrics_are_none_and_left_out_of_the_mean(experiment, predictions):
    labels = predictions.labels.copy()
    labels[:, 1] = 0
    summary = summarize(experiment, replace(predictions, labels=labels), "test")
    assert summary["tasks"]["like"]["auc"] is None
    # An order among rows of one label alone, here by the auxiliary task, says nothing of the task.
    assert summary["tasks"]["like"]["multi_auc"] is None
    assert summary["tasks"]["like"]["log_loss"] > 0
    assert mean_metric(summary, "auc") == summary["tasks"]["finish"]["auc"]


def test_mean_metric_is_the_mean_over_tasks(experiment, predictions):
    summary = summarize(experiment, predictions, "test")
    losses = [summary["tasks"][task]["log_loss"] for task in ("finish", "like")]
    assert mean_metric(summary, "log_loss") == pytest.approx(sum(losses) / 2)
    diverged = summarize(experiment, replace(predictions, students=np.full_like(predictions.students, np.nan)), "test")
    assert mean_metric(diverged, "auc") is None
