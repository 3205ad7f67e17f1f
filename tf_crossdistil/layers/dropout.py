"""Dropout that a resumed run repeats."""

import random

import tensorflow as tf
import tf_keras as keras

# Drawing random bits is most of what dropout costs: eight decide on each input.
_LEVELS = 256


class Dropout(keras.layers.Layer):
    """Zeroes each input with probability `rate` while training and scales the others, so that the mean stays.

    The rate is the nearest multiple of 1/256 between 0 and 1, and 0 only where 0 is asked for.
    Masks depend on a seed, the replica and a count of calls that checkpoints keep. The state of Keras' own dropout is hidden
    in the graph, so that a resumed run would draw other masks than an undisturbed one.
    """

    def __init__(self, rate: float, **kwargs: object):
        super().__init__(**kwargs)
        self._dropped = min(max(round(rate * _LEVELS), 1), _LEVELS - 1) if rate else 0
        # Each replica counts for itself: compiled functions cannot meet to count together.
        on_each = {
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        seed = tf.Variable(random.getrandbits(31), trainable=False, dtype=tf.int64)
        # In a checkpoint, but none of the layer's weights, which are what models are compared and exported by.
        self._state = tf.train.Checkpoint(seed=seed, calls=tf.Variable(0, trainable=False, dtype=tf.int64, **on_each))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops inputs, of any shape, if `training`."""
        if not training or not self._dropped:
            return inputs
        bits = tf.reshape(self._bits(tf.size(inputs)), tf.shape(inputs))
        scale = tf.constant(_LEVELS / (_LEVELS - self._dropped), inputs.dtype)
        return inputs * tf.where(bits >= tf.constant(self._dropped, tf.uint8), scale, tf.zeros([], inputs.dtype))

    def _bits(self, count: tf.Tensor) -> tf.Tensor:
        """Uniform bits `[count]`, other ones at each call."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        calls = self._state.calls.assign_add(1)
        seed = tf.stack([self._state.seed + tf.cast(replica, tf.int64) * 2**31, calls])
        words = tf.random.stateless_uniform([count // 4 + 1], seed, minval=None, maxval=None, dtype=tf.uint32)
        return tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count]
