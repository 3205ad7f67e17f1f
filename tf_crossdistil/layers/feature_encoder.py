# SPDX-License-Identifier: Apache-2.0
"""Columns of ids and numbers to a dense vector for each feature."""

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Experiment, Feature, HashedFeature, MultiValueFeature, NumericFeature, VocabularyFeature
from tf_crossdistil.data.records import Columns
from tf_crossdistil.layers.embedding import PooledEmbedding, embedding_table
from tf_crossdistil.layers.numeric import find_numeric_transform
from tf_crossdistil.schema import Metadata


class FeatureEncoder(keras.layers.Layer):
    """Every feature embedded or transformed: columns `[rows]` and `[rows, longest]` to `[rows, width]`, by feature.

    Features that share a vocabulary share one embedding table.
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

    def call(self, inputs: Columns) -> dict[str, tf.Tensor]:
        """Encodes the columns; the order of features is the configuration's."""
        return {name: self._encode(name, inputs) for name in self.encoders}

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The tables that are trained; their gradients are sparse."""
        tables = [layer for layer in self.submodules if isinstance(layer, keras.layers.Embedding)]
        return [variable for table in tables for variable in table.trainable_variables]

    def _encode(self, name: str, inputs: Columns) -> tf.Tensor:
        if name in self._weights_names:
            return self.encoders[name](inputs[name], inputs[self._weights_names[name]])
        return self.encoders[name](inputs[name])

    def _encoder(self, feature: Feature) -> keras.layers.Layer:
        if isinstance(feature, NumericFeature):
            return find_numeric_transform(feature)(feature, self._metadata.numeric[feature.name])
        table = self._table(feature)
        return PooledEmbedding(table, feature.pooling) if isinstance(feature, MultiValueFeature) else table

    def _table(self, feature: VocabularyFeature | HashedFeature) -> keras.layers.Embedding:
        owner = feature if isinstance(feature, HashedFeature) else self._experiment.vocabulary_owner(feature)
        if owner.name not in self.tables:
            trainable = owner.pretrained is None or owner.pretrained.trainable
            self.tables[owner.name] = embedding_table(self._metadata.embedding_rows(feature), owner.dim, trainable)
        return self.tables[owner.name]
