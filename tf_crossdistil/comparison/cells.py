# SPDX-License-Identifier: Apache-2.0
"""A cell of a comparison: one method trained with one seed, kept on disk, so that it is never trained twice.

A cell's folder is a run directory with the metrics of each measured split beside it, `test.json`, written last; or with
`diverged.json`, where training broke down and would again. Beside the folder is its lock, `.seed=N.lock`, which a call that
trains or measures the cell holds.
"""

import gc
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tf_keras as keras
from rich.console import Console

from tf_crossdistil.comparison.settings import Setting
from tf_crossdistil.config import SPLITS, EarlyStopping, Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.evaluation.repeated_warnings import without_retracing_warnings
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.local_files import write_json
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.lock import holding
from tf_crossdistil.training.trainer import DivergedError, train


@dataclass(frozen=True)
class CellResult:
    """A trained and measured cell.

    Attributes:
        method: its name.
        seed: of everything random.
        setting: the tuned values.
        epochs: how many were trained, those after the best one included.
        seconds: that their training took, without validation.
        validation: the best validation value of `selection_metric`; None where it is undefined.
        summary: of `tf_crossdistil.metrics.summary.summarize`.
        history: one entry an epoch, as `Run.history` has it.
    """

    method: str
    seed: int
    setting: Setting
    epochs: int
    seconds: float
    validation: float | None
    summary: dict[str, Any]
    history: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """Its entry in `results.json`."""
        trained = {"set": self.setting.values, "epochs": self.epochs, "seconds": self.seconds, "validation": self.validation}
        return {"method": self.method, "seed": self.seed, **trained, **self.summary}


@dataclass(frozen=True)
class Cell:
    """What to train; `experiment` is that of the setting with this method and seed."""

    method: str
    seed: int
    setting: Setting
    experiment: Experiment
    directory: Path

    def __str__(self) -> str:
        return " ".join([self.method, *([str(self.setting)] if self.setting.values else []), f"seed {self.seed}"])

    def check_unchanged(self, data: PreparedData) -> None:
        """Refuses a folder with finished epochs of another configuration or other data.

        Raises:
            UsageError: it is of another configuration or other data.
        """
        if not self._has_epochs or self._divergence_file.is_file():
            return
        changed = self._changed(data)
        if changed is not None:
            raise UsageError(f"{self.directory} was trained with another {changed} than the one given; give another --out")

    def divergence(self, data: PreparedData) -> str | None:
        """How training with this configuration and data diverged before; None where it did not.

        Raises:
            CrossDistilError: what was kept of it is damaged.
        """
        if not self._divergence_file.is_file() or self._changed(data) is not None:
            return None
        return str(read_json(self._divergence_file)["error"])

    def is_finished(self, split: str) -> bool:
        """Whether the cell was trained and measured on the split."""
        return self._summary_file(split).is_file()

    def result(self, data: PreparedData, split: str, console: Console) -> CellResult:
        """Trains and measures what is not yet there.

        Args:
            data: what it is trained and measured on.
            split: the split to measure.
            console: where training shows its progress.

        Raises:
            CrossDistilError: training or evaluation failed, training diverged before, or another call is at work on the cell.
        """
        if self.is_finished(split):
            return self.kept_result(Run.open(self.directory), split)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        refusal = CrossDistilError("another call is at work on it; wait for it to end, and compare again")
        # Outside the folder, which is removed where a training begins anew.
        with holding(self.directory.with_name(f".{self.directory.name}.lock"), refusal):
            return self._new_result(data, split, console)

    def _new_result(self, data: PreparedData, split: str, console: Console) -> CellResult:
        if divergence := self.divergence(data):
            raise CrossDistilError(divergence)
        try:
            with without_retracing_warnings():
                run = self._trained(data, split, console)
                if not self.is_finished(split):
                    write_json(self._summary_file(split), evaluate(run, data, split).summary)
                    # Only an unfinished training needs it, and the optimizer's state is twice as large as the model.
                    shutil.rmtree(run.checkpoints / "last", ignore_errors=True)
        finally:
            release_memory()
        return self.kept_result(run, split)

    def kept_result(self, run: Run, split: str) -> CellResult:
        """The result of a finished cell, whose run is given.

        Raises:
            CrossDistilError: a file of it is damaged.
        """
        history = run.history()
        return CellResult(
            method=self.method,
            seed=self.seed,
            setting=self.setting,
            epochs=len(history),
            seconds=round(sum(entry["seconds"] for entry in history), 3),
            validation=best_validation(history, selection_metric(self.experiment)),
            summary=read_json(self._summary_file(split)),
            history=history,
        )

    @property
    def _has_epochs(self) -> bool:
        return (self.directory / "history.json").is_file()

    @property
    def _divergence_file(self) -> Path:
        return self.directory / "diverged.json"

    def _changed(self, data: PreparedData) -> str | None:
        """What the cell was trained with that is not what is given now."""
        run = Run.open(self.directory)
        kept, given = (run.metadata.run, run.metadata.schema_hash), (data.metadata.run, data.metadata.schema_hash)
        return "data" if kept != given else "configuration" if run.experiment != self.experiment else None

    def _summary_file(self, split: str) -> Path:
        return self.directory / f"{split}.json"

    def _trained(self, data: PreparedData, split: str, console: Console) -> Run:
        if any(self.is_finished(split) for split in SPLITS):
            return Run.open(self.directory)
        if self._has_epochs and not self._divergence_file.is_file():
            try:
                return self._train(data, split, console, resume=True)
            except CrossDistilError:
                if self._divergence_file.is_file():
                    raise
                console.print(f"{self} cannot be resumed; it is trained again", highlight=False, soft_wrap=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        return self._train(data, split, console)

    def _train(self, data: PreparedData, split: str, console: Console, resume: bool = False) -> Run:
        try:
            return train(self.experiment, data, self.directory, console, resume, watched_split=split)
        except DivergedError as error:
            message = f"{error.fault}; smaller learning rates may mend it"
            write_json(self._divergence_file, {"error": message})
            raise CrossDistilError(message) from error


def attempt(cell: Cell, data: PreparedData, split: str, console: Console | None = None) -> CellResult | str:
    """The result of a cell, or in a sentence why there is none.

    Args:
        cell: trained and measured where it is not yet.
        data: what it is trained and measured on.
        split: the split to measure.
        console: where training shows its progress; default nowhere.
    """
    try:
        return cell.result(data, split, console or Console(quiet=True))
    except CrossDistilError as error:
        return str(error)
    except Exception as error:
        # The user's own code may fail in any way; other cells need not.
        return f"{type(error).__name__}: {error}"


def release_memory() -> None:
    """Lets go of the graphs and models of one cell, which would stay in memory for all others."""
    keras.backend.clear_session()
    gc.collect()


def selection_metric(experiment: Experiment) -> str:
    """The validation metric that chooses epochs and settings."""
    return (experiment.training.early_stopping or EarlyStopping()).metric


def best_validation(history: list[dict[str, Any]], metric: str) -> float | None:
    """The best value of a validation metric over the epochs; None where no epoch defines it."""
    values = [entry[f"validation_{metric}"] for entry in history if entry[f"validation_{metric}"] is not None]
    best = max if METRICS[metric].higher_is_better else min
    return best(values, default=None)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object that a comparison wrote.

    Raises:
        CrossDistilError: the file cannot be read, or holds none.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CrossDistilError(f"{path} is damaged: {error}; remove it and compare again") from error
    return content
