"""The teachers' loss: a quadruplet ranking loss over label combinations (Eq. 4 of the CrossDistil paper)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# With how many draws of the other tag each draw is compared at most. Beyond this the draws themselves decide the variance.
_COMPARISONS = 8
# How many pairs a teacher compares at most, while each draw is compared at least once: five tasks have 496 pairs of tags.
_MOST_PAIRS = 200_000


@dataclass(frozen=True)
class RankedPairs:
    """Pairs of draws: the position that should rank above, the one below, and how much the pair weighs; each `[pairs]`."""

    above: NDArray[np.int32]
    below: NDArray[np.int32]
    weights: NDArray[np.float32]


def ranked_pairs(weights: NDArray[np.floating], draws: Sequence[int]) -> RankedPairs:
    """The pairs that estimate `sum over tags (a, b) of w[a, b] E[-ln sigmoid(r_a - r_b)]`.

    Draw i of the tag with more draws is compared with the draws i, i + 1, ... of the other one, counted round, eight of them
    or fewer where there are many tags. Draws being uniform and independent between tags, every pair has the expectation's
    mean, so the estimate is unbiased.

    Args:
        weights: `[tags, tags]`, of `tags.pair_weights`; pairs of weight zero are left out.
        draws: of each tag; the draws of all tags stand behind one another.
    """
    first = np.concatenate([[0], np.cumsum(draws)])
    none = np.zeros(0)
    above, below, each = [none], [none], [none]
    ordered = np.argwhere(weights > 0)
    compared = sum(max(draws[upper], draws[lower]) for upper, lower in ordered)
    most = max(1, min(_COMPARISONS, _MOST_PAIRS // max(compared, 1)))
    for upper, lower in ordered:
        longer = max(draws[upper], draws[lower])
        comparisons = min(draws[upper], draws[lower], most)
        index = np.tile(np.arange(longer), comparisons)
        shifted = index + np.repeat(np.arange(comparisons), longer)
        above.append(first[upper] + index % draws[upper])
        below.append(first[lower] + shifted % draws[lower])
        each.append(np.full(index.size, weights[upper, lower] / index.size))
    return RankedPairs(
        np.concatenate(above).astype(np.int32), np.concatenate(below).astype(np.int32), np.concatenate(each).astype(np.float32)
    )


def augmented_ranking_loss(logits: tf.Tensor, pairs: RankedPairs) -> tf.Tensor:
    """Eq. 4 as the weighted mean of `-ln sigmoid(r_a - r_b)` over pairs of draws.

    Args:
        logits: teacher logits of the draws of all tags, `[draws]`.
        pairs: of `ranked_pairs`; a constant.

    Returns:
        A scalar. Draws that no pair names cost nothing, whatever their logits are.
    """
    differences = tf.gather(logits, pairs.below) - tf.gather(logits, pairs.above)
    return tf.tensordot(tf.nn.softplus(differences), pairs.weights, axes=1)
