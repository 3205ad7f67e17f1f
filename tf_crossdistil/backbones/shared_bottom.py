# SPDX-License-Identifier: Apache-2.0
"""Shared-Bottom (Caruana, Machine Learning 1997)."""

from collections.abc import Sequence

import tensorflow as tf

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.config import Model
from tf_crossdistil.layers.perceptron import Perceptron


class SharedBottom(Backbone):
    """One perceptron of `experts.units` that all tasks share."""

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(students, teachers, settings, **kwargs)
        self.bottom = Perceptron(settings.experts.units, settings.dropout)

    def call(self, inputs: tf.Tensor, tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """The same representation for every task."""
        return dict.fromkeys(tasks, self.bottom(inputs, training=training))
