# SPDX-License-Identifier: Apache-2.0
"""Random draws that a resumed run repeats."""

import random
from collections.abc import Sequence

import tensorflow as tf


class RepeatableDraws(tf.train.Checkpoint):
    """Draws that depend on a seed, the replica and a count of calls, which checkpoints keep.

    The state of TensorFlow's own draws is hidden in the graph, so that a resumed run would draw otherwise than an undisturbed
    one. A layer that has this as an attribute has it in its checkpoints, but not among its weights, which are what models are
    compared and exported by.
    """

    def __init__(self) -> None:
        seed = tf.Variable(random.getrandbits(31), trainable=False, dtype=tf.int64)
        # Each replica counts for itself: compiled functions cannot meet to count together.
        calls = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().__init__(seed=seed, calls=calls)

    def bits(self, shape: Sequence[int] | tf.Tensor) -> tf.Tensor:
        """Uniform bits as uint32, other ones at each call and on each replica.

        Of floats compiled functions draw other ones.
        """
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        calls = self.calls.assign_add(1)
        seed = tf.stack([self.seed + tf.cast(replica, tf.int64) * 2**31, calls])
        return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32)
