# SPDX-License-Identifier: Apache-2.0
"""Single training steps, timed; in a process of its own they wait for their turn.

python -m benchmarks.training_steps PREPARED TABLE_ROWS METHOD
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from benchmarks.training_data import training_experiment
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.determinism import make_deterministic
from tf_crossdistil.training.optimizers import composite_optimizer

_WARM_UP_STEPS = 5


def trainable(experiment: Experiment, data: PreparedData) -> CrossDistilModel:
    """A model as `crossdistil train` makes it, deterministic and with its optimizer."""
    make_deterministic(experiment.training.seed)
    model = CrossDistilModel(experiment, data.metadata)
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, experiment.training))
    return model


class Steps:
    """The steps of one model over batches that are in memory already.

    Args:
        experiment: the configuration.
        data: prepared by it, but for the method.
        count: how many different batches are held; steps go round them.
    """

    def __init__(self, experiment: Experiment, data: PreparedData, count: int):
        self.model = trainable(experiment, data)
        batches = TrainingBatches(data, experiment, with_strata=self.model.method.teachers == "ranking")
        self._batches = list(batches.epoch(1).take(count))
        self._step = tf.function(self.model.train_step, autograph=False)
        self._done = 0
        for _ in range(_WARM_UP_STEPS):
            self.seconds()

    def seconds(self) -> float:
        """Takes a step and the time that it takes."""
        batch = self._batches[self._done % len(self._batches)]
        self._done += 1
        start = time.perf_counter()
        losses = self._step(batch)
        # Reading a value waits for the step.
        float(losses["loss"])
        return time.perf_counter() - start

    @property
    def table_bytes(self) -> int:
        """The memory of the embedding tables alone."""
        return sum(4 * variable.shape.num_elements() for variable in self.model.embedding_variables)


def serve(steps: Steps, questions: Iterable[str], per_turn: int) -> None:
    """Answers each line: `steps` with the seconds of some steps, `memory` with that of the process and of the tables."""

    def memory() -> dict[str, int]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"peak_bytes": peak, "table_bytes": steps.table_bytes}

    answers = {"steps": lambda: [steps.seconds() for _ in range(per_turn)], "memory": memory}
    for question in questions:
        print("answer", json.dumps(answers[question.strip()]()), flush=True)


def main() -> None:
    """Serves turns until the input ends."""
    parser = argparse.ArgumentParser(description="Training steps by turns, one for every line of the input.")
    parser.add_argument("prepared", type=Path)
    parser.add_argument("table_rows", type=int)
    parser.add_argument("method")
    parser.add_argument("--batches", type=int, default=40, help="different batches (default 40)")
    parser.add_argument("--per-turn", type=int, default=5, help="steps a turn (default 5)")
    arguments = parser.parse_args()
    experiment = training_experiment(arguments.table_rows, arguments.method)
    steps = Steps(experiment, PreparedData.open(arguments.prepared), arguments.batches)
    serve(steps, sys.stdin, arguments.per_turn)


if __name__ == "__main__":
    main()
