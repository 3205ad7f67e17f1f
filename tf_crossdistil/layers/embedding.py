"""Embedding tables, and the pooling of several embeddings into one."""

import tensorflow as tf
import tf_keras as keras


def embedding_table(rows: int, dim: int, trainable: bool = True) -> keras.layers.Embedding:
    """A table `[rows, dim]` that starts with small random vectors; its gradient holds the rows that were looked up."""
    initializer = keras.initializers.RandomNormal(stddev=0.05)
    return keras.layers.Embedding(rows, dim, embeddings_initializer=initializer, trainable=trainable)


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
        # Padding is left out before the look-up: lists are short on average, however long the longest is.
        present = tf.where(inputs > 0)
        vectors = self.table(tf.gather_nd(inputs, present))
        weight = tf.ones([tf.shape(present)[0], 1]) if weights is None else tf.gather_nd(weights, present)[:, tf.newaxis]
        total = tf.math.unsorted_segment_sum(weight * vectors, present[:, 0], rows)
        return self._pool(total, tf.math.unsorted_segment_sum(weight, present[:, 0], rows))
