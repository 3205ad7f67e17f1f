"""Bi-level calibration of the teachers: P and Q learn by their own loss and their own optimizer (Algorithm 1)."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.layers.platt_scaling import PlattScaling


class Calibration:
    """Platt scaling of all teachers with the optimizer that trains it.

    A plain object, which Keras does not track: P and Q are never among a model's variables.

    Args:
        positive_rates: of each task in the training split.
        learning_rate: of P and Q.
    """

    def __init__(self, positive_rates: Sequence[float], learning_rate: float):
        self.scaling = PlattScaling(positive_rates)
        self.optimizer = keras.optimizers.legacy.Adam(learning_rate)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits `[rows, tasks]`."""
        return self.scaling(logits)

    def update(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """One step on the calibration loss, Eq. 9: `CE(y, sigmoid(P r + Q))` with r held fixed.

        Args:
            logits: teacher logits `[rows, tasks]` of natural rows.
            labels: `[rows, tasks]`.

        Returns:
            The loss before the step, a scalar, summed over tasks.
        """
        variables = self.scaling.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels, self.scaling(tf.stop_gradient(logits)))
            loss = tf.reduce_sum(tf.reduce_mean(entropy, axis=0))
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
        self.optimizer.apply_gradients(zip(tape.gradient(share, variables), variables, strict=True))
        return loss
