# SPDX-License-Identifier: Apache-2.0
"""How gradients are given to optimizers."""

from collections.abc import Iterable

import tensorflow as tf
import tf_keras as keras


def apply_gradients(
    optimizer: keras.optimizers.legacy.Optimizer,
    grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]],
    name: str | None = None,
    sum_over_replicas: bool = True,
) -> tf.Operation:
    """The optimizer's update, with gradients summed over replicas where there is a strategy that may have several.

    A sum is never traced without need: TensorFlow registers its gradient for the life of the process, and with it the graph and
    all variables of the model, so that a process which trains many models would hold the tables of all of them.

    Args:
        optimizer: whose update it is.
        grads_and_vars: gradients with their variables.
        name: of the update.
        sum_over_replicas: False where the gradients are those of all replicas already.
    """
    return optimizer.apply_gradients(grads_and_vars, name, sum_over_replicas and tf.distribute.has_strategy())
