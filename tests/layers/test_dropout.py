# SPDX-License-Identifier: Apache-2.0
"""Dropout: how much it drops, that masks are new at each call, and that a checkpoint goes on with them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.layers.dropout import Dropout


def seeded(rate, seed=0):
    keras.utils.set_random_seed(seed)
    return Dropout(rate)


@pytest.mark.parametrize(
    ("asked", "rate"), [(0.1, 26 / 256), (0.5, 0.5), (0.99, 253 / 256), (0.0001, 1 / 256), (0.9999, 255 / 256)]
)
@pytest.mark.parametrize("shape", [(100_000,), (333, 301), (1, 7, 14_285)])
def test_drops_the_rate_and_keeps_the_mean(asked, rate, shape):
    outputs = seeded(asked)(tf.ones(shape), training=True).numpy()
    assert outputs.shape == shape
    np.testing.assert_allclose(np.unique(outputs), [0, 1 / (1 - rate)], rtol=1e-6)
    error = np.sqrt(rate * (1 - rate) / outputs.size)
    assert abs((outputs == 0).mean() - rate) < 4 * error
    neighbours = outputs.ravel()[:-1] * outputs.ravel()[1:]
    assert abs(neighbours.mean() - 1) < 8 * error / (1 - rate) ** 2


def test_is_the_identity_outside_training_and_at_rate_zero():
    inputs = tf.random.normal([5, 3])
    np.testing.assert_array_equal(seeded(0.5)(inputs), inputs)
    np.testing.assert_array_equal(seeded(0.0)(inputs, training=True), inputs)


def test_masks_depend_on_the_seed_and_the_call_and_checkpoints_go_on_with_them(tmp_path):
    inputs = tf.ones([64])

    def masks(layer, calls):
        return [layer(inputs, training=True).numpy() for _ in range(calls)]

    layer = seeded(0.5)
    first = masks(layer, 2)
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "dropout"))
    later = masks(layer, 2)
    assert len({mask.tobytes() for mask in first + later}) == 4
    np.testing.assert_array_equal(masks(seeded(0.5), 4), first + later)
    assert masks(seeded(0.5, seed=1), 1)[0].tobytes() != first[0].tobytes()
    resumed = seeded(0.5)
    tf.train.Checkpoint(layer=resumed).read(path).assert_consumed()
    np.testing.assert_array_equal(masks(resumed, 2), later)


def test_has_no_weights_and_works_compiled():
    layer = seeded(0.5)
    assert layer.weights == []
    plain = seeded(0.5)(tf.ones([9]), training=True)
    compiled = tf.function(lambda inputs: layer(inputs, training=True), jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.ones([9])), plain)
