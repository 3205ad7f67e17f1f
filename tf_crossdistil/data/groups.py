# SPDX-License-Identifier: Apache-2.0
"""The groups within which GAUC ranks."""

import tensorflow as tf

from tf_crossdistil.config import Experiment, HashedFeature, VocabularyFeature
from tf_crossdistil.data.records import Columns
from tf_crossdistil.schema import Metadata


def group_feature(experiment: Experiment) -> VocabularyFeature | HashedFeature | None:
    """The feature whose values are the groups; None where the configuration names none."""
    named = [
        feature
        for feature in experiment.features
        if isinstance(feature, VocabularyFeature | HashedFeature) and feature.name == experiment.evaluation.group_by
    ]
    return named[0] if named else None


def group_ids(feature: VocabularyFeature | HashedFeature, metadata: Metadata, columns: Columns) -> tf.Tensor:
    """The group `[rows]` of every row; -1 for missing and out-of-vocabulary values, which strangers share.

    The bucket of a hashed feature that missing values fall into is left out whole, with the few others that share it.
    """
    ids = columns[feature.name]
    if isinstance(feature, HashedFeature):
        return tf.where(ids == tf.strings.to_hash_bucket_fast("", feature.buckets), -tf.ones_like(ids), ids)
    known = (ids > 0) & (ids <= metadata.vocabularies[feature.vocabulary].size)
    return tf.where(known, ids, -tf.ones_like(ids))
