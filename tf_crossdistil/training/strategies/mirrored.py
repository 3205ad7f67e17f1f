# SPDX-License-Identifier: Apache-2.0
"""Training on all devices of one host."""

import logging
from functools import cache
from pathlib import Path

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.training.strategies.synchronous import Synchronous

logger = logging.getLogger(__name__)


class Mirrored(Synchronous):
    """All GPUs of this host, or its CPU devices where it has none.

    Args:
        experiment: the configuration.

    Raises:
        UsageError: the devices cannot divide a batch.
    """

    acts_alone = True
    lost_peer_errors = ()

    def __init__(self, experiment: Experiment):
        super().__init__(experiment, _all_devices())
        if self.replicas == 1:
            logger.warning("training.strategy: mirrored finds only one device here, and trains as none would")

    def agree(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def checkpoint_directory(self, path: Path) -> Path:
        """The path itself."""
        return path


@cache
def _all_devices() -> tf.distribute.MirroredStrategy:
    # One for all trainings of a process: each would number its collective operations from the same start.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])
