# SPDX-License-Identifier: Apache-2.0
"""How much each task's student weighs in the model's loss."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Task

# c of a task's kind.
_FACTORS = {"binary": 1.0, "regression": 0.5}


class FixedWeighting(keras.layers.Layer):
    """`w_k L_k`: the tasks' weights of the configuration.

    Args:
        tasks: whose weights are w.
    """

    def __init__(self, tasks: Sequence[Task], **kwargs: object):
        super().__init__(**kwargs)
        self._weights = [task.weight for task in tasks]

    def call(self, inputs: tf.Tensor, task: int) -> tf.Tensor:
        """A loss of task number `task`, weighted; both scalars."""
        return self._weights[task] * inputs

    def regularisation(self) -> list[tf.Tensor]:
        """What the model's loss has beside the weighted losses."""
        return []


class UncertaintyWeighting(FixedWeighting):
    """`w_k (c_k exp(-s_k) L_k + s_k / 2)`, s_k = ln sigma_k^2 a variable that starts at 0 (Kendall et al., CVPR 2018).

    c_k is 1 for the entropy of a binary task (Eq. 10), and 1/2 for the squared error of a regression (Eq. 7). With `w_k L_k`
    alone s_k would learn to undo w_k. The losses of a student, on labels and on soft labels, share s_k. Teachers' losses keep
    their weight.

    Args:
        tasks: whose weights are w.
    """

    def __init__(self, tasks: Sequence[Task], **kwargs: object):
        super().__init__(tasks, **kwargs)
        self._factors = [_FACTORS[task.kind] for task in tasks]
        self.log_variance = self.add_weight(name="log_variance", shape=[len(tasks)], initializer="zeros")

    def call(self, inputs: tf.Tensor, task: int) -> tf.Tensor:
        """A loss of task number `task`, weighted; both scalars."""
        return self._factors[task] * super().call(inputs, task) * tf.exp(-self.log_variance[task])

    def regularisation(self) -> list[tf.Tensor]:
        """`w_k s_k / 2` of all tasks, without which every student would weigh nothing in the end."""
        return [tf.tensordot(self.log_variance, tf.constant(self._weights), axes=1) / 2]


LOSS_WEIGHTINGS = {"fixed": FixedWeighting, "uncertainty": UncertaintyWeighting}
