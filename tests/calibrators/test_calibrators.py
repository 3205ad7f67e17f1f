import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from tf_crossdistil.layers.platt_scaling import PlattScaling
from tf_crossdistil.models.calibration import Calibration


def test_starts_with_the_positive_rates_of_the_tasks():
    logits = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(PlattScaling([0.5, 0.01])(logits), logits + np.log([1, 0.01 / 0.99]), atol=1e-6)


def test_gradient_is_the_analytic_one():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 2)).astype(np.float32)
    labels = generator.integers(0, 2, (50, 2)).astype(np.float32)
    calibration = Calibration([0.5, 0.5], learning_rate=0.5)
    scaling = calibration.calibrator
    scaling.free_scale.assign([0.2, -0.4])
    scaling.offset.assign([0.1, 0.3])
    with tf.GradientTape() as tape:
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels, scaling(logits))
        loss = tf.reduce_sum(tf.reduce_mean(entropy, axis=0))
    free_gradient, offset_gradient = tape.gradient(loss, [scaling.free_scale, scaling.offset])
    error = 1 / (1 + np.exp(-scaling(logits).numpy())) - labels
    softplus_slope = 1 / (1 + np.exp(-scaling.free_scale.numpy()))
    np.testing.assert_allclose(free_gradient, softplus_slope * np.mean(error * logits, axis=0), atol=1e-6)
    np.testing.assert_allclose(offset_gradient, np.mean(error, axis=0), atol=1e-6)


def test_updates_reach_the_logistic_fit_and_keep_the_order_of_rows():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 1)).astype(np.float32)
    labels = (generator.random((4000, 1)) < 1 / (1 + np.exp(-(0.4 * logits - 2)))).astype(np.float32)
    calibration = Calibration([0.5], learning_rate=0.05)
    update = tf.function(calibration.update)
    for _ in range(400):
        update(logits, labels)
    fit = LogisticRegression(C=np.inf).fit(logits, labels[:, 0])
    assert float(calibration.calibrator.scale[0]) == pytest.approx(fit.coef_[0, 0], abs=2e-3)
    assert float(calibration.calibrator.offset[0]) == pytest.approx(fit.intercept_[0], abs=2e-3)
    assert (np.argsort(calibration(logits)[:, 0]) == np.argsort(logits[:, 0])).all()


def test_scale_stays_positive_against_labels_that_ask_for_a_flip():
    logits = np.linspace(-2, 2, 100, dtype=np.float32)[:, None]
    labels = (logits < 0).astype(np.float32)
    calibration = Calibration([0.5], learning_rate=0.2)
    update = tf.function(calibration.update)
    for _ in range(300):
        update(logits, labels)
    assert 0 < float(calibration.calibrator.scale[0]) < 0.05
