# SPDX-License-Identifier: Apache-2.0
"""Optimizers whose step costs the same whatever the vocabulary's size."""

from collections.abc import Callable, Iterable, Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from tf_crossdistil.config import Training
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.gradients import apply_gradients

# Gradients of a mean over thousands of rows are tiny. Beside Keras' 0.1 their squares would never show in the accumulators, and
# Adagrad would be gradient descent whose step depends on the batch size.
_INITIAL_ACCUMULATOR = 1e-5


class CompositeOptimizer(tfrs.experimental.optimizers.CompositeOptimizer):
    """TFRS' optimizer, whose update is an operation as any optimizer's is, so that loss scaling can leave it out.

    Args:
        parts: pairs of an optimizer and a function that returns its variables, no variable twice.
    """

    def __init__(self, parts: Sequence[tuple[keras.optimizers.legacy.Optimizer, Callable[[], list[tf.Variable]]]]):
        super().__init__(parts)
        self._parts = parts

    def apply_gradients(
        self,
        grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> tf.Operation:
        """Updates every variable by its own optimizer."""
        gradients = {variable.ref(): gradient for gradient, variable in grads_and_vars}
        for optimizer, variables in self._parts:
            own = [(gradients[variable.ref()], variable) for variable in variables() if variable.ref() in gradients]
            if own:
                update = apply_gradients(optimizer, own, name, experimental_aggregate_gradients)
        # TensorFlow runs all of them; this is one that all replicas have in common.
        return update

    def _aggregate_gradients(
        self, grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]]
    ) -> list[tuple[tf.Tensor, tf.Variable]]:
        # What loss scaling calls before `apply_gradients`; a sum is traced only where one is needed, as there.
        return super()._aggregate_gradients(grads_and_vars) if tf.distribute.has_strategy() else list(grads_and_vars)


def composite_optimizer(model: CrossDistilModel, settings: Training) -> keras.optimizers.legacy.Optimizer:
    """Adagrad for the embedding tables, Adam for everything dense; with loss scaling where float16 needs it.

    Both are the legacy kind: they touch only the rows of a table that a batch looked up. Any Adam over the tables would
    touch every row at every step. A step whose gradients are not finite at the loss scale is skipped, and the scale halved.
    """
    optimizer = CompositeOptimizer(
        [
            (
                keras.optimizers.legacy.Adagrad(settings.embedding_learning_rate, _INITIAL_ACCUMULATOR),
                lambda: model.embedding_variables,
            ),
            (keras.optimizers.legacy.Adam(settings.learning_rate), lambda: model.dense_variables),
        ]
    )
    return keras.mixed_precision.LossScaleOptimizer(optimizer) if settings.precision == "mixed_float16" else optimizer
