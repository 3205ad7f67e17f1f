"""Training: what is checked first, where a run begins, and how it ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras
from rich.console import Console

from tf_crossdistil.config import Experiment
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import PreparedData, check_same_schema
from tf_crossdistil.training.checkpoints import newest_intact
from tf_crossdistil.training.checks import check_trainable
from tf_crossdistil.training.divergence import DivergedError
from tf_crossdistil.training.interruption import Interruption, Terminated
from tf_crossdistil.training.loop import TrainingLoop
from tf_crossdistil.training.pretrained import check_pretrained
from tf_crossdistil.training.reasons import reason_of
from tf_crossdistil.training.strategies.base import Strategy
from tf_crossdistil.training.strategies.registry import find_strategy
from tf_crossdistil.training.warm_start import check_warm_start

__all__ = ["DivergedError", "train"]


def train(
    experiment: Experiment,
    data: PreparedData,
    directory: Path,
    console: Console,
    resume: bool = False,
    warm_start: Run | None = None,
    after_epoch: Callable[[dict[str, Any]], None] | None = None,
    strategy: Strategy | None = None,
) -> Run:
    """Trains a model and keeps everything about it in a run directory.

    Every random number depends on the seed and the step only, so that a resumed run ends as an undisturbed one would.

    Args:
        experiment: the configuration.
        data: a prepared data set of that configuration.
        directory: the run directory.
        console: where progress is shown.
        resume: go on from the newest checkpoint; without one, start from the beginning.
        warm_start: a former run to start from.
        after_epoch: called with each finished epoch's entry of the history; may raise to stop.
        strategy: that of the configuration, where it had to be made before TensorFlow computed anything; default a new one.

    Raises:
        UsageError: the directory is not empty, or, with `resume`, was started with another configuration.
        CrossDistilError: the data was prepared with another configuration, training broke down, or all checkpoints are damaged.
        Interrupted: Ctrl-C came; everything is saved.
        Terminated: SIGTERM came, or another process of the job is gone; what is saved can be resumed.
    """
    with Interruption() as interruption:
        keras.utils.set_random_seed(experiment.training.seed)
        # TensorFlow's graph optimizer orders sums by the layers' names, which Keras would go on numbering in this process.
        keras.backend.reset_uids()
        # Otherwise threads sum the gradients of an embedding's row in any order.
        tf.config.experimental.enable_op_determinism()
        strategy = strategy or find_strategy(experiment)
        if not strategy.is_chief:
            console = Console(quiet=True)
        check_trainable(experiment, data)
        run = _open_run(experiment, data, directory, console, resume, warm_start, strategy)
        position, checkpoint, warnings = newest_intact(run)
        for warning in warnings:
            console.print(warning, highlight=False, soft_wrap=True)
        try:
            loop = TrainingLoop(run, experiment, data, console, strategy, interruption)
            if checkpoint is None:
                loop.start(warm_start)
                # Not before: what has failed until here leaves nothing behind.
                if strategy.is_chief and Run.can_start(directory):
                    Run.create(directory, experiment, data)
            else:
                loop.restore(position, checkpoint)
            loop.run_epochs(after_epoch)
        except strategy.lost_peer_errors as error:
            raise Terminated(
                f"another process of this job is gone ({reason_of(error)}); restart this one, with --resume, and it goes on "
                "with the others"
            ) from error
    return run


def _open_run(
    experiment: Experiment,
    data: PreparedData,
    directory: Path,
    console: Console,
    resume: bool,
    former: Run | None,
    strategy: Strategy,
) -> Run:
    """The run that is resumed, or one that can be created."""
    if resume and not Run.can_start(directory):
        if not strategy.is_chief:
            return Run(directory, experiment, data.metadata)
        run = Run.open(directory)
        run.check_resumable(experiment, data.metadata)
        check_same_schema(run.metadata, data.metadata)
        return run
    Run.check_can_start(directory)
    if resume:
        console.print(f"{directory} holds no run to resume; starting from the beginning", highlight=False, soft_wrap=True)
    check_pretrained(experiment, data)
    if former is not None:
        check_warm_start(former, experiment, data)
    return Run(directory, experiment, data.metadata)
