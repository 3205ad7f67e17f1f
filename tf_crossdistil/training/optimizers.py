"""Optimizers whose step costs the same whatever the vocabulary's size."""

import tensorflow_recommenders as tfrs
import tf_keras as keras

from tf_crossdistil.config import Training
from tf_crossdistil.models.crossdistil import CrossDistilModel

# Gradients of a mean over thousands of rows are tiny. Beside Keras' 0.1 their squares would never show in the accumulators, and
# Adagrad would be gradient descent whose step depends on the batch size.
_INITIAL_ACCUMULATOR = 1e-5


def composite_optimizer(model: CrossDistilModel, settings: Training) -> tfrs.experimental.optimizers.CompositeOptimizer:
    """Adagrad for the embedding tables, Adam for everything dense.

    Both are the legacy kind: they touch only the rows of a table that a batch looked up. Any Adam over the tables would
    touch every row at every step.
    """
    return tfrs.experimental.optimizers.CompositeOptimizer(
        [
            (
                keras.optimizers.legacy.Adagrad(settings.embedding_learning_rate, _INITIAL_ACCUMULATOR),
                lambda: model.embedding_variables,
            ),
            (keras.optimizers.legacy.Adam(settings.learning_rate), lambda: model.dense_variables),
        ]
    )
