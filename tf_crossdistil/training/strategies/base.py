# SPDX-License-Identifier: Apache-2.0
"""What spreads training over devices and hosts: the one interface between them and the training loop."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.gradients import apply_gradients

# Called with the number of finished steps of the epoch and the running means of all losses by name.
AfterStep = Callable[[int, dict[str, float]], None]


class Strategy(ABC):
    """Where the steps of a training run.

    Every worker of a job makes one, and trains with the same calls in the same order.

    Args:
        experiment: the configuration.

    Attributes:
        is_chief: whether this process prints, and writes history and TensorBoard logs.
        replicas: how many share the rows of a batch.
        acts_alone: whether this process may stop at any step; otherwise all workers must agree first.
        watches_input: whether this process reads the batches, so that it can measure if they come fast enough.
        lost_peer_errors: what TensorFlow raises when another process of the job is gone.
    """

    is_chief: bool = True
    replicas: int = 1
    acts_alone: bool = False
    watches_input: bool = False
    lost_peer_errors: tuple[type[Exception], ...] = (tf.errors.UnavailableError, tf.errors.AbortedError)

    def __init__(self, experiment: Experiment):
        self.experiment = experiment

    @abstractmethod
    def scope(self) -> AbstractContextManager[object]:
        """Within it model, optimizers and checkpoints are made."""

    @abstractmethod
    def fit(
        self, model: CrossDistilModel, batches: TrainingBatches, epoch: int, first_step: int, after_step: AfterStep
    ) -> None:
        """Trains to the end of an epoch.

        Args:
            model: compiled; the running means in its metrics are those of the epoch's first steps.
            batches: of the training split.
            epoch: from 1.
            first_step: how many steps of the epoch are done already.
            after_step: called after each step, or where a strategy cannot, after several; may raise to stop.
        """

    def create_optimizer_variables(self, model: CrossDistilModel) -> None:
        """Creates what optimizers otherwise create at their first step, before a checkpoint is restored into it."""

        tables = {table.ref() for table in model.embedding_variables}

        def apply_zeros() -> None:
            zeros = [(_zero_row(v) if v.ref() in tables else tf.zeros_like(v), v) for v in model.trainable_variables]
            model.optimizer.apply_gradients(zeros)
            if model.method.teachers != "none" and model.method.calibration:
                calibrated = model.calibration.calibrator.trainable_variables
                apply_gradients(model.calibration.optimizer, [(tf.zeros_like(v), v) for v in calibrated])

        with self.scope():
            tf.distribute.get_strategy().run(tf.function(apply_zeros, autograph=False))

    @abstractmethod
    def agree(self, flag: bool) -> bool:
        """Whether the flag of any worker is set; all workers ask at the same step."""

    @abstractmethod
    def checkpoint_directory(self, path: Path) -> Path:
        """Where this worker writes what belongs in `path`; only what the chief writes is kept."""


def _zero_row(table: tf.Variable) -> tf.IndexedSlices:
    """A gradient that changes nothing, for one of a table's rows: TensorFlow cannot gather none from all replicas."""
    return tf.IndexedSlices(tf.zeros([1, *table.shape[1:]]), tf.zeros([1], tf.int64), tf.shape(table, tf.int64))


def fit_elements(
    model: CrossDistilModel, elements: tf.data.Dataset, steps: int, first_step: int, after_step: AfterStep
) -> None:
    """Keras' `fit` on what is left of an epoch of `steps` steps, as `Strategy.fit` says it."""
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_slow_callback)
    try:
        model.fit(
            elements,
            epochs=1,
            steps_per_epoch=steps - first_step,
            verbose=0,
            callbacks=[_Steps(model.metrics, first_step, after_step)],
        )
    finally:
        logger.removeFilter(_is_no_slow_callback)


def _is_no_slow_callback(record: logging.LogRecord) -> bool:
    """Holds back Keras' warning of steps that take longer to write a checkpoint than to train."""
    return "is slow compared to the batch time" not in record.getMessage()


class _Steps(keras.callbacks.Callback):
    """Counts steps from `first_step`, and gives back the running means that `fit` resets when it begins."""

    def __init__(self, metrics: list[keras.metrics.Metric], first_step: int, after_step: AfterStep):
        super().__init__()
        self._first_step, self._after_step = first_step, after_step
        self._means = [(metric, metric.get_weights()) for metric in metrics] if first_step else []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for metric, weights in self._means:
            metric.set_weights(weights)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._after_step(self._first_step + batch + 1, {name: float(value) for name, value in (logs or {}).items()})
