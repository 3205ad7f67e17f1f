# SPDX-License-Identifier: Apache-2.0
"""Single-Model: every task for itself, the baseline of multi-task papers."""

from collections.abc import Sequence

import tensorflow as tf

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.config import Model
from tf_crossdistil.layers.perceptron import Perceptron


class SingleModel(Backbone):
    """Each task has a perceptron of `experts.units`, and embeddings, of its own; nothing is shared."""

    shares_embeddings = False

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(students, teachers, settings, **kwargs)
        self.bottoms = {task: Perceptron(settings.experts.units, settings.dropout) for task in [*students, *teachers]}

    def call(self, inputs: dict[str, tf.Tensor], tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Every task's own representation of its own encoding."""
        return {task: self.bottoms[task](inputs[task], training=training) for task in tasks}
