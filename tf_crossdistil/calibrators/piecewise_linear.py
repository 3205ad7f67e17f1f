# SPDX-License-Identifier: Apache-2.0
"""Monotone piecewise-linear calibration: the smooth cousin of isotonic regression."""

from collections.abc import Sequence
from itertools import pairwise

import tensorflow as tf

from tf_crossdistil.calibrators.base import UNIT, Calibrator, logits_of

# Where the slope may change; logits beyond the outermost go on with the outermost slopes.
_KNOTS = [-6.0, -4.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0]


class PiecewiseLinear(Calibrator):
    """`r~ = Q + sum_i w_i l_i(r)` for each task: l_i is the part of r in the interval i between fixed knots, w_i > 0 its slope.

    Unlike isotonic regression (Zadrozny and Elkan, KDD 2002) it is strictly increasing, so that no two rows become equal,
    and is learned by gradients. With all slopes equal it is Platt scaling; they start at 1, Q at the logit of the task's
    positive rate.

    Args:
        positive_rates: of each task in the training split; strictly between 0 and 1.
    """

    def __init__(self, positive_rates: Sequence[float]):
        super().__init__(positive_rates)
        self.free_slopes = tf.Variable(tf.fill([len(positive_rates), len(_KNOTS) + 1], UNIT), name="free_slopes")
        self.offset = tf.Variable(logits_of(positive_rates), name="offset")
        widths = [after - before for before, after in pairwise(_KNOTS)]
        self._starts = tf.constant([_KNOTS[0], *_KNOTS])
        self._lowest = tf.constant([-float("inf"), *[0.0] * len(_KNOTS)])
        self._highest = tf.constant([0.0, *widths, float("inf")])

    @property
    def slopes(self) -> tf.Tensor:
        """w, `[tasks, intervals]`."""
        return tf.nn.softplus(self.free_slopes)

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Calibrated logits `[rows, tasks]`."""
        parts = tf.clip_by_value(logits[:, :, tf.newaxis] - self._starts, self._lowest, self._highest)
        return tf.reduce_sum(self.slopes * parts, axis=2) + self.slopes[:, 0] * _KNOTS[0] + self.offset
