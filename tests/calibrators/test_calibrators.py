# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from tf_crossdistil.calibrators.platt import PlattScaling
from tf_crossdistil.calibrators.registry import CALIBRATORS, find_calibrator
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.calibration import Calibration


def test_starts_with_the_positive_rates_of_the_tasks():
    logits = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(PlattScaling([0.5, 0.01])(logits), logits + np.log([1, 0.01 / 0.99]), atol=1e-6)


def test_gradient_is_the_analytic_one():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 2)).astype(np.float32)
    labels = generator.integers(0, 2, (50, 2)).astype(np.float32)
    scaling = PlattScaling([0.5, 0.5])
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
    calibration = trained("platt", logits, labels, learning_rate=0.05, steps=400)
    fit = LogisticRegression(C=np.inf).fit(logits, labels[:, 0])
    assert float(calibration.calibrator.scale[0]) == pytest.approx(fit.coef_[0, 0], abs=2e-3)
    assert float(calibration.calibrator.offset[0]) == pytest.approx(fit.intercept_[0], abs=2e-3)
    assert (np.argsort(calibration(logits)[:, 0]) == np.argsort(logits[:, 0])).all()


def test_scale_stays_positive_against_labels_that_ask_for_a_flip():
    logits = np.linspace(-2, 2, 100, dtype=np.float32)[:, None]
    labels = (logits < 0).astype(np.float32)
    calibration = trained("platt", logits, labels, learning_rate=0.2, steps=300)
    assert 0 < float(calibration.calibrator.scale[0]) < 0.05


def trained(name, logits, labels, learning_rate, steps, weights=None):
    calibration = Calibration(find_calibrator(name)([0.5]), learning_rate)
    update = tf.function(calibration.update)
    weights = np.ones_like(labels) if weights is None else weights
    for _ in range(steps):
        update(logits, labels, weights)
    return calibration


@pytest.mark.parametrize("name", CALIBRATORS)
def test_every_calibrator_keeps_the_order_of_any_two_rows(name):
    calibrator = find_calibrator(name)([0.3, 0.01])
    generator = np.random.default_rng(4)
    for variable in calibrator.trainable_variables:
        variable.assign(generator.normal(scale=2, size=variable.shape))
    logits = np.linspace(-9, 9, 500, dtype=np.float32)
    calibrated = calibrator(np.stack([logits, logits[::-1]], axis=1)).numpy()
    assert (np.diff(calibrated[:, 0]) > 0).all() and (np.diff(calibrated[:, 1]) < 0).all()


@pytest.mark.parametrize("name", CALIBRATORS)
def test_every_calibrator_starts_as_the_identity_beside_the_positive_rate(name):
    logits = np.random.default_rng(0).normal(scale=4, size=(50, 2)).astype(np.float32)
    calibrated = find_calibrator(name)([0.5, 0.01])(logits)
    np.testing.assert_allclose(calibrated, logits + np.log([1, 0.01 / 0.99]), atol=1e-5)


def test_piecewise_linear_calibration_is_continuous_and_has_its_slopes():
    calibrator = find_calibrator("piecewise_linear")([0.5])
    slopes = np.random.default_rng(1).uniform(0.2, 3, (1, 14)).astype(np.float32)
    calibrator.free_slopes.assign(np.log(np.expm1(slopes)))
    knots = np.array([-6, -4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 6], np.float32)

    def value(logits):
        return calibrator(np.asarray(logits, np.float32)[:, None])[:, 0].numpy()

    np.testing.assert_allclose(value(knots - 1e-4), value(knots + 1e-4), atol=2e-3)
    inside = np.array([-8, *(knots[:-1] + knots[1:]) / 2, 8])
    np.testing.assert_allclose((value(inside + 0.1) - value(inside - 0.1)) / 0.2, slopes[0], rtol=1e-3)


def test_piecewise_linear_calibration_learns_what_platt_scaling_cannot():
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(20_000, 1)).astype(np.float32)
    truth = np.where(logits < 0, 0.2 * logits, 2 * logits)
    labels = (generator.random(logits.shape) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    errors = {
        name: np.abs(trained(name, logits, labels, learning_rate=0.05, steps=300)(logits) - truth).mean()
        for name in ("platt", "piecewise_linear")
    }
    assert errors["piecewise_linear"] < errors["platt"] / 3


def test_temperature_scaling_reaches_the_true_temperature():
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(20_000, 1)).astype(np.float32)
    labels = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits / 3))).astype(np.float32)
    calibration = trained("temperature", logits, labels, learning_rate=0.05, steps=300)
    assert float(calibration.calibrator.temperature[0]) == pytest.approx(3, rel=0.05)


def test_rows_of_weight_zero_do_not_calibrate():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(1000, 1)).astype(np.float32)
    labels = (generator.random((1000, 1)) < 0.5).astype(np.float32)
    counted = (np.arange(1000) < 500).astype(np.float32)[:, None]
    some = trained("platt", logits, labels, 0.05, 50, counted)
    labels[500:] = 1 - labels[500:]
    others = trained("platt", logits, labels, 0.05, 50, counted)
    for variable, other in zip(some.calibrator.variables, others.calibrator.variables, strict=True):
        np.testing.assert_array_equal(variable, other)


def test_unknown_calibrators_are_told_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"distillation\.calibration: there is no 'plat'; did you mean 'platt'\?"):
        find_calibrator("plat")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return -logits", "must give logits \\[rows, tasks\\] that rise"),
        ("return logits[:, 0]", "must give logits"),
        ("raise KeyError('x')", "fails on three rows of two tasks: KeyError"),
    ],
)
def test_own_calibrators_that_would_spoil_a_training_are_refused(tmp_path, monkeypatch, body, said):
    name = f"calibrator_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(
        "from tf_crossdistil.calibrators.base import Calibrator\n\n"
        f"class Own(Calibrator):\n    def __call__(self, logits):\n        {body}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=said):
        find_calibrator(f"{name}:Own")
