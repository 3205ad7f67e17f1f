# SPDX-License-Identifier: Apache-2.0
"""Our side of `benchmarks.train`: CrossDistil trained for one epoch from a prepared data set, as `crossdistil train` does.

python -m benchmarks.training_loop PREPARED TABLE_ROWS DIM
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.training_data import training_experiment
from benchmarks.training_peers.job import Answer, Stopwatch
from benchmarks.training_steps import trainable
from tf_crossdistil import __version__
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.input_watch import InputWatch, WatchedBatches
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.strategies.registry import find_strategy


def train(directory: Path, experiment: Experiment) -> Answer:
    """One epoch; the losses are those of the students on the validation split."""
    watch, strategy = Stopwatch(), find_strategy(experiment)
    with watch:
        data = PreparedData.open(directory)
    model = trainable(experiment, data)
    with watch:
        input_watch = InputWatch()
        batches = WatchedBatches(data, experiment, model.method.teachers == "ranking", strategy.replicas, input_watch)
    predict = SplitPredictor(model, experiment)

    def loss() -> float:
        predictions = predict(data, "validation")
        chances = np.where(predictions.labels == 1, predictions.students, 1 - predictions.students)
        return float(-np.log(np.clip(chances, 1e-7, None)).mean(axis=0).sum())

    def after_step(step: int, losses: dict[str, float]) -> None:
        input_watch.after_step()

    loss_before = loss()
    strategy.fit(model, batches, epoch=1, first_step=batches.steps - 1, after_step=after_step)
    with watch:
        strategy.fit(model, batches, epoch=2, first_step=0, after_step=after_step)
    examples = batches.steps * batches.batch_size
    version = f"tf_crossdistil {__version__}, tensorflow {tf.__version__}"
    return Answer(examples, watch.seconds, watch.cpu_seconds, model.network.count_params(), loss_before, loss(), version)


def main() -> None:
    """Prints an answer as the peers do."""
    parser = argparse.ArgumentParser(description="Our side of benchmarks.train.")
    parser.add_argument("prepared", type=Path)
    parser.add_argument("table_rows", type=int)
    parser.add_argument("dim", type=int)
    arguments = parser.parse_args()
    experiment = training_experiment(arguments.table_rows, dim=arguments.dim)
    train(arguments.prepared, experiment).print()


if __name__ == "__main__":
    main()
