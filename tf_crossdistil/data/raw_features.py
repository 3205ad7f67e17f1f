"""What a request holds: the raw features' types and how they are read from a serialized tf.Example."""

import tensorflow as tf

from tf_crossdistil.config import Experiment, Feature
from tf_crossdistil.data.records import Columns


def raw_dtype(feature: Feature) -> tf.DType:
    """Numbers are float32; every other value is text, as logs hold it."""
    return tf.float32 if feature.kind == "numeric" else tf.string


def request_signature(experiment: Experiment) -> dict[str, tf.TensorSpec]:
    """The tensors `[batch]` of a request, by feature name."""
    return {feature.name: tf.TensorSpec([None], raw_dtype(feature), feature.name) for feature in experiment.features}


def parse_requests(experiment: Experiment, serialized: tf.Tensor) -> Columns:
    """Raw features `[batch]` of serialized tf.Examples; an absent one is missing: empty text, or the numeric default."""
    spec = {
        feature.name: tf.io.FixedLenFeature(
            [], raw_dtype(feature), default_value=feature.default if feature.kind == "numeric" else ""
        )
        for feature in experiment.features
    }
    return tf.io.parse_example(serialized, spec)
