# SPDX-License-Identifier: Apache-2.0
"""Hard-concrete gates: what they draw, what they expect of it, and that checkpoints go on with the draws."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.layers.hard_concrete import HardConcreteGates, expected_open
from tf_crossdistil.layers.precision import computing_in

LOG_ALPHA = np.array([-3.0, -1.5, -0.5, 0.0, 1.0, 2.5], np.float32)
DRAWS = 40_000


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def made(shape=(64,), penalty=1.0, seed=0):
    keras.utils.set_random_seed(seed)
    layer = HardConcreteGates(shape, penalty)
    layer(tf.ones(shape))
    return layer


def gates(layer, training=True):
    return layer(tf.ones(layer.log_alpha.shape), training=training).numpy()


@pytest.fixture(scope="module")
def drawn():
    """So many draws of a gate for each log alpha, by log alpha."""
    layer = made([DRAWS, len(LOG_ALPHA)])
    layer.log_alpha.assign(np.tile(LOG_ALPHA, [DRAWS, 1]))
    return dict(zip(LOG_ALPHA, gates(layer).T, strict=True))


def assert_share(share, probability):
    assert abs(share - probability) < 4.5 * np.sqrt(probability * (1 - probability) / DRAWS)


@pytest.mark.parametrize("log_alpha", LOG_ALPHA)
def test_as_many_are_open_as_expected(drawn, log_alpha):
    expected = float(expected_open(tf.constant([log_alpha])))
    assert 0.1 < expected < 0.99
    assert_share((drawn[log_alpha] > 0).mean(), expected)


@pytest.mark.parametrize("log_alpha", LOG_ALPHA)
def test_draws_are_stretched_and_clipped_sigmoids_of_logistic_noise(drawn, log_alpha):
    draws = drawn[log_alpha]
    assert draws.min() == 0
    assert draws.max() == 1
    # g <= x where the sigmoid is at most (x + 1) / 4.
    for x in (0.0, 0.2, 0.5, 0.8, np.float32(1 - 1e-6)):
        share = (x + 1) / 4
        assert_share((draws <= x).mean(), sigmoid(np.log(share / (1 - share)) - log_alpha))


def test_gates_at_inference_are_those_of_no_noise_and_the_same_each_time():
    layer = made([6])
    np.testing.assert_allclose(gates(layer, training=False), 4 * sigmoid(-0.5) - 1, rtol=1e-6)
    layer.log_alpha.assign(LOG_ALPHA)
    first = gates(layer, training=False)
    np.testing.assert_allclose(first, np.clip(4 * sigmoid(LOG_ALPHA) - 1, 0, 1), rtol=1e-6)
    assert first[0] == 0
    assert first[-1] == 1
    gates(layer)
    np.testing.assert_array_equal(gates(layer, training=False), first)


def test_one_draw_is_for_all_rows_of_a_call():
    layer = made([1, 5])
    outputs = layer(tf.ones([7, 5]), training=True).numpy()
    np.testing.assert_array_equal(outputs, np.tile(outputs[:1], [7, 1]))
    assert len(set(outputs[0])) > 1


def test_the_penalty_counts_open_gates_and_pulls_on_log_alpha():
    layer = made([2, 3], penalty=0.5)
    layer.log_alpha.assign(LOG_ALPHA.reshape(2, 3))
    open_share = sigmoid(LOG_ALPHA + np.log(3)).reshape(2, 3)
    with tf.GradientTape() as tape:
        (loss,) = layer.losses
    np.testing.assert_allclose(loss, 0.5 * open_share.sum(), rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, layer.log_alpha), 0.5 * open_share * (1 - open_share), rtol=1e-5)


def test_the_gradient_is_that_of_the_drawn_gates():
    layer = made([200])
    with tf.GradientTape() as tape:
        drawn = layer(tf.ones([200]), training=True)
        total = tf.reduce_sum(drawn)
    share = (drawn.numpy() + 1) / 4
    inside = (drawn.numpy() > 0) & (drawn.numpy() < 1)
    assert 20 < inside.sum() < 180
    np.testing.assert_allclose(tape.gradient(total, layer.log_alpha), inside * 4 * share * (1 - share), rtol=1e-4)


def test_draws_depend_on_the_seed_and_the_call_and_checkpoints_go_on_with_them(tmp_path):
    layer = made()
    first = [gates(layer) for _ in range(2)]
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "gates"))
    later = [gates(layer) for _ in range(2)]
    assert len({draw.tobytes() for draw in first + later}) == 4
    again = made()
    np.testing.assert_array_equal([gates(again) for _ in range(4)], first + later)
    assert gates(made(seed=1)).tobytes() != first[0].tobytes()
    resumed = made(seed=2)
    tf.train.Checkpoint(layer=resumed).read(path).assert_consumed()
    np.testing.assert_array_equal([gates(resumed) for _ in range(2)], later)


def test_only_log_alpha_is_a_weight_and_compiled_draws_are_the_same():
    layer = made()
    assert [weight.shape for weight in layer.weights] == [[64]]
    compiled = tf.function(lambda inputs: layer(inputs, training=True), jit_compile=True)
    np.testing.assert_allclose(compiled(tf.ones([64])), gates(made()), atol=1e-6)


def test_gates_are_computed_in_float32_in_every_precision():
    exact = gates(made())
    with computing_in("mixed_bfloat16"):
        layer = made()
        outputs = layer(tf.ones([64]), training=True)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_array_equal(outputs, tf.cast(exact, tf.bfloat16))
    assert layer.log_alpha.dtype == tf.float32
    assert layer.losses[0].dtype == tf.float32
