"""Platt scaling of teacher logits (Eq. 8 of the CrossDistil paper)."""

import math
from collections.abc import Sequence

import tensorflow as tf


class PlattScaling(tf.Module):
    """`r~ = P r + Q` for each task, with the probability `sigmoid(r~)` and P > 0.

    The paper prints `1 / (1 + exp r~)`; with that sign P turns negative, which flips the ranking and breaks Eq. 10. P is
    the softplus of a free variable, so that it stays positive; it starts at 1. Q starts at the logit of the task's positive
    rate: from 0, a rare task's teacher would call every row a coin toss until Q has come down.

    A tf.Module and no Keras layer: P and Q are trained by their own optimizer, never by the model's.

    Args:
        positive_rates: of each task in the training split; strictly between 0 and 1.
    """

    def __init__(self, positive_rates: Sequence[float]):
        super().__init__()
        self.free_scale = tf.Variable(tf.fill([len(positive_rates)], math.log(math.e - 1)), name="free_scale")
        self.offset = tf.Variable([math.log(rate / (1 - rate)) for rate in positive_rates], name="offset")

    @property
    def scale(self) -> tf.Tensor:
        """P, `[tasks]`."""
        return tf.nn.softplus(self.free_scale)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits `[rows, tasks]`."""
        return self.scale * logits + self.offset
