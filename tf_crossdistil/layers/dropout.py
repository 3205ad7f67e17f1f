"""Dropout that a resumed run repeats."""

import random

import tensorflow as tf
import tf_keras as keras


class Dropout(keras.layers.Layer):
    """Zeroes each input with probability `rate` while training and scales the others by `1 / (1 - rate)`.

    Its random state is an object that checkpoints keep. That of Keras' own dropout is hidden in the graph, so that a resumed
    run would draw other masks than an undisturbed one.
    """

    def __init__(self, rate: float, **kwargs: object):
        super().__init__(**kwargs)
        self._rate = rate
        self._generator = tf.random.Generator.from_seed(random.getrandbits(32))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops inputs, of any shape, if `training`."""
        if not training or not self._rate:
            return inputs
        kept = self._generator.uniform(tf.shape(inputs)) >= self._rate
        return tf.where(kept, inputs / (1.0 - self._rate), 0.0)
