# SPDX-License-Identifier: Apache-2.0
"""Asynchronous training: workers compute steps, parameter servers hold the variables, large tables in shards."""

import os
import signal
import threading
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NoReturn

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.training.strategies.base import AfterStep, Strategy
from tf_crossdistil.training.strategies.cluster import Cluster, read_cluster

# Steps between two looks at the losses; the workers wait for each other there.
_SEGMENT = 50
# Smaller variables stay whole, above all those of two numbers such as the calibration's.
_MIN_SHARD_BYTES = 256 << 10
_POLL_SECONDS = 0.5


class ParameterServer(Strategy):
    """The chief of TF_CONFIG's cluster hands steps to the workers; workers and parameter servers serve, and never return.

    A step takes a whole batch on one worker. Each worker goes through the epoch from another point on: where all are equally
    fast they see each row once.

    Args:
        experiment: the configuration.

    Raises:
        UsageError: TF_CONFIG is wrong.
        SystemExit: with 0, a worker or a parameter server that was asked to end by SIGTERM.
    """

    acts_alone = True

    def __init__(self, experiment: Experiment):
        super().__init__(experiment)
        cluster = read_cluster("parameter_server", required=["chief", "worker", "ps"])
        # A call to a task that is gone fails instead of waiting for ever.
        os.environ["GRPC_FAIL_FAST"] = "use_caller"
        if not cluster.is_chief:
            _serve(cluster)
        shards = tf.distribute.experimental.partitioners.MinSizePartitioner(_MIN_SHARD_BYTES, len(cluster.cluster["ps"]))
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        self._strategy = tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=shards)
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(self._strategy)
        self._workers = len(cluster.cluster["worker"])
        with self._strategy.scope():
            self._inputs = tf.Variable(0, dtype=tf.int64, trainable=False)

    def scope(self) -> AbstractContextManager[object]:
        """TensorFlow's scope."""
        return self._strategy.scope()

    def fit(
        self, model: CrossDistilModel, batches: TrainingBatches, epoch: int, first_step: int, after_step: AfterStep
    ) -> None:
        """Trains to the end of an epoch; `after_step` is called after some dozens of steps, when no worker is at work."""
        if not first_step:
            model.reset_metrics()

        def on_worker() -> tf.data.Dataset:
            # Only here is a worker told from another.
            number = (self._inputs.assign_add(1) - 1) % self._workers
            start = (first_step + number * batches.steps // self._workers) % batches.steps
            return batches.epoch(epoch, start).concatenate(batches.epoch(epoch).repeat())

        @tf.function
        def step(iterator: tf.data.Iterator) -> None:
            self._strategy.run(model.train_step, args=(next(iterator),))

        iterators = iter(self._coordinator.create_per_worker_dataset(on_worker))
        for done in range(first_step, batches.steps, _SEGMENT):
            last = min(done + _SEGMENT, batches.steps)
            for _ in range(done, last):
                self._coordinator.schedule(step, args=(iterators,))
            self._coordinator.join()
            after_step(last, {metric.name: float(metric.result()) for metric in model.metrics})

    def create_optimizer_variables(self, model: CrossDistilModel) -> None:
        """Creates them by a step without gradients on a worker."""
        self._coordinator.schedule(tf.function(partial(super().create_optimizer_variables, model)))
        self._coordinator.join()

    def agree(self, flag: bool) -> bool:
        """The flag itself, the chief's."""
        return flag

    def checkpoint_directory(self, path: Path) -> Path:
        """The path itself."""
        return path


def _serve(cluster: Cluster) -> NoReturn:
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    server = tf.distribute.Server(cluster.cluster, cluster.task.type, cluster.task.index, protocol="grpc")
    # The server's own `join` never ends, and a signal that one of its threads gets would not wake a longer wait.
    while not asked.wait(_POLL_SECONDS):
        pass
    del server
    raise SystemExit(0)
