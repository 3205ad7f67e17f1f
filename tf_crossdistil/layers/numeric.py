# SPDX-License-Identifier: Apache-2.0
"""Numbers as inputs of the network: transformed, or embedded by bucket."""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import NumericFeature
from tf_crossdistil.errors import UsageError
from tf_crossdistil.layers.embedding import embedding_table
from tf_crossdistil.plugins import find_plugin
from tf_crossdistil.schema import NumericStatistics


class NumericTransform(keras.layers.Layer):
    """Numbers `[rows]` to inputs of the network `[rows, width]`; this one leaves them as they are.

    Implement `call`. It is part of the model, so what is exported has it too.

    Args:
        feature: the feature's part of the configuration.
        statistics: of the raw numbers in the training split.
    """

    def __init__(self, feature: NumericFeature, statistics: NumericStatistics, **kwargs: object):
        super().__init__(**kwargs)
        self.feature = feature
        self.statistics = statistics

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Transforms `[rows]`."""
        return inputs[:, tf.newaxis]


class LogTransform(NumericTransform):
    """`sign(x) ln(1 + |x|)` `[rows, 1]`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Transforms `[rows]`."""
        return (tf.sign(inputs) * tf.math.log1p(tf.abs(inputs)))[:, tf.newaxis]


class Standardization(NumericTransform):
    """`(x - mean) / deviation` `[rows, 1]` with the training split's statistics."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Transforms `[rows]`."""
        return ((inputs - self.statistics.mean) / (self.statistics.deviation or 1.0))[:, tf.newaxis]


class BucketEmbedding(NumericTransform):
    """The embedding `[rows, dim]` of the bucket of a number; a boundary belongs to the bucket above it."""

    def __init__(self, feature: NumericFeature, statistics: NumericStatistics, **kwargs: object):
        super().__init__(feature, statistics, **kwargs)
        self._boundaries = np.array(statistics.boundaries, np.float32)
        self.table = embedding_table(len(self._boundaries) + 1, feature.dim)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Embeds `[rows]`."""
        return self.table(tf.searchsorted(self._boundaries, inputs, side="right"))


# The names are those of `config.features.NUMERIC_TRANSFORMS`, which imports no TensorFlow.
NUMERIC_TRANSFORMS: dict[str, type[NumericTransform]] = {
    "none": NumericTransform,
    "log1p": LogTransform,
    "standardize": Standardization,
    "bucketize": BucketEmbedding,
}


def find_numeric_transform(feature: NumericFeature) -> type[NumericTransform]:
    """The transform that the feature names, or the user's own where the name is `package.module:Class`.

    Raises:
        UsageError: there is none.
    """
    return find_plugin(f"features.{feature.name}.transform", feature.transform, NUMERIC_TRANSFORMS, NumericTransform)


def check_numeric_transform(feature: NumericFeature, statistics: NumericStatistics) -> None:
    """Tries a feature's transform on two numbers, since the user's own may do anything.

    Raises:
        UsageError: there is no such transform, it fails, or it gives anything but `[rows, width]`.
    """
    place = f"features.{feature.name}.transform: '{feature.transform}'"
    transform = find_numeric_transform(feature)
    try:
        shape = transform(feature, statistics)(tf.zeros([2])).shape
    except Exception as error:
        raise UsageError(
            f"{place} fails on numbers [2]: {type(error).__name__}: {str(error).splitlines()[0]}; it is made as "
            "Class(feature, statistics) and called with numbers [rows]"
        ) from error
    if shape.rank != 2 or shape[0] != 2:
        raise UsageError(f"{place} must map numbers [rows] to [rows, width]; received {shape.as_list()} for numbers [2]")
