"""Columns of ids and numbers to one dense vector a row."""

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Experiment, Feature, HashedFeature, MultiValueFeature, NumericFeature, VocabularyFeature
from tf_crossdistil.data.records import Columns
from tf_crossdistil.layers.embedding import PooledEmbedding, embedding_table
from tf_crossdistil.layers.numeric import BucketEmbedding, NumericTransform
from tf_crossdistil.schema import Metadata


class FeatureEncoder(keras.layers.Layer):
    """Every feature embedded or transformed, then concatenated: columns `[rows]` and `[rows, longest]` to `[rows, width]`.

    Features that share a vocabulary share one embedding table. All trainable variables are such tables.
    """

    def __init__(self, experiment: Experiment, metadata: Metadata, **kwargs: object):
        super().__init__(**kwargs)
        self._experiment = experiment
        self._metadata = metadata
        self.tables: dict[str, keras.layers.Embedding] = {}
        self.encoders = {feature.name: self._encoder(feature) for feature in experiment.features}
        self._weights_names = {
            feature.name: feature.weights_name
            for feature in experiment.features
            if isinstance(feature, MultiValueFeature) and feature.weights
        }

    def call(self, inputs: Columns) -> tf.Tensor:
        """Encodes the columns; the order of features is the configuration's."""
        return tf.concat([self._encode(name, inputs) for name in self.encoders], axis=1)

    def _encode(self, name: str, inputs: Columns) -> tf.Tensor:
        if name in self._weights_names:
            return self.encoders[name](inputs[name], inputs[self._weights_names[name]])
        return self.encoders[name](inputs[name])

    def _encoder(self, feature: Feature) -> keras.layers.Layer:
        if isinstance(feature, NumericFeature):
            layer = BucketEmbedding if feature.transform == "bucketize" else NumericTransform
            return layer(feature, self._metadata.numeric[feature.name])
        table = self._table(feature)
        return PooledEmbedding(table, feature.pooling) if isinstance(feature, MultiValueFeature) else table

    def _table(self, feature: VocabularyFeature | HashedFeature) -> keras.layers.Embedding:
        owner = feature if isinstance(feature, HashedFeature) else self._experiment.vocabulary_owner(feature)
        if owner.name not in self.tables:
            self.tables[owner.name] = embedding_table(self._metadata.embedding_rows(feature), owner.dim)
        return self.tables[owner.name]
