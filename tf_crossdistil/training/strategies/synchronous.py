# SPDX-License-Identifier: Apache-2.0
"""What the strategies have in common under which every replica takes its part of every batch."""

from contextlib import AbstractContextManager

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.data.training_rows import Shard
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.training.strategies.base import AfterStep, Strategy, fit_elements

# Each replica's draws of a stratum are a multiple of it.
_DRAWS = 8


class Synchronous(Strategy):
    """Gradients are summed over all replicas at each step, so that they do what one device would with the whole batch.

    Args:
        experiment: the configuration.
        strategy: TensorFlow's.

    Raises:
        UsageError: the replicas cannot divide a batch.
    """

    watches_input = True

    def __init__(self, experiment: Experiment, strategy: tf.distribute.Strategy):
        super().__init__(experiment)
        self._strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        _check_divides(experiment, self.replicas)

    def scope(self) -> AbstractContextManager[object]:
        """TensorFlow's scope."""
        return self._strategy.scope()

    def fit(
        self, model: CrossDistilModel, batches: TrainingBatches, epoch: int, first_step: int, after_step: AfterStep
    ) -> None:
        """Trains to the end of an epoch; `after_step` is called after each step."""

        def parts(context: tf.distribute.InputContext) -> tf.data.Dataset:
            count = self.replicas // context.num_input_pipelines
            shard = Shard(self.replicas, context.input_pipeline_id * count, count)
            # Workers need not agree at each step whether an endless input goes on.
            return batches.epoch(epoch, first_step, shard).repeat()

        # All replicas know the same means; several workers would otherwise add them up.
        model.distribute_reduction_method = "first"
        elements = self._strategy.distribute_datasets_from_function(parts)
        fit_elements(model, elements, batches.steps, first_step, after_step)


def _check_divides(experiment: Experiment, replicas: int) -> None:
    settings = experiment.training
    divisors = {"batch_size": replicas, "strata_batch_size": replicas * _DRAWS if replicas > 1 else 1}
    for key, divisor in divisors.items():
        received = getattr(settings, key)
        if received % divisor:
            raise UsageError(
                f"training.{key} must be a multiple of {divisor}, since {replicas} replicas share a batch; received {received}"
            )
