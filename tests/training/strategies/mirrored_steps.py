# SPDX-License-Identifier: Apache-2.0
"""Trains some steps on one device and mirrored over two logical ones, and prints how far apart they end, as JSON.

Logical devices must be there before anything is computed, hence a process of its own.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import load_config
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.determinism import make_deterministic
from tf_crossdistil.training.optimizers import composite_optimizer
from tf_crossdistil.training.strategies.registry import find_strategy

FIRST_STEP = 3
SETTINGS = ["model.dropout=0", "training.batch_size=144", "training.strata_batch_size=16"]


def trained(experiment: Experiment, data: PreparedData) -> tuple[dict[str, list[np.ndarray]], list[dict[str, float]]]:
    """All variables by what they belong to, and the losses after each step."""
    strategy = find_strategy(experiment)
    make_deterministic(0)
    with strategy.scope():
        model = CrossDistilModel(experiment, data.metadata)
        build(model, experiment)
        model.compile(optimizer=composite_optimizer(model, experiment.training))
    batches = TrainingBatches(data, experiment, True, strategy.replicas)
    losses: list[dict[str, float]] = []
    strategy.fit(model, batches, 1, FIRST_STEP, lambda step, logs: losses.append(logs | {"step": step}))
    calibration = model.calibration
    variables = {
        "weights": model.network.get_weights(),
        "slots": [variable.numpy() for variable in model.optimizer.weights],
        "calibration": [variable.numpy() for variable in calibration.calibrator.trainable_variables],
        "calibration slots": [variable.numpy() for variable in calibration.optimizer.weights],
    }
    return variables, losses


def compare(config: Path, data: PreparedData, backbone: str) -> dict:
    settings = [*SETTINGS, f"model.backbone={backbone}"]
    one, one_losses = trained(load_config(config, settings), data)
    two, two_losses = trained(load_config(config, [*settings, "training.strategy=mirrored"]), data)
    far = {
        kind: max(float(np.max(np.abs(a - b) / (1 + np.abs(a)))) for a, b in zip(one[kind], two[kind], strict=True))
        for kind in one
    }
    far["losses"] = max(abs(a[name] - b[name]) for a, b in zip(one_losses, two_losses, strict=True) for name in a)
    return {
        "far": far,
        "steps": [logs["step"] for logs in two_losses],
        "losses": sorted(two_losses[-1]),
        "loss": two_losses[-1],
    }


def refused(config: Path, setting: str) -> str:
    try:
        find_strategy(load_config(config, ["training.strategy=mirrored", setting]))
    except UsageError as error:
        return str(error)
    return ""


def main() -> None:
    config, data, backbones = Path(sys.argv[1]), PreparedData.open(Path(sys.argv[2])), sys.argv[3].split(",")
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    result = {
        "devices": find_strategy(load_config(config, ["training.strategy=mirrored", "training.strata_batch_size=16"])).replicas,
        "refused": [refused(config, setting) for setting in ("training.batch_size=145", "training.strata_batch_size=24")],
        "backbones": {backbone: compare(config, data, backbone) for backbone in backbones},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
