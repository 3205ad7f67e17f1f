# SPDX-License-Identifier: Apache-2.0
"""Cross-Stitch networks (Misra et al., CVPR 2016)."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.config import Model
from tf_crossdistil.layers.perceptron import Perceptron

# What a task keeps of its own at first; the others it reads share the rest (section 5.1 of the paper).
_OWN = 0.9


class CrossStitchUnit(keras.layers.Layer):
    """What each task reads of the others: `x~_k = sum_j a_kj x_j`, one number a pair (Eq. 1).

    Students read students. Teachers read everyone, themselves included, so that no student depends on a teacher.
    """

    def __init__(self, students: Sequence[str], teachers: Sequence[str], **kwargs: object):
        super().__init__(**kwargs)
        self._reads = {task: list(students) for task in students} | {task: [*students, *teachers] for task in teachers}

    def build(self, input_shape: object) -> None:
        """Makes a row of weights a task."""
        self.weights_of = {
            task: self.add_weight(
                name="stitch", shape=[len(reads)], initializer=keras.initializers.Constant(_initial(task, reads))
            )
            for task, reads in self._reads.items()
        }

    def reads(self, tasks: Sequence[str]) -> list[str]:
        """The tasks whose representations those of `tasks` are made of."""
        return list(dict.fromkeys(other for task in tasks for other in self._reads[task]))

    def call(self, inputs: dict[str, tf.Tensor], tasks: Sequence[str]) -> dict[str, tf.Tensor]:
        """New representations of `tasks`, from those `[rows, units]` of all that they read."""
        return {
            task: tf.add_n([self.weights_of[task][index] * inputs[other] for index, other in enumerate(self._reads[task])])
            for task in tasks
        }


class CrossStitch(Backbone):
    """Each task has layers of `experts.units` of its own, with a cross-stitch unit behind each layer."""

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(students, teachers, settings, **kwargs)
        self.layers_of = {
            task: [Perceptron([size], settings.dropout) for size in settings.experts.units] for task in [*students, *teachers]
        }
        self.units = [CrossStitchUnit(students, teachers) for _ in settings.experts.units]

    def call(self, inputs: tf.Tensor, tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Representations of `tasks`; the layers of those that they read, before the last unit, are computed too."""
        needed = [list(tasks)]
        for unit in reversed(self.units):
            needed.insert(0, unit.reads(needed[0]))
        states = dict.fromkeys(needed[0], inputs)
        for depth, unit in enumerate(self.units):
            hidden = {task: self.layers_of[task][depth](states[task], training=training) for task in needed[depth]}
            states = unit(hidden, tasks=needed[depth + 1])
        return states


def _initial(task: str, reads: Sequence[str]) -> list[float]:
    if len(reads) == 1:
        return [1.0]
    return [_OWN if other == task else (1 - _OWN) / (len(reads) - 1) for other in reads]
