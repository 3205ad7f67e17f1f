"""Columns of ids and numbers to one dense vector a row."""

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Experiment, NumericFeature
from tf_crossdistil.data.records import Columns
from tf_crossdistil.schema import Metadata, NumericStatistics


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


class FeatureEncoder(keras.layers.Layer):
    """Every feature embedded or transformed, then concatenated: columns `[rows]` to `[rows, width]`."""

    def __init__(self, experiment: Experiment, metadata: Metadata, **kwargs: object):
        super().__init__(**kwargs)
        self.encoders = {
            feature.name: NumericTransform(feature, metadata.numeric[feature.name])
            if feature.kind == "numeric"
            else keras.layers.Embedding(
                metadata.embedding_rows(feature),
                feature.dim,
                embeddings_initializer=keras.initializers.RandomNormal(stddev=0.05),
            )
            for feature in experiment.features
        }

    def call(self, inputs: Columns) -> tf.Tensor:
        """Encodes the columns; the order of features is the configuration's."""
        return tf.concat([encode(inputs[name]) for name, encode in self.encoders.items()], axis=1)
