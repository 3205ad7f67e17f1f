"""Raw feature values to the ids that the pipeline wrote, inside the graph."""

from pathlib import Path

import tensorflow as tf

from tf_crossdistil.config import CategoricalFeature, Experiment, HashedFeature, NumericFeature
from tf_crossdistil.data.records import Columns


class CategoricalLookup(tf.Module):
    """Text `[batch]` to ids: 0 when empty, n + 1 for line n of the vocabulary, then oov buckets by fingerprint."""

    def __init__(self, feature: CategoricalFeature, vocabulary: Path):
        super().__init__()
        initializer = tf.lookup.TextFileInitializer(
            str(vocabulary),
            key_dtype=tf.string,
            key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        # TensorFlow refuses a table from an empty file; without one, every value is out of vocabulary.
        self.table = tf.lookup.StaticVocabularyTable(initializer if vocabulary.stat().st_size else None, feature.oov_buckets)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Ids of raw text."""
        text = tf.strings.strip(values)
        return tf.where(text == "", tf.zeros_like(text, tf.int64), self.table.lookup(text) + 1)


class HashedLookup(tf.Module):
    """Text `[batch]` to the bucket of its fingerprint."""

    def __init__(self, feature: HashedFeature, vocabulary: Path):
        super().__init__()
        self._buckets = feature.buckets

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Buckets of raw text."""
        return tf.strings.to_hash_bucket_fast(tf.strings.strip(values), self._buckets)


class NumericLookup(tf.Module):
    """A number `[batch]`, NaN replaced by the feature's default."""

    def __init__(self, feature: NumericFeature, vocabulary: Path):
        super().__init__()
        self._default = feature.default

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Raw numbers, none missing."""
        return tf.where(tf.math.is_nan(values), tf.fill(tf.shape(values), self._default), values)


LOOKUPS = {"categorical": CategoricalLookup, "hashed": HashedLookup, "numeric": NumericLookup}


class FeatureLookup(tf.Module):
    """All features of an experiment from raw values; `vocabularies` is the folder with one text file a feature."""

    def __init__(self, experiment: Experiment, vocabularies: Path):
        super().__init__()
        self.lookups = {
            feature.name: LOOKUPS[feature.kind](feature, vocabularies / f"{feature.name}.txt")
            for feature in experiment.features
        }

    def __call__(self, raw: Columns) -> Columns:
        """Columns of ids and numbers `[batch]`, as records hold them."""
        return {name: lookup(raw[name]) for name, lookup in self.lookups.items()}
