# SPDX-License-Identifier: Apache-2.0
"""Training: what is checked first, where a run begins, and how it ends."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import PreparedData, check_same_schema
from tf_crossdistil.training.checkpoints import newest_intact
from tf_crossdistil.training.checks import check_trainable
from tf_crossdistil.training.determinism import make_deterministic
from tf_crossdistil.training.divergence import DivergedError
from tf_crossdistil.training.interruption import Interruption, Terminated
from tf_crossdistil.training.lock import only_training_in
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
    warm_start: Path | None = None,
    after_epoch: Callable[[dict[str, Any]], None] | None = None,
    strategy: Strategy | None = None,
    watched_split: str | None = None,
) -> Run:
    """Trains a model and keeps everything about it in a run directory.

    Every random number depends on the seed and the step only, so that a resumed run ends as an undisturbed one would.

    Args:
        experiment: the configuration.
        data: a prepared data set of that configuration.
        directory: the run directory.
        console: where progress is shown.
        resume: go on from the newest checkpoint; without one, start from the beginning.
        warm_start: the directory of a former run to start from; opened only where there is no checkpoint yet.
        after_epoch: called with each finished epoch's entry of the history; may raise to stop.
        strategy: that of the configuration, where it had to be made before TensorFlow computed anything; default a new one.
        watched_split: a split to measure after each epoch as the validation split is, for learning curves only: the history's
            entries get `test_log_loss`, `test_like_auc` and such. One without rows adds nothing.

    Raises:
        UsageError: the directory is not empty, or, with `resume`, was started with another configuration or warm start.
        CrossDistilError: the data was prepared with another configuration, training broke down, all checkpoints are damaged, or
            another training is at work in the directory.
        Interrupted: Ctrl-C came; everything is saved.
        Terminated: SIGTERM came, or another process of the job is gone; what is saved can be resumed.
    """
    with Interruption() as interruption, ExitStack() as held:
        strategy = strategy or find_strategy(experiment)
        make_deterministic(experiment.training.seed)
        if not strategy.is_chief:
            console = Console(quiet=True)
        check_trainable(experiment, data)
        is_new = not resume or Run.can_start(directory)
        run = _new_run(experiment, data, directory) if is_new else _started_run(experiment, data, directory, strategy)
        if strategy.is_chief and not is_new:
            held.enter_context(only_training_in(directory))
        position, checkpoint, lines = newest_intact(run)
        if checkpoint is None and resume:
            missing = "holds no run to resume" if is_new else "has no checkpoint yet"
            lines = [*lines, f"{directory} {missing}; starting from the beginning"]
        for line in lines:
            console.print(line, highlight=False, soft_wrap=True)
        former = None if checkpoint is not None else _former_run(run, warm_start, is_new, data)
        try:
            loop = TrainingLoop(run, experiment, data, console, strategy, interruption, watched_split)
            if checkpoint is None:
                loop.start(former)
                # Not before: what has failed until here leaves nothing behind.
                if strategy.is_chief and is_new:
                    Run.create(directory, experiment, data, warm_start)
                    held.enter_context(only_training_in(directory))
            else:
                loop.restore(position, checkpoint)
            loop.run_epochs(after_epoch)
        except strategy.lost_peer_errors as error:
            raise Terminated(
                f"another process of this job is gone ({reason_of(error)}); restart this one, with --resume, and it goes on "
                "with the others"
            ) from error
    return run


def _new_run(experiment: Experiment, data: PreparedData, directory: Path) -> Run:
    """A run that can be created."""
    Run.check_can_start(directory)
    check_pretrained(experiment, data)
    return Run(directory, experiment, data.metadata)


def _started_run(experiment: Experiment, data: PreparedData, directory: Path, strategy: Strategy) -> Run:
    """The run that is resumed."""
    if not strategy.is_chief:
        return Run(directory, experiment, data.metadata)
    run = Run.open(directory)
    run.check_resumable(experiment, data.metadata)
    check_same_schema(run.metadata, data.metadata)
    return run


def _former_run(run: Run, given: Path | None, is_new: bool, data: PreparedData) -> Run | None:
    """The run that one without a checkpoint starts from: where it was started before, the same as then."""
    directory = given if is_new else run.former
    if not is_new and given is not None and (directory is None or directory.resolve() != given.resolve()):
        started = "without --warm-start" if directory is None else f"with --warm-start {directory}"
        raise UsageError(f"{run.directory} was started {started}; resume it like that, or give another --run")
    if directory is None:
        return None
    try:
        former = Run.open(directory)
        check_warm_start(former, run.experiment, data)
    except CrossDistilError as error:
        if is_new:
            raise
        raise CrossDistilError(
            f"{run.directory} has no checkpoint yet and cannot start from {directory} again: {error}; restore that run, or "
            "train in another --run"
        ) from error
    return former
