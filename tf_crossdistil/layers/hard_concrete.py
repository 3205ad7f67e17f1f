# SPDX-License-Identifier: Apache-2.0
"""Gates that training can close for good (Louizos et al., ICLR 2018, arXiv 1712.01312)."""

import math
from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.layers.repeatable_draws import RepeatableDraws

# Of the interval that sigmoids are stretched to, gamma and zeta, and of log alpha: as the authors of Deep Mutual Learning have
# them (arXiv 2309.10357). The temperature is 1.
_LOWEST, _HIGHEST = -1.0, 3.0
_START = -0.5


class HardConcreteGates(keras.layers.Layer):
    """Inputs times gates `g = clip(s (zeta - gamma) + gamma, 0, 1)`, of which training closes some: 0, to the bit.

    Training draws the gates once a call, `s = sigmoid(ln u - ln(1 - u) + log alpha)` with u uniform in 0 to 1 (Eq. 10-11);
    otherwise they are `s = sigmoid(log alpha)` (Eq. 13). `gamma, zeta` are -1 and 3, log alpha starts at -0.5. The layer's loss
    is `penalty` times the expected number of open gates (Eq. 12).

    Args:
        shape: of the gates; they are broadcast to the inputs.
        penalty: the weight of an open gate in the loss.
    """

    def __init__(self, shape: Sequence[int], penalty: float, **kwargs: object):
        super().__init__(**kwargs)
        self._shape, self._penalty = list(shape), penalty
        self._draws = RepeatableDraws()

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes log alpha of every gate."""
        # Regularizers are computed when the loss is, from the variable alone, wherever the layer is called.
        self.log_alpha = self.add_weight(
            name="log_alpha",
            shape=self._shape,
            initializer=keras.initializers.Constant(_START),
            regularizer=lambda log_alpha: self._penalty * expected_open(log_alpha),
            autocast=False,
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Inputs, in their type, times the gates, which are computed in float32."""
        logits = self.log_alpha + self._noise() if training else self.log_alpha
        gates = tf.clip_by_value(tf.sigmoid(logits) * (_HIGHEST - _LOWEST) + _LOWEST, 0.0, 1.0)
        return inputs * tf.cast(gates, inputs.dtype)

    def _noise(self) -> tf.Tensor:
        bits = tf.bitwise.right_shift(self._draws.bits(self.log_alpha.shape), tf.constant(9, tf.uint32))
        # Never 0 or 1: as many bits as a float32 takes, and a half.
        uniform = (tf.cast(bits, tf.float32) + 0.5) / 2**23
        return tf.math.log(uniform) - tf.math.log1p(-uniform)


def expected_open(log_alpha: tf.Tensor) -> tf.Tensor:
    """How many gates a draw leaves open on average: `sum P(g > 0) = sum sigmoid(log alpha - ln(-gamma / zeta))` (Eq. 12)."""
    return tf.reduce_sum(tf.sigmoid(log_alpha - math.log(-_LOWEST / _HIGHEST)))
