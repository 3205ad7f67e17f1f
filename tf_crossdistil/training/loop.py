# SPDX-License-Identifier: Apache-2.0
"""The way through the epochs of a run: steps, validation, checkpoints, early stopping."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from tf_crossdistil.config import EarlyStopping, Experiment
from tf_crossdistil.config.training import DIRECTIONS
from tf_crossdistil.data.input_watch import InputWatch, WatchedBatches
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.metrics.summary import format_amount, format_value, mean_metric, summarize
from tf_crossdistil.models.checkpoint_files import Position
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.models.run import Run, build
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.checkpoints import Checkpoints, TrainingState
from tf_crossdistil.training.divergence import DivergedError, fault_in_losses, fault_in_weights
from tf_crossdistil.training.interruption import Interrupted, Interruption, Terminated
from tf_crossdistil.training.optimizers import composite_optimizer
from tf_crossdistil.training.pretrained import assign_pretrained
from tf_crossdistil.training.progress import EpochProgress
from tf_crossdistil.training.scalars import Scalars
from tf_crossdistil.training.strategies.base import Strategy
from tf_crossdistil.training.warm_start import warm_start

# After how many steps and validation batches the workers of a job ask each other whether one of them was told to stop.
_AGREE_EVERY = 20
# How a metric with a unit is shown.
_FORMATS = {"mse": format_amount}


class TrainingLoop:
    """One run in this process: its objects, and the way through its epochs.

    Args:
        run: where everything is kept.
        experiment: the configuration; epochs, early stopping, checkpoints and strategy may differ from the run's.
        data: what is trained on.
        console: where progress is shown.
        strategy: where steps run.
        interruption: what signals came.
        watched_split: what is measured beside the validation split; None for nothing.
    """

    def __init__(
        self,
        run: Run,
        experiment: Experiment,
        data: PreparedData,
        console: Console,
        strategy: Strategy,
        interruption: Interruption,
        watched_split: str | None = None,
    ):
        self._run, self._experiment, self._data, self._console = run, experiment, data, console
        self._strategy, self._interruption = strategy, interruption
        self._settings = experiment.training
        watched = [watched_split] if watched_split is not None and data.rows(watched_split) else []
        self._measured_splits = list(dict.fromkeys(["validation", *watched]))
        self._stopping = self._settings.early_stopping or EarlyStopping()
        self._label = f"{experiment.name} {experiment.method_name}"
        self._occasions = 0
        self._state = TrainingState()
        with strategy.scope():
            self._model = CrossDistilModel(experiment, data.metadata, self._settings.precision, self._settings.xla)
            build(self._model, experiment)
            self._model.compile(optimizer=composite_optimizer(self._model, self._settings))
            self._checkpoints = Checkpoints(run, self._model, self._state, strategy, self._settings.checkpoints.keep)
        self._predictor = SplitPredictor(self._model, experiment)
        with_strata = self._model.method.teachers == "ranking"
        self._watch = InputWatch() if strategy.watches_input else None
        if self._watch is not None:
            self._batches: TrainingBatches = WatchedBatches(data, experiment, with_strata, strategy.replicas, self._watch)
        else:
            self._batches = TrainingBatches(data, experiment, with_strata, strategy.replicas)
        self._scalars = Scalars(run.directory / "tensorboard", strategy.is_chief)

    def start(self, former: Run | None) -> None:
        """Sets what a run starts with; `former` is one to take it from."""
        regressions = self._experiment.regression_names
        if regressions and self._model.method.teachers != "none":
            self._print(
                f"{', '.join(regressions)}: of kind regression, and trained on labels only; distillation.method "
                f"{self._experiment.distillation.method} is for binary tasks"
            )
        for task, share in self._settings.label_exchange.items():
            self._print(
                f"training.label_exchange: {share:.0%} of the positive training rows of '{task}', and as many negative ones, "
                "are trained on with the other label"
            )
        for line in assign_pretrained(self._model.network, self._experiment, self._data):
            self._print(line)
        if former is not None:
            for line in warm_start(self._model, former, self._data):
                self._print(line)

    def restore(self, position: Position, checkpoint: Path) -> None:
        """Goes on from a checkpoint, which is that of the position."""
        if position.step == self._batches.steps:
            # The next checkpoint comes without a step before it, which would create what is missing.
            self._strategy.create_optimizer_variables(self._model)
        for warning in self._checkpoints.restore(checkpoint):
            self._print(warning)
        self._write_history()
        step = f", step {position.step:,} of {self._batches.steps:,} of the next" if position.step else ""
        self._print(f"resuming after epoch {position.epochs}{step}")
        if self._is_finished():
            self._print(f"nothing to do: the run ended with epoch {position.epochs}")

    def run_epochs(self, after_epoch: Callable[[dict[str, Any]], None] | None) -> None:
        """Trains to the last epoch, or to where early stopping ends it."""
        with self._scalars:
            while not self._is_finished():
                self._train_epoch()
                entry = self._finish_epoch()
                if after_epoch is not None:
                    after_epoch(entry)
                if not self._is_finished():
                    self._stop_if_asked()
        if self._state.best_epoch:
            self._print(
                f"best validation {_shown(self._stopping.metric, self._best_value)} in epoch {self._state.best_epoch}; "
                f"run kept in {self._run.directory}"
            )

    @property
    def _epoch(self) -> int:
        return len(self._state.history) + 1

    @property
    def _best_value(self) -> float | None:
        value: float | None = self._state.history[self._state.best_epoch - 1][f"validation_{self._stopping.metric}"]
        return value

    def _is_finished(self) -> bool:
        epochs = len(self._state.history)
        best = self._state.best_epoch
        stale = self._settings.early_stopping is not None and epochs - best >= self._stopping.patience
        return epochs >= self._settings.epochs or (best > 0 and stale)

    def _train_epoch(self) -> None:
        state, steps = self._state, self._batches.steps
        if state.step == steps:
            return
        before, label = state.seconds, f"{self._label} epoch {self._epoch}"
        with EpochProgress(self._console, label, steps, state.step, self._batches.batch_size) as progress:

            def after_step(step: int, losses: dict[str, float]) -> None:
                progress.after_step(step, losses)
                passed = step - state.step
                state.step, state.losses, state.seconds = step, losses, before + progress.seconds
                self._after_steps(passed, progress.rows_per_second)

            self._strategy.fit(self._model, self._batches, self._epoch, state.step, after_step)

    def _after_steps(self, passed: int, rows_per_second: float) -> None:
        """Whatever is due after `passed` further steps, nearly always one."""
        self._interruption.defer()
        self._check_fault(fault_in_losses(self._state.losses))
        total = len(self._state.history) * self._batches.steps + self._state.step
        self._scalars.add_step(total, passed, self._state.losses, rows_per_second)
        if self._watch is not None and (waiting := self._watch.after_step()) is not None:
            self._print(
                f"warning: the input, not the model, sets the pace: training waits for it {waiting:.0%} of the time; more CPU "
                "cores or a faster disk would help"
            )
        self._stop_if_due()
        every = self._settings.checkpoints.every_steps
        if total // every > (total - passed) // every:
            self._save()

    def _check_fault(self, fault: str | None) -> None:
        if fault is not None:
            raise DivergedError(
                f"{fault} in epoch {self._epoch}, step {self._state.step:,} of {self._batches.steps:,}",
                self._checkpoints.newest,
            )

    def _stop_if_due(self) -> None:
        """After a step or a validation batch: looks for signals, where all workers must agree only now and then."""
        # Not counted from an epoch's beginning: a short one would never come to it.
        self._occasions += 1
        if self._strategy.acts_alone or self._occasions % _AGREE_EVERY == 0:
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._strategy.agree(self._interruption.is_asked):
            self._stop()

    def _stop(self) -> NoReturn:
        """Saves, and ends the process."""
        if self._checkpoints.newest_position != self._state.position:
            self._save()
        raise self._interruption.error(
            f" in epoch {self._epoch} after step {self._state.step:,} of {self._batches.steps:,}, and saved"
        )

    def _save(self) -> None:
        self._check_fault(fault_in_weights(self._model))
        self._checkpoints.save()

    def _finish_epoch(self) -> dict[str, Any]:
        """Validates, and keeps what came of the epoch."""
        state = self._state
        entry: dict[str, Any] = {"epoch": self._epoch, "seconds": state.seconds}
        entry["rows_per_second"] = self._batches.steps * self._batches.batch_size / state.seconds
        entry |= {name if name == "loss" else f"loss/{name}": value for name, value in state.losses.items()}
        # Metrics of such weights would be an error of their own.
        self._check_fault(fault_in_weights(self._model))
        entry |= self._validate()
        improves = self._improves(entry[f"validation_{self._stopping.metric}"])
        state.history.append(entry)
        state.begin_epoch()
        if improves:
            state.best_epoch = entry["epoch"]
        self._checkpoints.save()
        if improves:
            self._checkpoints.keep_as_best(state.position)
        self._write_history()
        self._scalars.add_epoch(entry)
        means = {metric: f"validation_{metric}" for metric in DIRECTIONS if f"validation_{metric}" in entry}
        validation = "  ".join(_shown(metric, entry[name]) for metric, name in means.items())
        self._print(
            f"{self._label} epoch {entry['epoch']}/{self._settings.epochs}  loss {format_value(entry['loss'])}  "
            f"validation {validation}  {entry['rows_per_second']:,.0f} rows/s"
        )
        # Only a first epoch becomes the best without a value, so that this is said once.
        if improves and self._best_value is None:
            self._print(
                f"warning: validation {self._stopping.metric}, by which the best epoch is chosen, is undefined; until an epoch "
                "has one, epoch 1 is kept as the best"
            )
        return entry

    def _improves(self, value: float | None) -> bool:
        """Whether an epoch with that validation metric is the best so far; the first epoch always is."""
        if not self._state.best_epoch:
            return True
        best = self._best_value
        if value is None or best is None:
            return value is not None
        return value > best if self._stopping.larger_is_better else value < best

    def _validate(self) -> dict[str, float | None]:
        if not self._strategy.acts_alone:
            return self._measurements()
        try:
            # It may take minutes and changes nothing.
            with self._interruption.at_once():
                return self._measurements()
        except (Interrupted, Terminated):
            self._stop()

    def _measurements(self) -> dict[str, float | None]:
        return {name: value for split in self._measured_splits for name, value in self._measure(split).items()}

    def _measure(self, split: str) -> dict[str, float | None]:
        # What is reachable at best does not change from epoch to epoch, and takes longer than everything else.
        predictions = replace(self._predictor(self._data, split, lambda rows: self._stop_if_due()), truth=None)
        summary = summarize(self._experiment, predictions, split)
        defined = [metric for metric in DIRECTIONS if any(metric in metrics for metrics in summary["tasks"].values())]
        entry = {f"{split}_{metric}": mean_metric(summary, metric) for metric in defined}
        for task, metrics in summary["tasks"].items():
            entry |= {f"{split}_{task}_{metric}": metrics[metric] for metric in defined if metric in metrics}
        return entry

    def _write_history(self) -> None:
        # Only a view of what the checkpoints hold.
        if self._strategy.is_chief:
            self._run.write_history(self._state.history)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def _shown(metric: str, value: float | None) -> str:
    return f"{metric} {_FORMATS.get(metric, format_value)(value)}"
