# SPDX-License-Identifier: Apache-2.0
"""The students' soft-label loss and what happens to a teacher's logit before it becomes one (Eq. 6-10)."""

import tensorflow as tf


def correct_errors(logits: tf.Tensor, labels: tf.Tensor, margin: float) -> tf.Tensor:
    """Error correction, Eq. 10: `r~ <- s max(s r~, m)` with s = +1 for a positive label and -1 otherwise.

    A corrected logit never contradicts its label by more than the margin allows, and the others stay as they are.

    Args:
        logits: calibrated teacher logits, any shape.
        labels: 0 or 1, of the same shape.
        margin: m.
    """
    sign = 2.0 * labels - 1.0
    return sign * tf.maximum(sign * logits, margin)


def soft_label_loss(student: tf.Tensor, soft_labels: tf.Tensor, temperature: float) -> tf.Tensor:
    """Knowledge distillation, Eq. 6, row by row: `CE(sigmoid(r~ / tau), r / tau)`.

    Args:
        student: student logits r `[rows]`.
        soft_labels: the teacher's probabilities `sigmoid(r~ / tau)` `[rows]`; no gradient flows into them.
        temperature: tau.

    Returns:
        `[rows]`, in nats.
    """
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.stop_gradient(soft_labels), student / temperature)
