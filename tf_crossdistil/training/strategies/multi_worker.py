# SPDX-License-Identifier: Apache-2.0
"""Training on all devices of several hosts in step."""

import tempfile
from functools import cache
from pathlib import Path

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import UsageError
from tf_crossdistil.training.strategies.cluster import read_cluster
from tf_crossdistil.training.strategies.synchronous import Synchronous


class MultiWorker(Synchronous):
    """Every worker of TF_CONFIG's cluster, with the same command; it begins when all of them are there.

    Args:
        experiment: the configuration.

    Raises:
        UsageError: TF_CONFIG is wrong, TensorFlow has computed already, or the replicas cannot divide a batch.
    """

    def __init__(self, experiment: Experiment):
        cluster = read_cluster("multi_worker", required=["worker"], optional=["chief"])
        try:
            strategy = _all_workers()
        except RuntimeError as error:
            raise UsageError(
                "training.strategy: multi_worker must begin before TensorFlow computes anything; start it by "
                f"`crossdistil train`: {error}"
            ) from error
        super().__init__(experiment, strategy)
        self.is_chief = cluster.is_chief
        # Saving is work of all workers, since they add up what each has counted.
        self._aside = None if self.is_chief else tempfile.TemporaryDirectory()

    def agree(self, flag: bool) -> bool:
        """Whether any worker's flag is set."""
        flags = self._strategy.run(lambda: tf.constant(float(flag)))
        return bool(self._strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None) > 0)

    def checkpoint_directory(self, path: Path) -> Path:
        """The path itself for the chief; for others one in a temporary folder, which goes with the process."""
        return path if self._aside is None else Path(self._aside.name, path.name)


@cache
def _all_workers() -> tf.distribute.MultiWorkerMirroredStrategy:
    # One for all trainings of a process: workers meet once.
    return tf.distribute.MultiWorkerMirroredStrategy()
