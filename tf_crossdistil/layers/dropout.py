# SPDX-License-Identifier: Apache-2.0
"""Dropout that a resumed run repeats."""

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.layers.repeatable_draws import RepeatableDraws

# Drawing random bits is most of what dropout costs: eight decide on each input.
_LEVELS = 256


class Dropout(keras.layers.Layer):
    """Zeroes each input with probability `rate` while training and scales the others, so that the mean stays.

    The rate is the nearest multiple of 1/256 between 0 and 1, and 0 only where 0 is asked for.
    """

    def __init__(self, rate: float, **kwargs: object):
        super().__init__(**kwargs)
        self._dropped = min(max(round(rate * _LEVELS), 1), _LEVELS - 1) if rate else 0
        self._state = RepeatableDraws()

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops inputs, of any shape, if `training`."""
        if not training or not self._dropped:
            return inputs
        count = tf.size(inputs)
        words = self._state.bits([count // 4 + 1])
        bits = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count], tf.shape(inputs))
        scale = tf.constant(_LEVELS / (_LEVELS - self._dropped), inputs.dtype)
        return inputs * tf.where(bits >= tf.constant(self._dropped, tf.uint8), scale, tf.zeros([], inputs.dtype))
