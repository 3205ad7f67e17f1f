# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from tf_crossdistil.config import Experiment
from tf_crossdistil.metrics.bootstrap import bootstrap_intervals
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.summary import summarize

EXPERIMENT = Experiment.model_validate(
    {
        "name": "test",
        "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
        "features": [{"name": "uid", "kind": "categorical"}],
        "split": {"by": "hash", "key": ["uid"]},
        "training": {"seed": 3},
    }
)


def make_predictions(rows, seed=0, users=None):
    """Rows of one user share a part of their logits, so that they are alike."""
    generator = np.random.default_rng(seed)
    users = users or rows
    groups = generator.integers(0, users, rows)
    logits = generator.normal([-0.5, -1.5], 1.0, (rows, 2))
    own = generator.normal(0, 1.5, (users, 2))[groups]
    labels = (generator.random((rows, 2)) < 1 / (1 + np.exp(-logits - own))).astype(np.float32)
    labels[generator.random(rows) < 0.1, 1] = np.nan
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    weights = generator.exponential(size=rows).astype(np.float32)
    return Predictions(["finish", "like"], labels, scores, teachers=scores**2, weights=weights, groups=groups)


def take(predictions, rows):
    names = ("labels", "students", "teachers", "weights", "groups")
    return replace(
        predictions,
        **{name: None if getattr(predictions, name) is None else getattr(predictions, name)[rows] for name in names},
    )


@pytest.mark.parametrize("by", ["rows", "groups"])
def test_intervals_equal_those_of_naive_resampling(by):
    predictions = make_predictions(300, users=40)
    predictions = replace(predictions, groups=np.where(predictions.groups < 4, -1, predictions.groups))
    if by == "rows":
        predictions = replace(predictions, groups=None)
        clusters = [np.array([row]) for row in range(300)]
    else:
        # Strangers sort first, the last of them first, each alone.
        strangers = np.flatnonzero(predictions.groups < 0)[::-1]
        clusters = [np.array([row]) for row in strangers]
        clusters += [np.flatnonzero(predictions.groups == group) for group in np.unique(predictions.groups) if group >= 0]
    generator = np.random.default_rng(3)
    summaries = []
    for _ in range(20):
        drawn = np.concatenate([clusters[number] for number in generator.integers(0, len(clusters), len(clusters))])
        summaries.append(summarize(EXPERIMENT, take(predictions, drawn), "test"))
    intervals = bootstrap_intervals(EXPERIMENT, predictions, 20)
    for role in ("tasks", "teachers"):
        for task in ("finish", "like"):
            for metric, interval in intervals[role][task].items():
                values = [summary[role][task][metric] for summary in summaries]
                if metric == "ece":
                    assert interval is None, "every resample adds to it"
                elif values[0] is None:
                    assert (by, metric, interval) == ("rows", "gauc", None)
                else:
                    assert interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-6), (role, task, metric)


def test_intervals_of_rows_cover_the_truth_as_often_as_they_say():
    def finish_only(rows, seed):
        both = make_predictions(rows, seed)
        return Predictions(["finish"], both.labels[:, :1], both.students[:, :1])

    experiment = EXPERIMENT.model_copy(update={"tasks": EXPERIMENT.tasks[:1]})
    truth = summarize(experiment, finish_only(400_000, seed=0), "test")["tasks"]["finish"]["auc"]
    covered = 0
    for seed in range(60):
        low, high = bootstrap_intervals(experiment, finish_only(300, seed + 1), 100)["tasks"]["finish"]["auc"]
        covered += low <= truth <= high
    # 57 are expected; 60 draws of 0.95 are below 51 in 1 of 200 cases.
    assert covered >= 51


def test_intervals_of_users_are_wider_where_rows_of_a_user_are_alike():
    predictions = make_predictions(4000, users=40)
    of_users = bootstrap_intervals(EXPERIMENT, predictions, 60)["tasks"]["finish"]["calibration_ratio"]
    of_rows = bootstrap_intervals(EXPERIMENT, replace(predictions, groups=None), 60)["tasks"]["finish"]["calibration_ratio"]
    assert of_users[1] - of_users[0] > 2 * (of_rows[1] - of_rows[0])


def test_intervals_depend_on_the_seed_alone():
    predictions = make_predictions(200, users=20)
    counted: list[int] = []
    intervals = bootstrap_intervals(EXPERIMENT, predictions, 10, counted.append)
    assert sum(counted) == 10
    assert bootstrap_intervals(EXPERIMENT, predictions, 10) == intervals
    other = EXPERIMENT.model_copy(update={"training": EXPERIMENT.training.model_copy(update={"seed": 4})})
    assert bootstrap_intervals(other, predictions, 10) != intervals


def test_a_metric_that_no_resample_defines_has_no_interval():
    predictions = make_predictions(50)
    labels = predictions.labels.copy()
    labels[:, 1] = np.nan
    intervals = bootstrap_intervals(EXPERIMENT, replace(predictions, labels=labels, teachers=None), 5)
    assert set(intervals["tasks"]["like"].values()) == {None}
    assert intervals["tasks"]["finish"]["auc"] is not None
    assert intervals["teachers"] == {}
