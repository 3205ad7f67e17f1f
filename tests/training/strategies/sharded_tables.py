# SPDX-License-Identifier: Apache-2.0
"""Trains a model under two parameter servers, all in this process, and prints what came of it as JSON."""

import json
import os
import sys
from pathlib import Path

import tensorflow as tf

from tests.training.strategies.local_cluster import free_ports
from tf_crossdistil.config_file import load_config
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.optimizers import composite_optimizer
from tf_crossdistil.training.strategies.registry import find_strategy


def main() -> None:
    chief, worker, *servers = [f"127.0.0.1:{port}" for port in free_ports(4)]
    cluster = {"chief": [chief], "worker": [worker], "ps": servers}
    started = [tf.distribute.Server(cluster, *task) for task in (("worker", 0), ("ps", 0), ("ps", 1))]
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}})
    experiment = load_config(Path(sys.argv[1]), ["training.strategy=parameter_server"])
    data = PreparedData.open(Path(sys.argv[2]))
    strategy = find_strategy(experiment)
    with strategy.scope():
        model = CrossDistilModel(experiment, data.metadata)
        build(model, experiment)
        model.compile(optimizer=composite_optimizer(model, experiment.training))
    strategy.create_optimizer_variables(model)
    before = [variable.numpy() for variable in model.optimizer.weights]
    steps: list[int] = []
    strategy.fit(model, TrainingBatches(data, experiment, True), 1, 1, lambda step, losses: steps.append(step))
    result = {
        "steps": steps,
        "iterations": int(model.optimizer.iterations),
        "slots": [len(before), len(model.optimizer.weights)],
        "tables": [[variable.shape.as_list(), variable.device[-30:]] for variable in model.embedding_variables],
        "calibration": [variable.shape.as_list() for variable in model.calibration.calibrator.trainable_variables],
    }
    print(json.dumps(result), flush=True)
    # Servers in the process of their coordinator do not end in order.
    os._exit(0 if started else 1)


if __name__ == "__main__":
    main()
