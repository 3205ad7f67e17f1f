# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of everything that a run needs to go on as if nothing had happened.

`last` holds the newest, `best` that of the best epoch; both hold the same objects.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.models.checkpoint_files import Position, find_checkpoints, is_intact
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.run import Run, restore
from tf_crossdistil.training.reasons import disk_reason_of
from tf_crossdistil.training.strategies.base import Strategy


@dataclass
class TrainingState:
    """What a run needs beside its variables.

    Attributes:
        history: one entry a finished epoch.
        best_epoch: the one in `best`; 0 before the first.
        step: finished steps of the unfinished epoch.
        seconds: that they took.
        losses: their means by name.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def position(self) -> Position:
        """How far the run is."""
        return Position(len(self.history), self.step)

    def begin_epoch(self) -> None:
        """Forgets the steps of the epoch that was finished."""
        self.step, self.seconds, self.losses = 0, 0.0, {}


class _SavedState(tf.train.experimental.PythonState):
    """A training state within a checkpoint."""

    def __init__(self, state: TrainingState):
        super().__init__()
        self._state = state

    def serialize(self) -> str:
        return json.dumps(asdict(self._state))

    def deserialize(self, string_value: bytes) -> None:
        content = json.loads(string_value)
        for part in fields(self._state):
            setattr(self._state, part.name, content[part.name])


def newest_intact(run: Run) -> tuple[Position, Path | None, list[str]]:
    """The checkpoint to go on from, None before the first, and a sentence on each newer one that is damaged.

    Where all are damaged, but no epoch has ended, there is little to lose: the run starts from the beginning.

    Raises:
        CrossDistilError: all are damaged.
    """
    last, best = find_checkpoints(run.checkpoints / "last"), find_checkpoints(run.checkpoints / "best")
    warnings: list[str] = []
    for position in sorted(last | best, reverse=True):
        for path in (found[position] for found in (last, best) if position in found):
            if is_intact(path):
                return position, path, warnings
            warnings.append(f"warning: the checkpoint {path} is damaged or half-written; the one before it is used")
    if warnings and not _has_epochs(run):
        return Position(), None, [f"warning: no checkpoint in {run.checkpoints} is whole, and no epoch has ended"]
    if warnings:
        raise CrossDistilError(f"every checkpoint in {run.checkpoints} is damaged; train again, in another --run")
    return Position(), None, []


def _has_epochs(run: Run) -> bool:
    try:
        return bool(run.history())
    except CrossDistilError:
        # It is first written when an epoch ends.
        return True


class Checkpoints:
    """Writes and reads the checkpoints of a run. Made within the scope of the strategy.

    Args:
        run: the run.
        model: compiled; its variables exist.
        state: of the run; restoring changes it.
        strategy: says where this process writes.
        keep: how many of the last stay.

    Attributes:
        newest: what was written or restored last.
        newest_position: its position.
    """

    def __init__(self, run: Run, model: CrossDistilModel, state: TrainingState, strategy: Strategy, keep: int):
        self._state, self._strategy, self._keep = state, strategy, keep
        self._last, self._best = run.checkpoints / "last", run.checkpoints / "best"
        self.newest: Path | None = None
        self.newest_position = Position()
        self._objects = tf.train.Checkpoint(
            network=model.network,
            calibration=model.calibration.calibrator,
            loss_weighting=model.loss_weighting,
            optimizer=model.optimizer,
            calibration_optimizer=model.calibration.optimizer,
            means=list(model.metrics),
            state=_SavedState(state),
        )

    def restore(self, path: Path) -> list[str]:
        """Brings everything to where a checkpoint was written; returns a warning where the best epoch is lost.

        Raises:
            CrossDistilError: it belongs to another model.
        """
        restore(self._objects, path)
        self.newest, self.newest_position = path, self._state.position
        best = Position(self._state.best_epoch)
        if not best.epochs or self._has_intact(self._best, best):
            return []
        # A training that died may have left only the same checkpoint among the last ones.
        if self._has_intact(self._last, best):
            self.keep_as_best(best)
            return []
        self._state.best_epoch = 0
        fate = "is damaged" if best in find_checkpoints(self._best) else "is gone"
        return [f"warning: the best checkpoint, that of epoch {best.epochs}, {fate}; the best of later epochs takes its place"]

    def save(self) -> None:
        """Writes a checkpoint of now, and removes old ones and what was left of unfinished ones.

        Raises:
            CrossDistilError: it cannot be written.
            OpError: one of the strategy's `lost_peer_errors`; all workers of a job write together.
        """
        directory, position = self._strategy.checkpoint_directory(self._last), self._state.position
        try:
            self._write(directory / position.name)
            # Newer ones were damaged: the run had to go back behind them.
            kept = [found for found in find_checkpoints(directory) if found <= position][-self._keep :]
            _remove_all_but([found.name for found in kept], directory)
        except self._strategy.lost_peer_errors:
            raise
        except (OSError, tf.errors.OpError) as error:
            raise _cannot_write(directory / position.name, error) from error
        self.newest, self.newest_position = self._last / position.name, position

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._objects.write(str(path))
        except self._strategy.lost_peer_errors:
            raise
        except (OSError, tf.errors.OpError):
            # Half of a checkpoint would look like one, and takes the room that the next needs.
            _remove_written(path)
            raise

    def keep_as_best(self, position: Position) -> None:
        """Puts a checkpoint of `last` in the place of `best`.

        Raises:
            CrossDistilError: it cannot be written.
        """
        if not self._strategy.is_chief:
            return
        try:
            self._best.mkdir(parents=True, exist_ok=True)
            (self._best / f"{position.name}.index").unlink(missing_ok=True)
            # The index, which completes a checkpoint, comes last.
            for source in sorted(self._last.glob(f"{position.name}.*")):
                _link(source, self._best / source.name)
            _remove_all_but([position.name], self._best)
        except OSError as error:
            raise _cannot_write(self._best / position.name, error) from error

    @staticmethod
    def _has_intact(directory: Path, position: Position) -> bool:
        path = find_checkpoints(directory).get(position)
        return path is not None and is_intact(path)


def _cannot_write(checkpoint: Path, error: Exception) -> CrossDistilError:
    return CrossDistilError(
        f"cannot write the checkpoint {checkpoint}: {disk_reason_of(error)}; make room, then go on with --resume from the "
        "one before"
    )


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system has no such thing."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _remove_written(checkpoint: Path) -> None:
    """Removes the files of a checkpoint, whole or not, and what TensorFlow collects them in."""
    for path in [*checkpoint.parent.glob(f"{checkpoint.name}.*"), *checkpoint.parent.glob(f"{checkpoint.name}_temp*")]:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_all_but(names: list[str], directory: Path) -> None:
    # Indices first: what has none is no checkpoint.
    for path in sorted(directory.iterdir(), key=lambda path: path.suffix != ".index"):
        if path.name.rsplit(".", 1)[0] not in names:
            _remove(path)
