# SPDX-License-Identifier: Apache-2.0
"""A run directory: what training keeps on disk, and how later commands open it.

RUN/config.yaml           the configuration as it was trained, overrides included
RUN/data/                 metadata, vocabularies and sample rows of the data it was trained on
RUN/warm_start.json       which former run it started from, where there is one
RUN/history.json          one entry an epoch
RUN/checkpoints/          `last` to resume from, `best` to evaluate and export
RUN/evaluation/           what was measured of the best epoch, a file a split and data run
RUN/tensorboard/          the same numbers, and those within epochs, for TensorBoard
"""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import yaml

from tf_crossdistil.config import EarlyStopping, Experiment
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.checkpoint_files import find_checkpoints
from tf_crossdistil.models.config_difference import first_difference
from tf_crossdistil.models.crossdistil import CrossDistilModel, build
from tf_crossdistil.schema import METADATA_FILE, SAMPLE_FILE, Metadata, PreparedData, read_document

__all__ = ["Run", "build", "restore", "weights_checkpoint"]

# What may change between a run and its continuation, since it says how long to train and where, and not what.
_RESUMABLE = {"epochs", "early_stopping", "checkpoints", "strategy"}
_CONFIG = "config.yaml"
# Written first and renamed last: a directory that holds it was left by a process that died while it created the run.
_CONFIG_ASIDE = "config.yaml.partial"
_WARM_START = "warm_start.json"


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch of a run: its number from 1, its checkpoint, and a digest that no other weights have."""

    number: int
    checkpoint: Path
    digest: str


@dataclass(frozen=True)
class Run:
    """A run directory with the configuration and the data's metadata that it was trained with."""

    directory: Path
    experiment: Experiment
    metadata: Metadata

    @classmethod
    def create(cls, directory: Path, experiment: Experiment, data: PreparedData, former: Path | None = None) -> "Run":
        """Starts a run in a directory that is new, empty, or was left by a process that died while it did the same.

        Args:
            directory: the run directory.
            experiment: the configuration.
            data: what the run is trained on.
            former: the run that it starts from.

        Raises:
            UsageError: the directory holds something already.
            CrossDistilError: it cannot be written; what was written is removed.
        """
        cls.check_can_start(directory)
        kept, is_new = directory / "data", not directory.exists()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)
            (directory / _CONFIG_ASIDE).write_text(text, encoding="utf-8")
            (kept / "vocabulary").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data.directory / METADATA_FILE, kept / METADATA_FILE)
            shutil.copyfile(data.directory / SAMPLE_FILE, kept / SAMPLE_FILE)
            for owner in data.metadata.vocabularies:
                shutil.copyfile(data.vocabulary_file(owner), kept / "vocabulary" / f"{owner}.txt")
            (directory / _WARM_START).unlink(missing_ok=True)
            if former is not None:
                record = json.dumps({"run": str(former.absolute())})
                (directory / _WARM_START).write_text(record + "\n", encoding="utf-8")
            (directory / _CONFIG_ASIDE).replace(directory / _CONFIG)
        except OSError as error:
            _remove_unfinished(directory, is_new)
            place = "" if error.filename is None else f"{error.filename}: "
            raise CrossDistilError(
                f"cannot start a run in {directory}: {place}{error.strerror}; make room there, or give another --run"
            ) from error
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
        former, chooses = ((each.training.early_stopping or EarlyStopping()).metric for each in (self.experiment, experiment))
        if chooses != former:
            raise UsageError(
                f"training.early_stopping.metric is {chooses}, and the best epoch of {self.directory} was chosen by {former}; "
                "resume with the same metric, or give another --run"
            )
        free = {name: getattr(experiment.training, name) for name in _RESUMABLE}
        training = self.experiment.training.model_copy(update=free)
        started = self.experiment.model_copy(update={"training": training, "tuning": experiment.tuning})
        if difference := first_difference(started, experiment):
            key, was, now = difference
            may_change = ", ".join(f"training.{name}" for name in sorted(_RESUMABLE))
            raise UsageError(
                f"section '{key.partition('.')[0]}' of the configuration is not the one that {self.directory} was started "
                f"with: {key} is {now}, there it is {was}; resume with the same configuration, of which only {may_change} may "
                "change, or give another --run"
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

    @property
    def former(self) -> Path | None:
        """The directory of the run that this one started from.

        Raises:
            CrossDistilError: its record is damaged.
        """
        path = self.directory / _WARM_START
        try:
            return Path(json.loads(path.read_text(encoding="utf-8"))["run"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CrossDistilError(f"cannot read {path}: {error}; train again, in another --run") from error

    def history(self) -> list[dict[str, Any]]:
        """One entry an epoch; empty before the first ends."""
        path = self.directory / "history.json"
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        except ValueError as error:
            raise CrossDistilError(f"{path} is damaged: {error}; train again, in another --run") from error

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Replaces `history.json` at once, so that a reader never sees half of it; leaves it where it says the same already.

        Raises:
            CrossDistilError: it cannot be written.
        """
        path, aside = self.directory / "history.json", self.directory / "history.json.partial"
        text = json.dumps(history, indent=2) + "\n"
        try:
            if path.is_file() and path.read_bytes() == text.encode():
                return
            aside.write_text(text, encoding="utf-8")
            aside.replace(path)
        except OSError as error:
            raise CrossDistilError(f"cannot write {path}: {error.strerror}; make room, then go on with --resume") from error

    def best_epoch(self) -> BestEpoch:
        """The best epoch so far.

        Raises:
            CrossDistilError: no epoch has ended yet, or its checkpoint cannot be read.
        """
        found = find_checkpoints(self.checkpoints / "best")
        if not found:
            raise CrossDistilError(f"{self.directory} has no finished epoch yet; go on with `crossdistil train --resume`")
        # A training that died while it replaced the best may have left two.
        position = max(found)
        index = found[position].with_suffix(".index")
        try:
            # It holds a checksum of every tensor.
            digest = hashlib.sha256(index.read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise CrossDistilError(
                f"cannot read {index}: {error.strerror}; restore it, or train again, in another --run"
            ) from error
        return BestEpoch(position.epochs, found[position], digest)

    def best_checkpoint(self) -> Path:
        """The checkpoint of `best_epoch`."""
        return self.best_epoch().checkpoint

    def load(self, epoch: BestEpoch) -> CrossDistilModel:
        """The model with the weights of an epoch.

        Raises:
            CrossDistilError: the checkpoint is damaged.
        """
        build(model := CrossDistilModel(self.experiment, self.metadata), self.experiment)
        mending = "train again with `crossdistil train --resume`, which mends it where it can, or in another --run"
        restore(weights_checkpoint(model), epoch.checkpoint, mending)
        return model

    def load_best(self) -> CrossDistilModel:
        """The model with the weights of its best epoch.

        Raises:
            CrossDistilError: no epoch has ended yet, or the checkpoint is damaged.
        """
        return self.load(self.best_epoch())


def _holds_nothing(directory: Path) -> bool:
    """Whether a directory is empty, or has only what `Run.create` writes before the configuration, which completes it."""
    names = {path.name for path in directory.iterdir()}
    return not names or (_CONFIG_ASIDE in names and names <= {_CONFIG_ASIDE, "data", _WARM_START})


def _remove_unfinished(directory: Path, with_directory: bool) -> None:
    """Removes what `Run.create` made of a run that it could not start; the mark that it is unfinished goes last."""
    with suppress(OSError):
        if (directory / "data").exists():
            shutil.rmtree(directory / "data")
        for name in (_WARM_START, _CONFIG_ASIDE):
            (directory / name).unlink(missing_ok=True)
        if with_directory:
            directory.rmdir()


def restore(checkpoint: tf.train.Checkpoint, path: Path, mending: str = "train again, in another --run") -> None:
    """Reads a checkpoint into objects.

    Args:
        checkpoint: the objects.
        path: of the checkpoint.
        mending: what to do where that fails.

    Raises:
        CrossDistilError: the files are damaged or belong to another model.
    """
    try:
        # A part that the objects create later, such as an optimizer's slots, is filled in then.
        checkpoint.read(str(path)).assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
        raise CrossDistilError(f"the checkpoint {path} is damaged; {mending}") from error


def weights_checkpoint(model: CrossDistilModel) -> tf.train.Checkpoint:
    """What evaluation and export need: the network and the calibration."""
    return tf.train.Checkpoint(network=model.network, calibration=model.calibration.calibrator)
