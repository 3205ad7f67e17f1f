# SPDX-License-Identifier: Apache-2.0
"""What makes two trainings of one seed the same to the bit."""

import tensorflow as tf
import tf_keras as keras


def make_deterministic(seed: int) -> None:
    """Seeds everything and fixes the order of operations. To be called before a model is made, after a strategy.

    A step computes the teachers' logits of natural rows without a backward pass, so nothing but a control edge says that it
    comes before the update of what it read. TensorFlow's dependency optimizer loses that order: now and then such logits were
    those of the updated weights.
    """
    keras.utils.set_random_seed(seed)
    keras.backend.reset_uids()
    # Otherwise threads sum the gradients of an embedding's row in any order.
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
