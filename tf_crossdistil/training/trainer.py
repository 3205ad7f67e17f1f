"""The training loop: epochs, validation, checkpoints, early stopping."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras
from rich.console import Console

from tf_crossdistil.calibrators.registry import find_calibrator
from tf_crossdistil.config import EarlyStopping, Experiment
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.losses.student_losses import find_student_loss
from tf_crossdistil.metrics.summary import format_value, mean_metric, summarize
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.models.ranking_network import check_network
from tf_crossdistil.models.run import Run, build, restore, weights_checkpoint
from tf_crossdistil.schema import PreparedData, check_config_matches, check_same_schema
from tf_crossdistil.training.optimizers import composite_optimizer
from tf_crossdistil.training.pretrained import assign_pretrained, check_pretrained
from tf_crossdistil.training.progress import EpochProgress

# Whether a larger value of a metric is better.
_LARGER_IS_BETTER = {"auc": True, "multi_auc": True, "log_loss": False}
VALIDATION_METRICS = tuple(_LARGER_IS_BETTER)


def train(experiment: Experiment, data: PreparedData, directory: Path, console: Console, resume: bool = False) -> Run:
    """Trains a model and keeps everything about it in a run directory.

    Every random number depends on the seed and the epoch only, so that a resumed run ends as an undisturbed one would.

    Args:
        experiment: the configuration.
        data: a prepared data set of that configuration.
        directory: the run directory.
        console: where progress is shown.
        resume: go on after the last finished epoch.

    Raises:
        UsageError: the directory is not empty, or, with `resume`, was started with another configuration.
        CrossDistilError: the data was prepared with another configuration, or training broke down.
    """
    check_config_matches(experiment, data.metadata)
    if not data.rows("validation"):
        raise CrossDistilError(
            "the data has no validation rows, which choose the best epoch; check 'split' in its configuration"
        )
    # Names that do not exist are told before anything is written.
    check_network(experiment, data.metadata)
    method_of(experiment)
    find_calibrator(experiment.distillation.calibration)
    find_student_loss(experiment.training.loss)
    if resume:
        run = Run.open(directory)
        run.check_resumable(experiment)
        check_same_schema(run.metadata, data.metadata)
    else:
        check_pretrained(experiment, data)
        run = Run.create(directory, experiment, data)
    return _Training(run, experiment, data, console).run_epochs()


@dataclass(frozen=True)
class _Best:
    """The best validation metric so far and when it was reached; epoch 0 before the first, None where it is undefined."""

    value: float | None = None
    epoch: int = 0

    def improves(self, value: float | None, larger_is_better: bool) -> bool:
        """Whether a later epoch's value is better; the first epoch always is."""
        if value is None or self.value is None:
            return self.epoch == 0 or value is not None
        return value > self.value if larger_is_better else value < self.value


