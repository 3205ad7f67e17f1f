# SPDX-License-Identifier: Apache-2.0
"""Embedding tables, and the pooling of several embeddings into one."""

import random
from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

_DEVIATION = 0.05


class SmallNormal(keras.initializers.Initializer):
    """Normal with deviation 0.05, drawn in place: Keras' own initializers hold a table three times while they make it."""

    def __init__(self) -> None:
        self._seed = random.getrandbits(31)

    def __call__(self, shape: Sequence[int], dtype: tf.DType | None = None, **kwargs: Sequence[int]) -> tf.Tensor:
        """The values; under parameter servers those of the part of the table that `kwargs` describe."""
        first_row = kwargs.get("partition_offset", [0])[0]
        # A shape that the graph knew would have its values computed while the graph is made, once more.
        return _normal(tf.constant(kwargs.get("partition_shape", shape)), tf.constant([self._seed, first_row]))


@tf.function(reduce_retracing=True)
def _normal(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_normal(shape, seed, stddev=_DEVIATION)


def embedding_table(rows: int, dim: int, trainable: bool = True) -> keras.layers.Embedding:
    """A table `[rows, dim]` that starts with small random vectors; its gradient holds the rows that were looked up."""
    return keras.layers.Embedding(rows, dim, embeddings_initializer=SmallNormal(), trainable=trainable)


class PooledEmbedding(keras.layers.Layer):
    """Lists of ids as one vector `[rows, dim]` each: the weighted mean or sum of the ids' embeddings.

    A list without ids, or a mean whose weights are all zero, gives zeros. Id 0 is padding, wherever it stands.

    Args:
        table: maps ids to embeddings; other features may share it.
        pooling: `mean`, `sum(w e) / sum(w)`, or `sum`, `sum(w e)`.
    """

    def __init__(self, table: keras.layers.Embedding, pooling: str, **kwargs: object):
        super().__init__(**kwargs)
        self.table = table
        self._pool = {"sum": lambda total, weight: total, "mean": tf.math.divide_no_nan}[pooling]

    def call(self, inputs: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Pools ids `[rows, longest]`; `weights` `[rows, longest]` default to 1."""
        rows = tf.shape(inputs)[0]
        # Padding is left out before the look-up: lists are short on average, however long the longest is. One id is
        # looked up for no row: TensorFlow crashes when replicas sum gradients that none of them has a row of.
        present = inputs > 0
        ids = tf.concat([inputs[present], tf.zeros([1], inputs.dtype)], axis=0)
        owners = tf.concat([tf.where(present)[:, 0], [-1]], axis=0)
        weight = tf.ones_like(ids, tf.float32) if weights is None else tf.concat([weights[present], [0.0]], axis=0)
        weight = weight[:, tf.newaxis]
        total = tf.math.unsorted_segment_sum(weight * self.table(ids), owners, rows)
        return self._pool(total, tf.math.unsorted_segment_sum(weight, owners, rows))
