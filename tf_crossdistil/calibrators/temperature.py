# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling (Guo et al., ICML 2017)."""

from collections.abc import Sequence

import tensorflow as tf

from tf_crossdistil.calibrators.base import UNIT, Calibrator, logits_of


class TemperatureScaling(Calibrator):
    """`r~ = r / T + ln(p / (1 - p))` for each task, p its positive rate; the temperature T > 0 is all that is learned.

    The constant takes the place of the bias that the teacher's last layer lacks: the ranking loss does not see one. It is
    right as long as the teacher's logits lie around 0; Platt scaling learns it.

    Args:
        positive_rates: of each task in the training split; strictly between 0 and 1.
    """

    def __init__(self, positive_rates: Sequence[float]):
        super().__init__(positive_rates)
        self.free_temperature = tf.Variable(tf.fill([len(positive_rates)], UNIT), name="free_temperature")
        self._offset = tf.constant(logits_of(positive_rates), tf.float32)

    @property
    def temperature(self) -> tf.Tensor:
        """T, `[tasks]`; it starts at 1."""
        return tf.nn.softplus(self.free_temperature)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits `[rows, tasks]`."""
        return logits / self.temperature + self._offset
