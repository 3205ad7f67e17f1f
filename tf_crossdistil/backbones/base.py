# SPDX-License-Identifier: Apache-2.0
"""What every backbone is."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Model

# Beside the tasks, an owner of parts of some backbones; no task can be called so.
SHARED = "(shared)"


class Backbone(keras.layers.Layer):
    """Encoded features `[rows, width]` to one representation `[rows, units]` a task.

    Implement `call`. Teachers are tasks like students, with one rule: what `call` computes for students must not depend
    on variables that belong to a teacher, since only students are exported.

    Args:
        students: names of the tasks that are served.
        teachers: names of the augmented tasks; may be empty.
        settings: the `model` section of the configuration.

    Where `shares_embeddings` is False, every task has embeddings of its own, and `call` receives encodings by task.
    """

    shares_embeddings = True

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(**kwargs)
        self.students = list(students)
        self.teachers = list(teachers)
        self.settings = settings

    def call(self, inputs: tf.Tensor, tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Representations of `tasks` only; nothing is computed for others."""
        raise NotImplementedError(f"{type(self).__name__} must implement call")
