# SPDX-License-Identifier: Apache-2.0
"""Raw feature values to the ids that the pipeline wrote, inside the graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import (
    CategoricalFeature,
    Experiment,
    HashedFeature,
    MultiValueFeature,
    NumericFeature,
    VocabularyFeature,
)
from tf_crossdistil.data.records import Columns


class VocabularyTable(tf.Module):
    """Text of any shape to ids: 0 when empty, n + 1 for line n of the vocabulary, then oov buckets by fingerprint."""

    def __init__(self, file: Path, oov_buckets: int):
        super().__init__()
        with file.open("rb") as lines:
            self._first_oov = 1 + sum(1 for _ in lines)
        self._oov_buckets = oov_buckets
        # TensorFlow refuses a table from an empty file; without one, every value is out of vocabulary.
        self.table = tf.lookup.StaticHashTable(_line_numbers(file), self._first_oov) if file.stat().st_size else None

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Ids of raw text."""
        text = tf.strings.strip(values)
        unknown = tf.constant(self._first_oov, tf.int64)
        ids = tf.fill(tf.shape(text), unknown) if self.table is None else self.table.lookup(text)
        # One bucket needs no hash.
        if self._oov_buckets > 1:
            buckets = self._first_oov + tf.strings.to_hash_bucket_fast(text, self._oov_buckets)
            ids = tf.where(ids < self._first_oov, ids, buckets)
        return tf.where(text == "", tf.zeros_like(ids), ids)


def _line_numbers(file: Path) -> tf.lookup.TextFileInitializer:
    """Whole lines to their numbers, from 1."""
    return tf.lookup.TextFileInitializer(
        str(file),
        key_dtype=tf.string,
        key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        value_dtype=tf.int64,
        value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        value_index_offset=1,
    )


class FeatureLookup(tf.Module):
    """All features of an experiment from raw values; `vocabularies` is the folder with one text file a vocabulary."""

    def __init__(self, experiment: Experiment, vocabularies: Path):
        super().__init__()
        self._features = experiment.features
        self._kinds: dict[str, Callable[[Any, Columns], Columns]] = {
            "numeric": self._numeric,
            "hashed": self._hashed,
            "categorical": self._categorical,
            "multi_value": self._multi_value,
        }
        self.tables = {
            feature.name: VocabularyTable(vocabularies / f"{feature.name}.txt", feature.oov_buckets)
            for feature in experiment.features
            if isinstance(feature, VocabularyFeature) and feature.share_with is None
        }

    def __call__(self, raw: Columns) -> Columns:
        """Columns of ids and numbers as records hold them, `[batch]` or `[batch, n]`; lists have their padding anywhere."""
        columns: Columns = {}
        for feature in self._features:
            columns |= self._kinds[feature.kind](feature, raw)
        return columns

    def _numeric(self, feature: NumericFeature, raw: Columns) -> Columns:
        values = raw[feature.name]
        return {feature.name: tf.where(tf.math.is_nan(values), tf.fill(tf.shape(values), feature.default), values)}

    def _hashed(self, feature: HashedFeature, raw: Columns) -> Columns:
        return {feature.name: tf.strings.to_hash_bucket_fast(tf.strings.strip(raw[feature.name]), feature.buckets)}

    def _categorical(self, feature: CategoricalFeature, raw: Columns) -> Columns:
        return {feature.name: self.tables[feature.vocabulary](raw[feature.name])}

    def _multi_value(self, feature: MultiValueFeature, raw: Columns) -> Columns:
        ids = self.tables[feature.vocabulary](raw[feature.name])
        present = ids > 0
        kept = present & (tf.cumsum(tf.cast(present, tf.int32), axis=1) <= feature.max_length)
        columns = {feature.name: tf.where(kept, ids, tf.zeros_like(ids))}
        if feature.weights:
            weights = _as_wide_as(ids, raw[feature.weights_name])
            weights = tf.where(tf.math.is_nan(weights), tf.ones_like(weights), weights)
            columns[feature.weights_name] = tf.where(kept, weights, tf.zeros_like(weights))
        return columns


def _as_wide_as(ids: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Weights `[batch, any]` as `[batch, n]` like the ids; those that are not given are NaN."""
    width = tf.shape(ids)[1]
    weights = weights[:, :width]
    weights = tf.pad(weights, [[0, 0], [0, width - tf.shape(weights)[1]]], constant_values=float("nan"))
    return tf.ensure_shape(weights, ids.shape)
