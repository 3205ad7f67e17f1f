# SPDX-License-Identifier: Apache-2.0
"""Progressive Layered Extraction (Tang et al., RecSys 2020)."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.base import SHARED, Backbone
from tf_crossdistil.config import Experts, Model
from tf_crossdistil.layers.mixture import mix
from tf_crossdistil.layers.perceptron import Perceptron


class ExtractionLevel(keras.layers.Layer):
    """One level: owners (each task, and `shared`) have experts, and gates mix what an owner may read.

    A task's gate reads its own experts and the shared ones: `g = softmax(W x_owner)`, output `sum g_i e_i` (Eq. 1-3 of the
    paper). The shared gate, which only levels before the last have, reads the shared experts and those of the students:
    with a teacher's among them, what is served would depend on teachers.
    """

    def __init__(
        self,
        students: Sequence[str],
        teachers: Sequence[str],
        experts: Experts,
        *,
        dropout: float,
        last: bool,
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        sizes = {**dict.fromkeys([*students, *teachers], experts.per_task), SHARED: experts.shared}
        self.experts = {owner: [Perceptron(experts.units, dropout) for _ in range(size)] for owner, size in sizes.items()}
        self._reads = {task: [task, SHARED] for task in [*students, *teachers]}
        if not last:
            self._reads[SHARED] = [*students, SHARED]
        self.gates = {
            owner: keras.layers.Dense(sum(sizes[other] for other in reads), activation="softmax")
            for owner, reads in self._reads.items()
        }

    def call(self, inputs: Mapping[str, tf.Tensor], tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Representations of `tasks` and, before the last level, of `shared`; `inputs` by owner, `[rows, width]`."""
        owners = [owner for owner in self._reads if owner in tasks or owner == SHARED]
        needed = {other for owner in owners for other in self._reads[owner]}
        outputs = {
            owner: [expert(inputs[owner], training=training) for expert in experts]
            for owner, experts in self.experts.items()
            if owner in needed
        }
        return {
            owner: mix(self.gates[owner](inputs[owner]), [output for other in self._reads[owner] for output in outputs[other]])
            for owner in owners
        }


class ProgressiveLayeredExtraction(Backbone):
    """PLE: `levels` of extraction, each task with experts of its own beside the shared ones."""

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(students, teachers, settings, **kwargs)
        self.levels = [
            ExtractionLevel(
                students, teachers, settings.experts, dropout=settings.dropout, last=level == settings.experts.levels - 1
            )
            for level in range(settings.experts.levels)
        ]

    def call(self, inputs: tf.Tensor, tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Representations of `tasks`; with several levels, students are always computed, since the shared gate reads them."""
        inner = list(dict.fromkeys([*self.students, *tasks]))
        states = dict.fromkeys([*inner, SHARED], inputs)
        for level in self.levels[:-1]:
            states = level(states, inner, training=training)
        return self.levels[-1](states, list(tasks), training=training)