class _Training:
    def __init__(self, run: Run, experiment: Experiment, data: PreparedData, console: Console):
        self._run, self._experiment, self._data, self._console = run, experiment, data, console
        keras.utils.set_random_seed(experiment.training.seed)
        # TensorFlow's graph optimizer orders sums by the layers' names, which Keras would go on numbering in this process.
        keras.backend.reset_uids()
        # Otherwise threads sum the gradients of an embedding's row in any order.
        tf.config.experimental.enable_op_determinism()
        self._model = CrossDistilModel(experiment, data.metadata)
        build(self._model, experiment)
        self._model.compile(optimizer=composite_optimizer(self._model, experiment.training))
        self._predictor = SplitPredictor(self._model, experiment)
        self._batches = TrainingBatches(data, experiment, with_strata=self._model.method.teachers == "ranking")
        resumable = tf.train.Checkpoint(
            network=self._model.network,
            calibration=self._model.calibration.calibrator,
            loss_weighting=self._model.loss_weighting,
            optimizer=self._model.optimizer,
            calibration_optimizer=self._model.calibration.optimizer,
        )
        self._last = tf.train.CheckpointManager(resumable, str(run.checkpoints / "last"), max_to_keep=2)
        self._best = tf.train.CheckpointManager(weights_checkpoint(self._model), str(run.checkpoints / "best"), max_to_keep=1)
        self._stopping = experiment.training.early_stopping
        self._metric = (self._stopping or EarlyStopping()).metric

    def run_epochs(self) -> Run:
        history = self._restore()
        if not history:
            for line in assign_pretrained(self._model.network, self._experiment, self._data):
                self._console.print(line, highlight=False, soft_wrap=True)
        best = self._best_of(history)
        while len(history) < self._experiment.training.epochs and not self._is_stale(best, len(history)):
            entry = self._run_epoch(len(history) + 1)
            history.append(entry)
            value = entry[f"validation_{self._metric}"]
            if best.improves(value, _LARGER_IS_BETTER[self._metric]):
                best = _Best(value, entry["epoch"])
                self._best.save(checkpoint_number=entry["epoch"])
            self._last.save(checkpoint_number=entry["epoch"])
            self._run.write_history(history)
        value = format_value(best.value)
        self._console.print(
            f"best validation {self._metric} {value} in epoch {best.epoch}; run kept in {self._run.directory}",
            highlight=False,
            soft_wrap=True,
        )
        return self._run

    def _restore(self) -> list[dict[str, Any]]:
        # The history is written after the checkpoint, so it can be one epoch short of the newest one, never ahead.
        history = self._run.history()
        if history:
            finished = [path for path in self._last.checkpoints if path.endswith(f"-{len(history)}")]
            if not finished:
                raise CrossDistilError(f"{self._run.checkpoints} lacks the checkpoint of epoch {len(history)}; train again")
            restore(self._last.checkpoint, finished[0])
            self._console.print(f"resuming after epoch {len(history)}", highlight=False)
        return history

    def _best_of(self, history: list[dict[str, Any]]) -> _Best:
        best = _Best()
        for entry in history:
            value = entry[f"validation_{self._metric}"]
            if best.improves(value, _LARGER_IS_BETTER[self._metric]):
                best = _Best(value, entry["epoch"])
        return best

    def _is_stale(self, best: _Best, epochs: int) -> bool:
        return self._stopping is not None and epochs > 0 and epochs - best.epoch >= max(self._stopping.patience, 1)

    def _run_epoch(self, epoch: int) -> dict[str, Any]:
        label = f"{self._experiment.name} {self._experiment.method_name}"
        with EpochProgress(self._console, label, epoch, self._batches.steps, self._batches.batch_size) as progress:
            fitted = self._model.fit(
                self._batches.epoch(epoch), epochs=1, steps_per_epoch=self._batches.steps, verbose=0, callbacks=[progress]
            )
        losses = {name: float(values[0]) for name, values in fitted.history.items()}
        _check_finite(losses, epoch)
        rows = self._batches.steps * self._batches.batch_size
        entry: dict[str, Any] = {"epoch": epoch, "seconds": progress.seconds, "rows_per_second": rows / progress.seconds}
        entry |= {name if name == "loss" else f"loss/{name}": value for name, value in losses.items()}
        entry |= self._validate()
        validation = "  ".join(f"{metric} {format_value(entry[f'validation_{metric}'])}" for metric in VALIDATION_METRICS)
        self._console.print(
            f"{label} epoch {epoch}/{self._experiment.training.epochs}  loss {entry['loss']:.4f}  validation {validation}  "
            f"{entry['rows_per_second']:,.0f} rows/s",
            highlight=False,
            soft_wrap=True,
        )
        return entry

    def _validate(self) -> dict[str, float | None]:
        # What is reachable at best does not change from epoch to epoch, and takes longer than everything else.
        predictions = replace(self._predictor(self._data, "validation"), truth=None)
        summary = summarize(self._experiment, predictions, "validation")
        entry = {f"validation_{metric}": mean_metric(summary, metric) for metric in VALIDATION_METRICS}
        for task, metrics in summary["tasks"].items():
            entry |= {f"validation_{task}_{metric}": metrics[metric] for metric in VALIDATION_METRICS}
        return entry


class DivergedError(CrossDistilError):
    """A loss became infinite or undefined, as it would again with the same seed.

    Args:
        fault: which, and when.
    """

    def __init__(self, fault: str):
        super().__init__(
            f"{fault}; lower training.learning_rate or training.embedding_learning_rate and train again, in another --run"
        )
        self.fault = fault


def _check_finite(losses: dict[str, float], epoch: int) -> None:
    # The sum is infinite whenever a part is, which says less.
    for name, value in sorted(losses.items(), key=lambda loss: loss[0] == "loss"):
        if not math.isfinite(value):
            raise DivergedError(f"the loss '{name}' became {value} in epoch {epoch}")
