# SPDX-License-Identifier: Apache-2.0
"""The teachers' loss: a quadruplet ranking loss over label combinations (Eq. 4 of the CrossDistil paper)."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Draws of two strata are compared block by block, each draw with all of the other's block: the draws themselves decide the
# variance, and further comparisons would only cost. Replicas hold whole blocks, so that together they compare what one would.
BLOCK = 8
# Smaller blocks where more than so many pairs of draws would be compared for each draw of a tag: five tasks have 496 pairs of
# tags, six have 2,016.
_MOST_PAIRS = 4096


def augmented_ranking_loss(logits: tf.Tensor, weights: NDArray[np.floating]) -> tf.Tensor:
    """Eq. 4 as `sum over tags (a, b) of w[a, b] E[-ln sigmoid(r_a - r_b)]`.

    Draws being uniform and independent between tags, every pair has the expectation's mean, so the estimate is unbiased.

    Args:
        logits: teacher logits `[tags, draws]` of rows drawn uniformly from each tag; draws are a multiple of 8.
        weights: `[tags, tags]`, of `tags.pair_weights`; a constant.

    Returns:
        A scalar. Tags that weigh nothing cost nothing, whatever their logits are.
    """
    upper, lower = np.nonzero(weights > 0)
    blocks = tf.reshape(logits, [len(weights), -1, _block(len(upper))])
    above, below = tf.gather(blocks, upper), tf.gather(blocks, lower)
    losses = tf.nn.softplus(below[..., tf.newaxis, :] - above[..., tf.newaxis])
    return tf.tensordot(tf.reduce_mean(losses, axis=[1, 2, 3]), weights[upper, lower].astype(np.float32), axes=1)


def _block(ordered_tags: int) -> int:
    """How many draws a block has."""
    return next(size for size in (BLOCK, 4, 2, 1) if size == 1 or ordered_tags * size <= _MOST_PAIRS)
