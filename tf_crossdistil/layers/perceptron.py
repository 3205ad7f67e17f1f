# SPDX-License-Identifier: Apache-2.0
"""A stack of dense layers."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.layers.dropout import Dropout


class Perceptron(keras.layers.Layer):
    """Dense layers with ReLU, each followed by dropout: `[rows, width]` to `[rows, units[-1]]`."""

    def __init__(self, units: Sequence[int], dropout: float = 0.0, **kwargs: object):
        super().__init__(**kwargs)
        self.dense = [keras.layers.Dense(size, activation="relu") for size in units]
        self._dropout = Dropout(dropout)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Applies the layers in order."""
        outputs = inputs
        for dense in self.dense:
            outputs = self._dropout(dense(outputs), training=training)
        return outputs


class Tower(keras.layers.Layer):
    """One task's head: a perceptron and a logit; the logit is float32 in every precision.

    Without bias where only differences of logits are trained: Adam would blow the bias's gradient, which is nothing but
    rounding error, up to full steps.
    """

    def __init__(self, units: Sequence[int], dropout: float = 0.0, use_bias: bool = True, **kwargs: object):
        super().__init__(**kwargs)
        self.hidden = Perceptron(units, dropout)
        self.logit = keras.layers.Dense(1, use_bias=use_bias, dtype="float32")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """The last hidden layer `[rows, units]`, or the inputs `[rows, width]` if there is none, and the logit `[rows]`."""
        hidden = self.hidden(inputs, training=training)
        return hidden, tf.squeeze(self.logit(hidden), axis=1)
