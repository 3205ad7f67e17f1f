# SPDX-License-Identifier: Apache-2.0
import math
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from tf_crossdistil.config import Experiment
from tf_crossdistil.metrics.bootstrap import bootstrap_intervals
from tf_crossdistil.metrics.exact_regression import REGRESSION_METRICS
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.regression_metrics import RegressionMetric, RegressionMetrics
from tf_crossdistil.metrics.regression_scores import RegressionScores
from tf_crossdistil.metrics.summary import format_amount, mean_metric, summarize

ROWS = 2000


def draw(center=3.0, rows=ROWS, seed=0):
    """Labels a tenth of which is missing, values near them, and weights."""
    generator = np.random.default_rng(seed)
    labels = (center + generator.uniform(-1, 1, rows)).astype(np.float32)
    values = (labels + generator.normal(0, 0.3, rows)).astype(np.float32)
    labels[generator.random(rows) < 0.1] = np.nan
    return labels, values, generator.exponential(size=rows).astype(np.float32)


def expected_metrics(labels, values, weights):
    """Those of scikit-learn, in double precision, over the labelled rows."""
    kept = ~np.isnan(labels)
    labels, values, weights = (column[kept].astype(np.float64) for column in (labels, values, weights))
    square_error = sklearn_metrics.mean_squared_error(labels, values, sample_weight=weights)
    return {
        "mse": square_error,
        "rmse": math.sqrt(square_error),
        "mae": sklearn_metrics.mean_absolute_error(labels, values, sample_weight=weights),
        "r2": sklearn_metrics.r2_score(labels, values, sample_weight=weights),
    }


@pytest.mark.parametrize("center", [3.0, -1e6])
@pytest.mark.parametrize("weighted", [False, True])
def test_exact_ones_equal_scikit_learn(center, weighted):
    labels, values, weights = draw(center)
    expected = expected_metrics(labels, values, weights if weighted else np.ones(ROWS))
    exact = {name: metric(labels, values, weights if weighted else None) for name, metric in REGRESSION_METRICS.items()}
    assert exact == pytest.approx(expected, rel=1e-9)
    scores = RegressionScores(labels, values)
    assert scores.rows == (~np.isnan(labels)).sum() < ROWS
    assert scores.measure(weights if weighted else np.ones(ROWS)) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def streamed():
    """The metrics of two tasks, and the function that adds a batch to them."""
    metrics = RegressionMetrics(["rating", "income"], {"income": 1_000_010.0})

    @tf.function
    def add(labels, rating, income, weights):
        metrics.update_state(labels, {"rating": rating, "income": income}, weights)

    return metrics, add


def test_streaming_ones_equal_scikit_learn(streamed):
    metrics, add = streamed
    metrics.reset_state()
    rating, income = draw(), draw(1e6, seed=1)
    weights = rating[2]
    columns = np.stack([rating[0], income[0]], axis=1), rating[1], income[1], weights
    for start in range(0, ROWS, 500):
        add(*(column[start : start + 500] for column in columns))
    expected = {f"rating/{name}": value for name, value in expected_metrics(*rating).items()}
    expected |= {f"income/{name}": value for name, value in expected_metrics(income[0], income[1], weights).items()}
    assert {name: float(value) for name, value in metrics.result().items()} == pytest.approx(expected, rel=1e-9)
    assert [metric.name for metric in metrics.metrics] == list(expected)
    metrics.reset_state()
    assert all(np.isnan(float(value)) for value in metrics.result().values())


def test_labels_far_from_zero_need_no_center_for_errors_and_hardly_one_for_r2():
    labels, values, weights = draw(1e6)
    metrics = RegressionMetrics(["income"])
    metrics.update_state(labels[:, np.newaxis], {"income": tf.constant(values)}, weights)
    result = {name.removeprefix("income/"): float(value) for name, value in metrics.result().items()}
    expected = expected_metrics(labels, values, weights)
    assert result.pop("r2") == pytest.approx(expected.pop("r2"), abs=2e-3)
    assert result == pytest.approx(expected, rel=1e-9)


