# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.ranking_metrics import RankingMetrics
from tf_crossdistil.metrics.summary import summarize
from tf_crossdistil.tags import observed_tags, tag_codes, tag_of

ROWS = 20_000
TASKS = ["click", "finish", "like"]


@pytest.fixture(scope="module")
def experiment():
    return Experiment.model_validate(
        {
            "name": "test",
            "tasks": [{"name": task, "column": task} for task in TASKS],
            "features": [{"name": "uid", "kind": "categorical"}],
            "split": {"by": "hash", "key": ["uid"]},
            "distillation": {"auxiliary": {"finish": ["like"]}},
        }
    )


@pytest.fixture(scope="module")
def rows():
    """Labels with missing ones, logits of students and teachers, weights, groups; probabilities as predictions hold them."""
    generator = np.random.default_rng(0)
    logits = generator.normal([0.5, -0.5, -2.0], 1.0, (ROWS, 3)).astype(np.float32)
    teachers = logits + generator.normal(0, 0.5, logits.shape).astype(np.float32)
    labels = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    labels[generator.random(ROWS) < 0.2, 1] = np.nan
    labels[generator.random(ROWS) < 0.1, 2] = np.nan
    weights = generator.exponential(size=ROWS).astype(np.float32)
    return labels, logits, teachers, weights, generator.integers(-1, 100, ROWS)


def build(labels, groups=100):
    codes, counts = np.unique(tag_codes(labels), return_counts=True)
    tags = observed_tags({tag_of(code, 3): count for code, count in zip(codes, counts, strict=True)})
    scores = {task: task for task in TASKS} | {f"{task}+": task for task in TASKS}
    orders = {"click": ["finish", "like"], "finish": ["like"], "like": ["click", "finish"]}
    return RankingMetrics(TASKS, scores, orders, tags, groups)


def test_they_are_those_of_the_exact_summary(experiment, rows):
    labels, students, teachers, weights, groups = rows
    metrics = build(labels)

    @tf.function
    def step(labels, students, teachers, weights, groups):
        logits = dict(zip(TASKS, tf.unstack(students, axis=1), strict=True))
        logits |= {f"{task}+": values for task, values in zip(TASKS, tf.unstack(teachers, axis=1), strict=True)}
        metrics.update_state(labels, logits, weights, groups)

    for batch in tf.data.Dataset.from_tensor_slices(rows).batch(5000):
        step(*batch)
    student, teacher = (1 / (1 + np.exp(-values.astype(np.float64))) for values in (students, teachers))
    predictions = Predictions(TASKS, labels, student, teacher, weights=weights, groups=groups)
    summary = summarize(experiment, predictions, "test")
    expected: dict[str, float] = {}
    for role, suffix in (("tasks", ""), ("teachers", "+")):
        for task, values in summary[role].items():
            expected |= {f"{task}{suffix}/{name}": value for name, value in values.items() if name != "rows"}
    result = {name: float(value) for name, value in metrics.result().items()}
    # Few rows make the ECE depend on which of the bins a row beside an edge is in.
    by_edges = {name: result.pop(name) for name in list(result) if name.endswith("/ece")}
    assert by_edges == pytest.approx({name: expected.pop(name) for name in by_edges}, abs=5e-3)
    assert result == pytest.approx(expected, abs=1e-3)
    metrics.reset_state()
    assert all(np.isnan(float(value)) for value in metrics.result().values())


def test_without_groups_and_weights(rows):
    labels, students, teachers, _, _ = rows
    metrics = build(labels, groups=None)
    logits = dict(zip(TASKS, students.T, strict=True))
    metrics.update_state(tf.constant(labels), logits | dict(zip([f"{task}+" for task in TASKS], teachers.T, strict=True)))
    assert len(metrics.metrics) == len(metrics.result()) == 6 * 6
    assert not any("gauc" in name for name in metrics.result())


def test_rows_of_tags_not_named_take_no_part_in_multi_auc():
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    metrics = RankingMetrics(TASKS, {"click": "click"}, {"click": ["finish"]}, ["110", "010"])
    metrics.update_state(tf.constant(labels), {"click": tf.constant([1.0, 0.0, 2.0])})
    result = metrics.result()
    assert float(result["click/multi_auc"]) == 1
    assert float(result["click/auc"]) == 0.5
