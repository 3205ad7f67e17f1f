# SPDX-License-Identifier: Apache-2.0
"""What every calibrator is."""

import math
from collections.abc import Sequence

import tensorflow as tf


class Calibrator(tf.Module):
    """Teachers' logits `[rows, tasks]` to calibrated logits `[rows, tasks]`; the probability is their sigmoid.

    Implement `__init__` and `__call__`. Every output must rise with its input, whatever the variables are: a calibrator that
    reorders rows would undo what the teacher learned. A tf.Module and no Keras layer, since its variables are trained by an
    optimizer of their own, never by the model's (Algorithm 1 of the CrossDistil paper).

    Args:
        positive_rates: of each task in the training split; strictly between 0 and 1.
    """

    def __init__(self, positive_rates: Sequence[float]):
        super().__init__()

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits `[rows, tasks]`."""
        raise NotImplementedError(f"{type(self).__name__} must implement __call__")


# A free variable whose softplus is 1.
UNIT = math.log(math.e - 1)


def logits_of(rates: Sequence[float]) -> list[float]:
    """`ln(p / (1 - p))` of each rate."""
    return [math.log(rate / (1 - rate)) for rate in rates]
