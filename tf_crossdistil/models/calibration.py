# SPDX-License-Identifier: Apache-2.0
"""Bi-level calibration of the teachers: the calibrator learns by its own loss and its own optimizer (Algorithm 1)."""

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.calibrators.base import Calibrator
from tf_crossdistil.models.gradients import apply_gradients


class Calibration:
    """A calibrator of all teachers with the optimizer that trains it.

    A plain object, which Keras does not track: its variables are never among a model's.

    Args:
        calibrator: of all teachers' logits.
        learning_rate: of its variables.
    """

    def __init__(self, calibrator: Calibrator, learning_rate: float):
        self.calibrator = calibrator
        self.optimizer = keras.optimizers.legacy.Adam(learning_rate)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits `[rows, teachers]`."""
        return self.calibrator(logits)

    def update(self, logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """One step on the calibration loss, Eq. 9: `CE(y, sigmoid(r~))` with r held fixed.

        Args:
            logits: teacher logits `[rows, teachers]` of natural rows.
            labels: of the teachers' tasks, 0 or 1, `[rows, teachers]`.
            weights: how much each label counts, `[rows, teachers]`.

        Returns:
            The loss before the step, a scalar, summed over teachers.
        """
        variables = self.calibrator.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels, self.calibrator(tf.stop_gradient(logits)))
            loss = tf.reduce_sum(tf.reduce_mean(weights * entropy, axis=0))
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
        apply_gradients(self.optimizer, zip(tape.gradient(share, variables), variables, strict=True))
        return loss
