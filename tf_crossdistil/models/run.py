"""A run directory: what training keeps on disk, and how later commands open it.

RUN/config.yaml           the configuration as it was trained, overrides included
RUN/data/                 metadata, vocabularies and sample rows of the data it was trained on
RUN/history.json          one entry an epoch
RUN/checkpoints/          `last` to resume from, `best` to evaluate and export
RUN/tensorboard/          the same numbers, and those within epochs, for TensorBoard
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import yaml

from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.checkpoint_files import find_checkpoints
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.schema import METADATA_FILE, SAMPLE_FILE, Metadata, PreparedData, read_document

__all__ = ["Run", "build", "restore", "weights_checkpoint"]

# What may change between a run and its continuation, since it says how long to train and where, and not what.
_RESUMABLE = {"epochs", "early_stopping", "checkpoints", "strategy"}
_CONFIG = "config.yaml"
_CONFIG_ASIDE = "config.yaml.partial"


@dataclass(frozen=True)
class Run:
    """A run directory with the configuration and the data's metadata that it was trained with."""

    directory: Path
    experiment: Experiment
    metadata: Metadata

    @classmethod
    def create(cls, directory: Path, experiment: Experiment, data: PreparedData) -> "Run":
        """Starts a run in a directory that is new, empty, or was left by a process that died while it did the same.

        Raises:
            UsageError: the directory holds something already.
        """
        cls.check_can_start(directory)
        kept = directory / "data"
        try:
            (kept / "vocabulary").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data.directory / METADATA_FILE, kept / METADATA_FILE)
            shutil.copyfile(data.directory / SAMPLE_FILE, kept / SAMPLE_FILE)
            for owner in data.metadata.vocabularies:
                shutil.copyfile(data.vocabulary_file(owner), kept / "vocabulary" / f"{owner}.txt")
            text = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)
            (directory / _CONFIG_ASIDE).write_text(text, encoding="utf-8")
            (directory / _CONFIG_ASIDE).replace(directory / _CONFIG)
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise CrossDistilError(f"cannot start a run in {directory}: {error.filename}: {error.strerror}") from error
        return cls(directory, experiment, data.metadata)

    @classmethod
    def open(cls, directory: Path) -> "Run":
        """Opens a run that training started.

        Raises:
            CrossDistilError: the directory holds no run.
        """
        if not (directory / _CONFIG).is_file():
            raise CrossDistilError(f"{directory} holds no training run; give the --run directory of `crossdistil train`")
        metadata = read_document(directory / "data" / METADATA_FILE, Metadata)
        return cls(directory, load_config(directory / _CONFIG), metadata)

    @classmethod
    def can_start(cls, directory: Path) -> bool:
        """Whether `create` would find nothing in its way."""
        return not directory.exists() or (directory.is_dir() and _holds_nothing(directory))

    @classmethod
    def check_can_start(cls, directory: Path) -> None:
        """Refuses a directory in which a run cannot be started.

        Raises:
            UsageError: the directory holds something already.
        """
        if not cls.can_start(directory):
            raise UsageError(f"{directory} is not empty; give another --run, or --resume to go on with the run in it")

    def check_resumable(self, experiment: Experiment, metadata: Metadata) -> None:
        """Refuses to go on with another configuration, or other data, than the run was started with.

        Raises:
            UsageError: anything but the number of epochs, early stopping, checkpoints and strategy differs.
        """
        if metadata.run != self.metadata.run:
            raise UsageError(
                f"the data is run {metadata.run}, and {self.directory} was started with run {self.metadata.run}; resume with "
                "the same data, or give another --run"
            )
        for section in type(experiment).model_fields:
            started, asked = getattr(self.experiment, section), getattr(experiment, section)
            if section == "training":
                started, asked = started.model_dump(exclude=_RESUMABLE), asked.model_dump(exclude=_RESUMABLE)
            if started != asked:
                raise UsageError(
                    f"section '{section}' of the configuration is not the one that {self.directory} was started with; "
                    "resume with the same configuration, or give another --run"
                )

    @property
    def vocabularies(self) -> Path:
        """The folder with one file a vocabulary, named by the feature that owns it."""
        return self.directory / "data" / "vocabulary"

    @property
    def sample_file(self) -> Path:
        """Raw example rows, one JSON object a line."""
        return self.directory / "data" / SAMPLE_FILE

    @property
    def checkpoints(self) -> Path:
        """The folder of all checkpoints."""
        return self.directory / "checkpoints"

    def history(self) -> list[dict[str, Any]]:
        """One entry an epoch; empty before the first ends."""
        path = self.directory / "history.json"
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        except ValueError as error:
            raise CrossDistilError(f"{path} is damaged: {error}; train again, in another --run") from error

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Replaces `history.json` at once, so that a reader never sees half of it.

        Raises:
            CrossDistilError: it cannot be written.
        """
        path, aside = self.directory / "history.json", self.directory / "history.json.partial"
        try:
            aside.write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")
            aside.replace(path)
        except OSError as error:
            raise CrossDistilError(f"cannot write {path}: {error.strerror}; make room, then go on with --resume") from error

    def best_checkpoint(self) -> Path:
        """The checkpoint of the best epoch.

        Raises:
            CrossDistilError: no epoch has ended yet.
        """
        found = find_checkpoints(self.checkpoints / "best")
        if not found:
            raise CrossDistilError(f"{self.directory} has no finished epoch yet; go on with `crossdistil train --resume`")
        # A training that died while it replaced the best may have left two.
        return found[max(found)]

    def load_best(self) -> CrossDistilModel:
        """The model with the weights of its best epoch.

        Raises:
            CrossDistilError: no epoch has ended yet, or the checkpoint is damaged.
        """
        checkpoint = self.best_checkpoint()
        model = CrossDistilModel(self.experiment, self.metadata)
        build(model, self.experiment)
        restore(weights_checkpoint(model), checkpoint)
        return model


def _holds_nothing(directory: Path) -> bool:
    """Whether a directory has at most what `Run.create` writes before the configuration, which completes it."""
    return {path.name for path in directory.iterdir()} <= {"data", _CONFIG_ASIDE}


def restore(checkpoint: tf.train.Checkpoint, path: Path) -> None:
    """Reads a checkpoint into objects.

    Raises:
        CrossDistilError: the files are damaged or belong to another model.
    """
    try:
        # A part that the objects create later, such as an optimizer's slots, is filled in then.
        checkpoint.read(str(path)).assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
        raise CrossDistilError(f"the checkpoint {path} is damaged; train again, in another --run") from error


def weights_checkpoint(model: CrossDistilModel) -> tf.train.Checkpoint:
    """What evaluation and export need: the network and the calibration."""
    return tf.train.Checkpoint(network=model.network, calibration=model.calibration.calibrator)
