"""Numbers as inputs of the network: transformed, or embedded by bucket."""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import NumericFeature
from tf_crossdistil.layers.embedding import embedding_table
from tf_crossdistil.schema import NumericStatistics


class NumericTransform(keras.layers.Layer):
    """A number `[rows]` as one input `[rows, 1]`.

    `log1p`: `sign(x) ln(1 + |x|)`. `standardize`: `(x - mean) / deviation` with the training split's statistics.
    """

    def __init__(self, feature: NumericFeature, statistics: NumericStatistics, **kwargs: object):
        super().__init__(**kwargs)
        self._transform = {
            "none": lambda x: x,
            "log1p": lambda x: tf.sign(x) * tf.math.log1p(tf.abs(x)),
            "standardize": lambda x: (x - statistics.mean) / (statistics.deviation or 1.0),
        }[feature.transform]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Transforms `[rows]`."""
        return self._transform(inputs)[:, tf.newaxis]


class BucketEmbedding(keras.layers.Layer):
    """The embedding `[rows, dim]` of the bucket of a number `[rows]`; a boundary belongs to the bucket above it."""

    def __init__(self, feature: NumericFeature, statistics: NumericStatistics, **kwargs: object):
        super().__init__(**kwargs)
        self._boundaries = np.array(statistics.boundaries, np.float32)
        self.table = embedding_table(len(self._boundaries) + 1, feature.dim)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Embeds `[rows]`."""
        return self.table(tf.searchsorted(self._boundaries, inputs, side="right"))
