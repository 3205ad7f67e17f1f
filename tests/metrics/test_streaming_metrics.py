# SPDX-License-Identifier: Apache-2.0
"""Streaming metrics against the exact ones, and as Keras and distribution strategies use them."""

import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.metrics.binned_error import expected_calibration_error
from tf_crossdistil.metrics import exact
from tf_crossdistil.metrics.streaming import (
    AUC,
    CalibrationRatio,
    ExpectedCalibrationError,
    GroupedAUC,
    LogLoss,
    MultiAUC,
    NormalizedEntropy,
)
from tf_crossdistil.tags import class_order, label_classes

EXACT = {
    AUC: exact.auc,
    LogLoss: exact.log_loss,
    NormalizedEntropy: exact.normalized_entropy,
    ExpectedCalibrationError: expected_calibration_error,
    CalibrationRatio: exact.calibration_ratio,
}


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def draw(rows, center=-0.5, spread=1.0, rate=-1.0, seed=0):
    """Labels that follow the logits in units of their spread, however narrow that is; a tenth is missing."""
    generator = np.random.default_rng(seed)
    standard = generator.standard_normal(rows)
    labels = (generator.random(rows) < sigmoid(rate + standard)).astype(np.float32)
    labels[generator.random(rows) < 0.1] = np.nan
    return labels, (center + spread * standard).astype(np.float32), generator.exponential(size=rows).astype(np.float32)


def batches(*arrays, size):
    for start in range(0, len(arrays[0]), size):
        yield [array[start : start + size] for array in arrays]


@pytest.mark.parametrize(
    "center, spread, rate",
    [
        pytest.param(-0.5, 1, -1, id="usual"),
        pytest.param(-7, 1.5, -7, id="rare label"),
        pytest.param(-3, 0.02, -1, id="narrow", marks=pytest.mark.slow),
        pytest.param(0, 0.01, 0, id="narrow at zero", marks=pytest.mark.slow),
        pytest.param(2, 5, 2, id="wide", marks=pytest.mark.slow),
    ],
)
def test_a_million_rows_are_within_a_thousandth_of_exact(center, spread, rate):
    labels, logits, weights = draw(1_000_000, center, spread, rate)
    for weight in (None, weights):
        metrics = [metric() for metric in EXACT]
        given = [labels, logits] if weight is None else [labels, logits, weight]
        for batch in batches(*given, size=250_000):
            for metric in metrics:
                metric.update_state(*batch)
        for metric, function in zip(metrics, EXACT.values(), strict=True):
            assert float(metric.result()) == pytest.approx(function(labels, sigmoid(logits), weight), abs=1e-3), metric.name


def test_multi_auc_of_a_million_rows_is_within_a_thousandth_of_exact():
    generator = np.random.default_rng(0)
    logits = generator.normal([-0.5, -4.0], 1.0, (1_000_000, 2)).astype(np.float32)
    labels = (generator.random(logits.shape) < sigmoid(logits)).astype(np.float32)
    labels[generator.random(1_000_000) < 0.1, 1] = np.nan
    for index, order in enumerate((["finish", "like"], ["like", "finish"])):
        classes = label_classes(labels, ["finish", "like"], order)
        classes = np.where(np.isnan(labels[:, index]), -1, classes)
        metric = MultiAUC(class_order(2))
        for batch in batches(classes, logits[:, index], size=250_000):
            metric.update_state(*batch)
        kept = classes >= 0
        expected = exact.multi_auc(classes[kept], logits[kept, index], class_order(2))
        assert float(metric.result()) == pytest.approx(expected, abs=1e-3)


def test_grouped_auc_of_a_million_rows_is_within_a_thousandth_of_exact():
    labels, logits, weights = draw(1_000_000, spread=0.5)
    groups = np.random.default_rng(1).integers(-1, 4000, 1_000_000)
    metric = GroupedAUC(groups=4000)
    for batch in batches(labels, logits, groups, weights, size=250_000):
        metric.update_state(*batch)
    assert float(metric.result()) == pytest.approx(exact.grouped_auc(labels, logits, groups, weights), abs=1e-3)


@pytest.mark.parametrize("groups", [pytest.param(100, marks=pytest.mark.slow), 101, pytest.param(128, marks=pytest.mark.slow)])
def test_grouped_auc_measures_as_many_groups_as_slots(groups):
    """Group g alone has AUC 1 or 0; which of them count shows which are measured."""
    measured, metric = [], GroupedAUC(groups, slots=10, bins=8)
    for group in range(groups):
        metric.reset_state()
        metric.update_state([0.0, 1.0], [-2.0, 2.0], [group, group])
        measured += [group] * (float(metric.result()) == 1)
    assert len(measured) == 10
    # They are spread over the ids, which vocabularies order by frequency.
    assert np.diff([0, *measured, groups]).max() < 3 * groups / 10


