# SPDX-License-Identifier: Apache-2.0
"""What a student loses on the labels of its task, row by row."""

from collections.abc import Callable

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import UsageError
from tf_crossdistil.plugins import find_plugin

StudentLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """`CE(y, r) = -y ln sigmoid(r) - (1 - y) ln sigmoid(-r)` `[rows]` of labels and logits `[rows]`, in nats."""
    return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)


def squared_error(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """`(r - y)^2` `[rows]` of a regression's targets y and outputs r `[rows]`, in their unit squared."""
    return tf.math.squared_difference(outputs, targets)


STUDENT_LOSSES: dict[str, StudentLoss] = {"cross_entropy": cross_entropy}


def find_student_loss(name: str) -> StudentLoss:
    """The loss of that name, or the user's own function `(labels, logits)`, all `[rows]`, as `package.module:function`.

    Raises:
        UsageError: there is none, or it fails, or gives something else than one number a row.
    """
    loss = find_plugin("training.loss", name, STUDENT_LOSSES)
    try:
        shape = tuple(tf.convert_to_tensor(loss(tf.constant([0.0, 1.0]), tf.constant([0.5, -0.5]))).shape)
    except Exception as error:
        # The user's own code may fail in any way.
        raise UsageError(f"training.loss: '{name}' fails on two rows: {type(error).__name__}: {error}; mend it") from error
    if shape != (2,):
        raise UsageError(f"training.loss: '{name}' must give one number a row, [2] for two rows; received shape {list(shape)}")
    return loss


def student_losses(experiment: Experiment) -> list[StudentLoss]:
    """The loss of every task, in order: `training.loss` of binary tasks, the squared error of regressions.

    Raises:
        UsageError: see `find_student_loss`.
    """
    by_kind = {"binary": find_student_loss(experiment.training.loss), "regression": squared_error}
    return [by_kind[task.kind] for task in experiment.tasks]
