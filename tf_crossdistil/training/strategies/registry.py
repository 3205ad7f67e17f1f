# SPDX-License-Identifier: Apache-2.0
"""The strategies by the value of `training.strategy`."""

from tf_crossdistil.config import Experiment
from tf_crossdistil.plugins import find_plugin
from tf_crossdistil.training.strategies.base import Strategy
from tf_crossdistil.training.strategies.mirrored import Mirrored
from tf_crossdistil.training.strategies.multi_worker import MultiWorker
from tf_crossdistil.training.strategies.one_device import OneDevice
from tf_crossdistil.training.strategies.parameter_server import ParameterServer

STRATEGIES: dict[str, type[Strategy]] = {
    "none": OneDevice,
    "mirrored": Mirrored,
    "multi_worker": MultiWorker,
    "parameter_server": ParameterServer,
}


def find_strategy(experiment: Experiment) -> Strategy:
    """The strategy that a configuration names, for this process.

    Raises:
        UsageError: it cannot be used here.
    """
    return find_plugin("training.strategy", experiment.training.strategy, STRATEGIES)(experiment)
