# SPDX-License-Identifier: Apache-2.0
"""Feature interactions ahead of the backbone: the features' vectors to one vector a row."""

from collections.abc import Mapping

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Experiment, HashedFeature, NumericFeature, VocabularyFeature
from tf_crossdistil.errors import UsageError


class Interaction(keras.layers.Layer):
    """Vectors `[rows, width]` by feature to one vector `[rows, width]`; this one sets them side by side.

    Args:
        dims: the widths of the features that are embedded, by feature.
    """

    def __init__(self, dims: Mapping[str, int], **kwargs: object):
        super().__init__(**kwargs)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Concatenates the vectors, in the configuration's order."""
        return tf.concat(list(inputs.values()), axis=1)


class CrossInteraction(Interaction):
    """One cross layer: `x_0 * (W x_0 + b) + x_0` (DCN-V2, Wang et al., WWW 2021, Eq. 1)."""

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Makes the layer for the width of all features together."""
        self.dense = keras.layers.Dense(_width(input_shape), kernel_initializer="truncated_normal")

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Crosses the concatenated vectors; the width stays."""
        start = super().call(inputs)
        return start * self.dense(start) + start


class MultiLayerCross(Interaction):
    """Three cross layers of low rank: `x_{l+1} = x_0 * (V_l U_l x_l + b_l) + x_l` (DCN-V2, Eq. 2).

    The rank is a quarter of the width, at which the paper found the accuracy of the full rank.
    """

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Makes the layers for the width of all features together."""
        width = _width(input_shape)
        self.layers = [
            (
                keras.layers.Dense(max(width // 4, 1), use_bias=False, kernel_initializer="truncated_normal"),
                keras.layers.Dense(width, kernel_initializer="truncated_normal"),
            )
            for _ in range(3)
        ]

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Crosses the concatenated vectors; the width stays."""
        outputs = start = super().call(inputs)
        for down, up in self.layers:
            outputs = start * up(down(outputs)) + outputs
        return outputs


class DotInteraction(Interaction):
    """The concatenated vectors, then the dot products `e_i . e_j`, i > j, of the embedded features (DLRM, arXiv 1906.00091).

    Raises:
        UsageError: the embedded features do not have one width, or are fewer than two.
    """

    def __init__(self, dims: Mapping[str, int], **kwargs: object):
        super().__init__(dims, **kwargs)
        if len(dims) < 2 or len(set(dims.values())) > 1:
            found = ", ".join(f"{name} {dim}" for name, dim in dims.items()) or "none"
            raise UsageError(
                f"model.interaction: dot needs two or more embedded features of one dim; received the dims: {found}; set "
                "'dim' of those features alike, or choose another interaction"
            )
        self._embedded = list(dims)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Appends one number for each pair of embedded features."""
        vectors = tf.stack([inputs[name] for name in self._embedded], axis=1)
        count = len(self._embedded)
        products = tf.reshape(tf.matmul(vectors, vectors, transpose_b=True), [-1, count**2])
        pairs = [first * count + second for first in range(count) for second in range(first)]
        return tf.concat([super().call(inputs), tf.gather(products, pairs, axis=1)], axis=1)


INTERACTIONS: dict[str, type[Interaction]] = {
    "none": Interaction,
    "cross": CrossInteraction,
    "multi_layer_dcn": MultiLayerCross,
    "dot": DotInteraction,
}


def make_interaction(experiment: Experiment) -> Interaction:
    """The interaction that the configuration names.

    Raises:
        UsageError: it does not suit the features.
    """
    return INTERACTIONS[experiment.model.interaction](_embedded_dims(experiment))


def _width(shapes: Mapping[str, tf.TensorShape]) -> int:
    return sum(shape[-1] for shape in shapes.values())


def _embedded_dims(experiment: Experiment) -> dict[str, int]:
    dims = {}
    for feature in experiment.features:
        if isinstance(feature, VocabularyFeature):
            dims[feature.name] = experiment.vocabulary_owner(feature).dim
        elif isinstance(feature, HashedFeature) or (isinstance(feature, NumericFeature) and feature.is_bucketized):
            dims[feature.name] = feature.dim
    return dims