def test_missing_labels_hide_whatever_is_said_of_them(streamed):
    metrics, add = streamed
    labels, values, weights = draw()
    results = []
    for hidden in (7.0, np.nan):
        metrics.reset_state()
        said = np.where(np.isnan(labels), np.float32(hidden), values)
        add(np.stack([labels, np.full_like(labels, np.nan)], axis=1), said, values, weights)
        results.append({name: float(value) for name, value in metrics.result().items()})
    assert results[0] == pytest.approx(results[1], nan_ok=True)
    assert results[0]["rating/mse"] > 0 and np.isnan(results[0]["income/mse"])
    assert math.isnan(REGRESSION_METRICS["mse"](np.full(3, np.nan), np.zeros(3)))


def test_a_value_that_is_no_number_is_told(streamed):
    metrics, add = streamed
    metrics.reset_state()
    labels, values, weights = draw()
    values[np.flatnonzero(~np.isnan(labels))[0]] = np.nan
    add(np.stack([labels, labels], axis=1), values, values, weights)
    assert all(np.isnan(float(value)) for value in metrics.result().values())
    assert all(math.isnan(metric(labels, values)) for metric in REGRESSION_METRICS.values())


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 + 0.1])
def test_labels_that_do_not_vary_have_errors_but_no_r2(constant):
    labels = np.full(1000, constant, np.float32)
    values, weights = labels + 1, np.random.default_rng(0).exponential(size=1000).astype(np.float32)
    assert math.isnan(REGRESSION_METRICS["r2"](labels, values, weights))
    assert REGRESSION_METRICS["mae"](labels, values, weights) == pytest.approx(1, rel=1e-6)
    metric = RegressionMetric("r2")
    metric.update_state(labels, values, weights)
    assert np.isnan(float(metric.result()))


def test_states_add_up_in_any_order():
    labels, values, weights = draw()
    parts = [RegressionMetric("r2") for _ in range(2)]
    for part, rows in zip(parts, (slice(0, 300), slice(300, None)), strict=True):
        part.update_state(labels[rows], values[rows], weights[rows])
    merged = RegressionMetric("r2")
    merged.merge_state(parts[::-1])
    assert float(merged.result()) == pytest.approx(expected_metrics(labels, values, weights)["r2"], rel=1e-9)


MIRRORED = """
import numpy as np, tensorflow as tf
from tf_crossdistil.metrics.regression_metrics import RegressionMetrics
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
generator = np.random.default_rng(0)
labels = generator.uniform(0, 5, (1024, 1)).astype(np.float32)
values = generator.uniform(0, 5, 1024).astype(np.float32)
with strategy.scope():
    metrics = RegressionMetrics(["rating"], {"rating": 2.5})
@tf.function
def step(batch):
    strategy.run(lambda labels, values: metrics.update_state(labels, {"rating": values}), batch)
for batch in strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((labels, values)).batch(128)):
    step(batch)
alone = RegressionMetrics(["rating"], {"rating": 2.5})
alone.update_state(labels, {"rating": values})
for name, value in alone.result().items():
    np.testing.assert_allclose(float(metrics.result()[name]), float(value), rtol=1e-12)
print("the same on", strategy.num_replicas_in_sync)
"""


@pytest.mark.slow
def test_replicas_sum_their_states():
    done = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True, check=False)
    assert done.stdout == "the same on 2\n", done.stderr


EXPERIMENT = Experiment.model_validate(
    {
        "name": "test",
        "tasks": [
            {"name": "rating", "column": "rating", "kind": "regression"},
            {"name": "click", "column": "click"},
            {"name": "price", "column": "price", "kind": "regression"},
            {"name": "like", "column": "like"},
        ],
        "features": [{"name": "uid", "kind": "categorical"}],
        "split": {"by": "hash", "key": ["uid"]},
    }
)


def mixed_predictions(rows=ROWS):
    """Two regression tasks among two binary ones, teachers and true probabilities of the latter."""
    generator = np.random.default_rng(2)
    rating, price = draw(rows=rows, seed=3), draw(1e4, rows=rows, seed=4)
    probabilities = generator.uniform(0.1, 0.9, (rows, 2)).astype(np.float32)
    binary = (generator.random((rows, 2)) < probabilities).astype(np.float32)
    nan = np.full(rows, np.nan, np.float32)

    def columns(*given):
        return np.stack(given, axis=1)

    return Predictions(
        EXPERIMENT.task_names,
        columns(rating[0], binary[:, 0], price[0], binary[:, 1]),
        columns(rating[1], probabilities[:, 0], price[1], probabilities[:, 1]),
        teachers=columns(nan, probabilities[:, 0] ** 2, nan, probabilities[:, 1] ** 2),
        truth=columns(nan, probabilities[:, 0], nan, probabilities[:, 1]),
        weights=rating[2],
        groups=generator.integers(0, 20, rows),
        regression=["rating", "price"],
    )


