# SPDX-License-Identifier: Apache-2.0
"""Multi-gate Mixture-of-Experts (Ma et al., KDD 2018)."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.config import Model
from tf_crossdistil.layers.mixture import mix
from tf_crossdistil.layers.perceptron import Perceptron


class MultiGateMixtureOfExperts(Backbone):
    """MMoE: `experts.shared` experts of `experts.units`, a gate a task: `sum_i softmax(W_k x)_i f_i(x)` (Eq. 6-7)."""

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(students, teachers, settings, **kwargs)
        self.experts = [Perceptron(settings.experts.units, settings.dropout) for _ in range(settings.experts.shared)]
        self.gates = {
            task: keras.layers.Dense(len(self.experts), use_bias=False, activation="softmax") for task in [*students, *teachers]
        }

    def call(self, inputs: tf.Tensor, tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Every task's mixture of the same experts."""
        outputs = [expert(inputs, training=training) for expert in self.experts]
        return {task: mix(self.gates[task](inputs), outputs) for task in tasks}
