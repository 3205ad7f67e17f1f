"""The teachers' loss: a quadruplet ranking loss over label combinations (Eq. 4 of the CrossDistil paper)."""

import tensorflow as tf


def augmented_ranking_loss(logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """`sum over tags (a, b) of w[a, b] E[-ln sigmoid(r_a - r_b)]`, which is Eq. 4 with the weights of `tags.pair_weights`.

    Each expectation is the mean over all pairs of the draws from tag a and the draws from tag b.

    Args:
        logits: `[tags, draws]`, teacher logits of uniform draws from each tag.
        weights: `[tags, tags]`, how much each ordered pair weighs; a constant.

    Returns:
        A scalar. Pairs of weight zero cost nothing, whatever their logits are.
    """
    pairs = tf.where(weights > 0)
    above, below = tf.gather(logits, pairs[:, 0]), tf.gather(logits, pairs[:, 1])
    losses = tf.nn.softplus(below[:, tf.newaxis, :] - above[:, :, tf.newaxis])
    return tf.reduce_sum(tf.gather_nd(weights, pairs) * tf.reduce_mean(losses, axis=[1, 2]))