def test_a_mix_of_tasks_is_summarized_kind_by_kind():
    mixed = mixed_predictions()
    summary = summarize(EXPERIMENT, mixed, "test")
    assert list(summary["tasks"]) == EXPERIMENT.task_names
    assert list(summary["teachers"]) == list(summary["best"]) == ["click", "like"]
    for column, task in ((0, "rating"), (2, "price")):
        labels, values = mixed.labels[:, column], mixed.students[:, column]
        expected = {"rows": (~np.isnan(labels)).sum()} | expected_metrics(labels, values, mixed.weights)
        assert summary["tasks"][task] == pytest.approx(expected, rel=1e-9)
    # The binary ones are those of a model that has no others.
    labels, students, teachers, truth = (
        columns[:, [1, 3]] for columns in (mixed.labels, mixed.students, mixed.teachers, mixed.truth)
    )
    binary = Predictions(["click", "like"], labels, students, teachers, truth, mixed.weights, mixed.groups)
    alone = summarize(EXPERIMENT.model_copy(update={"tasks": EXPERIMENT.tasks[1::2]}), binary, "test")
    assert {task: summary["tasks"][task] for task in ("click", "like")} == alone["tasks"]
    assert (summary["teachers"], summary["best"]) == (alone["teachers"], alone["best"])


def test_means_are_over_the_tasks_that_have_the_metric():
    tasks = summarize(EXPERIMENT, mixed_predictions(), "test")["tasks"]
    summary = {"tasks": tasks}
    assert mean_metric(summary, "auc") == pytest.approx((tasks["click"]["auc"] + tasks["like"]["auc"]) / 2)
    assert mean_metric(summary, "mse") == pytest.approx((tasks["rating"]["mse"] + tasks["price"]["mse"]) / 2)
    assert mean_metric({"tasks": {"click": tasks["click"]}}, "mse") is None


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_value_beyond_all_numbers_leaves_its_task_without_metrics():
    mixed = mixed_predictions()
    mixed.students[:, 0] = np.inf
    summary = summarize(EXPERIMENT, mixed, "test")
    assert {summary["tasks"]["rating"][metric] for metric in REGRESSION_METRICS} == {None}
    intervals = bootstrap_intervals(EXPERIMENT, mixed, 3)
    assert set(intervals["tasks"]["rating"].values()) == {None}


def test_intervals_of_a_regression_equal_those_of_naive_resampling():
    mixed = mixed_predictions(200)
    generator = np.random.default_rng(EXPERIMENT.training.seed)
    resampled = []
    for _ in range(10):
        drawn = generator.integers(0, 20, 20)
        rows = np.concatenate([np.flatnonzero(mixed.groups == group) for group in drawn])
        resampled.append(expected_metrics(mixed.labels[rows, 0], mixed.students[rows, 0], mixed.weights[rows]))
    intervals = bootstrap_intervals(EXPERIMENT, mixed, 10)
    for metric, interval in intervals["tasks"]["rating"].items():
        expected = np.quantile([each[metric] for each in resampled], [0.025, 0.975])
        assert interval == pytest.approx(expected, rel=1e-9), metric
    assert list(intervals["teachers"]) == ["click", "like"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0.0, "0.0000"),
        (0.00123456, "0.0012346"),
        (1.5, "1.5000"),
        (-12.3456, "-12.346"),
        (1234567.8, "1,234,568"),
        (0.0001234567, "0.00012346"),
        (0.0000000000000000000014407, "1.4407e-21"),
        (-999999999.4, "-999,999,999"),
        (268359430769929940373687934910464.0, "2.6836e+32"),
    ],
)
def test_amounts_have_five_digits_whatever_their_unit(value, text):
    assert format_amount(value) == text
