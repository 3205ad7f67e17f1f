"""The teachers' loss: a quadruplet ranking loss over label combinations (Eq. 4 of the CrossDistil paper)."""

import tensorflow as tf

# Draws of the lower tag that each draw of the upper one is compared with. Beyond this the draws themselves decide the
# variance, while the cost goes on growing, with five tasks for 256 pairs of tags.
_COMPARISONS = 16


def augmented_ranking_loss(logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """`sum over tags (a, b) of w[a, b] E[-ln sigmoid(r_a - r_b)]`, which is Eq. 4 with the weights of `tags.pair_weights`.

    Each expectation is a mean over pairs of one draw from tag a and one from tag b, draw i of a with the draws
    i, i + 1, ..., i + 15 of b, counted round. Draws being independent, every pair has the expectation's mean.

    Args:
        logits: `[tags, draws]`, teacher logits of uniform draws from each tag.
        weights: `[tags, tags]`, how much each ordered pair weighs; a constant.

    Returns:
        A scalar. Pairs of weight zero cost nothing, whatever their logits are.
    """
    pairs = tf.where(weights > 0)
    above, below = tf.gather(logits, pairs[:, 0]), tf.gather(logits, pairs[:, 1])
    draws = logits.shape[1]
    shifted = tf.stack([tf.roll(below, -shift, axis=1) for shift in range(min(draws, _COMPARISONS))], axis=1)
    losses = tf.nn.softplus(shifted - above[:, tf.newaxis, :])
    return tf.reduce_sum(tf.gather_nd(weights, pairs) * tf.reduce_mean(losses, axis=[1, 2]))
