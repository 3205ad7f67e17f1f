# SPDX-License-Identifier: Apache-2.0
"""Platt scaling (Eq. 8 of the CrossDistil paper)."""

from collections.abc import Sequence

import tensorflow as tf

from tf_crossdistil.calibrators.base import UNIT, Calibrator, logits_of


class PlattScaling(Calibrator):
    """`r~ = P r + Q` for each task, with the probability `sigmoid(r~)` and P > 0.

    The paper prints `1 / (1 + exp r~)`; with that sign P turns negative, which flips the ranking and breaks Eq. 10. P is
    the softplus of a free variable, so that it stays positive; it starts at 1. Q starts at the logit of the task's positive
    rate: from 0, a rare task's teacher would call every row a coin toss until Q has come down.

    Args:
        positive_rates: of each task in the training split; strictly between 0 and 1.
    """

    def __init__(self, positive_rates: Sequence[float]):
        super().__init__(positive_rates)
        self.free_scale = tf.Variable(tf.fill([len(positive_rates)], UNIT), name="free_scale")
        self.offset = tf.Variable(logits_of(positive_rates), name="offset")

    @property
    def scale(self) -> tf.Tensor:
        """P, `[tasks]`."""
        return tf.nn.softplus(self.free_scale)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits `[rows, tasks]`."""
        return self.scale * logits + self.offset
