"""How much each task's student weighs in the model's loss."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras


class FixedWeighting(keras.layers.Layer):
    """`w_k L_k`: the tasks' weights of the configuration.

    Args:
        weights: w, of each task.
    """

    def __init__(self, weights: Sequence[float], **kwargs: object):
        super().__init__(**kwargs)
        self._weights = list(weights)

    def call(self, inputs: tf.Tensor, task: int) -> tf.Tensor:
        """A loss of task number `task`, weighted; both scalars."""
        return self._weights[task] * inputs

    def regularisation(self) -> list[tf.Tensor]:
        """What the model's loss has beside the weighted losses."""
        return []


class UncertaintyWeighting(FixedWeighting):
    """`w_k (exp(-s_k) L_k + s_k / 2)`, s_k = ln sigma_k^2 a variable that starts at 0 (Kendall et al., CVPR 2018, Eq. 10).

    With `w_k L_k` alone s_k would learn to undo w_k. The losses of a student, on labels and on soft labels, share s_k.
    Teachers' losses keep their weight.

    Args:
        weights: w, of each task.
    """

    def __init__(self, weights: Sequence[float], **kwargs: object):
        super().__init__(weights, **kwargs)
        self.log_variance = self.add_weight(name="log_variance", shape=[len(weights)], initializer="zeros")

    def call(self, inputs: tf.Tensor, task: int) -> tf.Tensor:
        """A loss of task number `task`, weighted; both scalars."""
        return super().call(inputs, task) * tf.exp(-self.log_variance[task])

    def regularisation(self) -> list[tf.Tensor]:
        """`w_k s_k / 2` of all tasks, without which every student would weigh nothing in the end."""
        return [tf.tensordot(self.log_variance, tf.constant(self._weights), axes=1) / 2]


LOSS_WEIGHTINGS = {"fixed": FixedWeighting, "uncertainty": UncertaintyWeighting}