def test_grouped_auc_of_a_sample_of_groups_is_theirs():
    labels, logits, _ = draw(50_000)
    groups = np.random.default_rng(1).integers(-1, 500, 50_000)
    metric = GroupedAUC(groups=500, slots=100, bins=4096)
    metric.update_state(labels, logits, groups)
    multiplier = next(step for step in range(309, 500) if np.gcd(step, 500) == 1)
    sampled = (groups >= 0) & (groups * multiplier % 500 < 100)
    expected = exact.grouped_auc(labels[sampled], logits[sampled], groups[sampled])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("metric_type", EXACT)
def test_states_merge_in_any_order(metric_type):
    labels, logits, weights = draw(3000)
    parts = []
    for batch in batches(labels, logits, weights, size=1000):
        parts.append(metric_type())
        parts[-1].update_state(*batch)
    whole = metric_type()
    whole.update_state(labels, logits, weights)
    expected = float(whole.result())
    for order in permutations(parts):
        merged = metric_type()
        merged.merge_state(order)
        assert float(merged.result()) == pytest.approx(expected, abs=1e-12)
        summed = metric_type()
        summed.set_weights([sum(states) for states in zip(*(part.get_weights() for part in order), strict=True)])
        assert float(summed.result()) == pytest.approx(expected, abs=1e-12)
    merged.reset_state()
    assert np.isnan(float(merged.result()))


def test_counts_beyond_float32_are_kept():
    metric = AUC()
    metric.update_state([0.0, 1.0, 1.0], [0.0, 1.0, -1.0], [1.0, 2.0**25, 2.0**25])
    for _ in range(10):
        metric.update_state([0.0, 1.0], [0.0, 1.0])
    # One of 2^26 + 10 positives, the lower half of them below every negative.
    assert float(metric.result()) == pytest.approx((2**25 + 10) / (2**26 + 10), abs=1e-15)
    assert float(metric.result()) != 0.5


@pytest.mark.parametrize("metric_type", EXACT)
def test_a_score_that_is_no_number_is_told(metric_type):
    labels, logits, _ = draw(100)
    logits[np.flatnonzero(~np.isnan(labels))[0]] = np.nan
    metric = metric_type()
    metric.update_state(labels, logits)
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("metric_type", EXACT)
def test_scores_of_rows_without_a_label_are_never_seen(metric_type):
    labels, logits, weights = draw(1000)
    metric, other = metric_type(), metric_type()
    metric.update_state(labels, logits, weights)
    other.update_state(labels, np.where(np.isnan(labels), np.nan, logits), np.where(np.isnan(labels), 9, weights))
    assert float(metric.result()) == float(other.result())


def test_keras_fit_and_evaluate_report_them():
    labels, logits, weights = draw(2000)
    labels = np.nan_to_num(labels)
    inputs = keras.Input(1)
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)(inputs))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.legacy.SGD(0.0), loss=loss, weighted_metrics=[metric() for metric in EXACT])
    data = {"x": logits[:, np.newaxis], "y": labels[:, np.newaxis], "sample_weight": weights}
    fitted = model.fit(**data, batch_size=256, epochs=2, verbose=0).history
    evaluated = model.evaluate(**data, batch_size=300, verbose=0, return_dict=True)
    for metric, function in EXACT.items():
        expected = function(labels, sigmoid(logits), weights)
        # Two epochs give the same numbers: Keras forgets the rows of the epoch before.
        assert fitted[metric().name] == pytest.approx([expected] * 2, abs=2e-3)
        assert evaluated[metric().name] == pytest.approx(expected, abs=2e-3)


MIRRORED = """
import numpy as np, tensorflow as tf
from tf_crossdistil.metrics.streaming import AUC, ExpectedCalibrationError, GroupedAUC, LogLoss
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
generator = np.random.default_rng(0)
logits = generator.standard_normal(4096).astype(np.float32)
labels = (generator.random(4096) < 1 / (1 + np.exp(-logits))).astype(np.float32)
groups = generator.integers(0, 20, 4096)
def build():
    return [AUC(), LogLoss(), ExpectedCalibrationError(), GroupedAUC(20)]
def update(metrics, labels, logits, groups):
    for metric in metrics[:-1]:
        metric.update_state(labels, logits)
    metrics[-1].update_state(labels, logits, groups)
with strategy.scope():
    metrics = build()
@tf.function
def step(batch):
    def replica(labels, logits, groups):
        update(metrics, labels, logits, groups)
        return [metric.result() for metric in metrics]
    strategy.run(replica, batch)
assert strategy.num_replicas_in_sync == 2
for batch in strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((labels, logits, groups)).batch(512)):
    step(batch)
alone = build()
update(alone, labels, logits, groups)
for metric, single in zip(metrics, alone):
    np.testing.assert_allclose(float(metric.result()), float(single.result()), atol=1e-12)
print("the same")
"""


@pytest.mark.slow
def test_replicas_sum_their_states():
    done = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True, check=False)
    assert done.stdout == "the same\n", done.stderr


def test_graph_mode_gives_the_same():
    labels, logits, weights = draw(1000)
    for metric_type in EXACT:
        eager, graph = metric_type(), metric_type()
        eager.update_state(labels, logits, weights)

        @tf.function
        def update(*batch, metric=graph):
            metric.update_state(*batch)

        update(labels, logits, weights)
        assert float(tf.function(graph.result)()) == float(eager.result())
