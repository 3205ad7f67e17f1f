# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are damaged, half-written, too many, or not to be written any more."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from tests.training.conftest import assert_same
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.models.checkpoint_files import Position, find_checkpoints, is_intact
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.run import Run
from tf_crossdistil.training.checkpoints import newest_intact
from tf_crossdistil.training.divergence import DivergedError
from tf_crossdistil.training.loop import TrainingLoop
from tf_crossdistil.training.trainer import train


@pytest.fixture
def copied(undisturbed, tmp_path):
    """A copy of the undisturbed run, whose checkpoints share no file."""
    shutil.copytree(undisturbed.directory, tmp_path / "run")
    return Run.open(tmp_path / "run")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


def test_the_last_ones_and_the_best_stay(undisturbed):
    best = max(undisturbed.history(), key=lambda entry: entry["validation_auc"])["epoch"]
    files = ["data-00000-of-00001", "index"]
    assert names(undisturbed.checkpoints / "last") == [f"ckpt-{name}.{end}" for name in ("1-6", "2") for end in files]
    assert names(undisturbed.checkpoints / "best") == [f"ckpt-{best}.{end}" for end in files]
    kept = [tf.train.load_checkpoint(str(undisturbed.checkpoints / name)) for name in (f"best/ckpt-{best}", "last/ckpt-2")]
    assert kept[0].get_variable_to_shape_map() == kept[1].get_variable_to_shape_map()


@pytest.mark.parametrize("end", ["index", "data-00000-of-00001"])
def test_any_damaged_byte_or_missing_end_is_recognised(copied, end):
    whole = copied.checkpoints / "last" / "ckpt-2"
    path = whole.with_name(f"ckpt-2.{end}")
    content = path.read_bytes()
    assert is_intact(whole)
    for position in np.random.default_rng(0).integers(0, len(content), 12):
        flip(path, position)
        if is_intact(whole):
            # A byte of an index that says nothing, as in its padding.
            reader = tf.train.load_checkpoint(str(whole))
            assert end == "index" and len(reader.get_variable_to_shape_map()) > 50
        path.write_bytes(content)
    for part in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:part])
        assert not is_intact(whole)
    path.unlink()
    assert not is_intact(whole)


def test_the_one_before_a_damaged_one_is_used(copied, undisturbed, small_experiment, prepared):
    for folder in ("best", "last"):
        for path in (copied.checkpoints / folder).glob("ckpt-2.data*"):
            flip(path, 1000)
    for folder in ("best", "last"):
        (copied.checkpoints / folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-77"\n')
    # What a process leaves that dies while it writes.
    (copied.checkpoints / "last" / "ckpt-9.data-00000-of-00001").write_bytes(b"half")
    (copied.checkpoints / "last" / "ckpt-9_temp").mkdir()
    (copied.directory / "history.json").write_text("{")
    console = Console(width=400)
    with console.capture() as captured:
        resumed = train(small_experiment, prepared, copied.directory, console, resume=True)
    assert "last/ckpt-2 is damaged or half-written; the one before it is used" in captured.get()
    assert "resuming after epoch 1, step 6 of 6" in captured.get()
    assert_same(resumed, undisturbed)
    assert {path.split(".")[0] for path in names(resumed.checkpoints / "last")} == {"ckpt-1-6", "ckpt-2"}
    resumed.load_best()


def test_all_damaged_is_one_clear_error(copied):
    for path in copied.checkpoints.rglob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(CrossDistilError, match=r"every checkpoint in .* is damaged; train again, in another --run"):
        newest_intact(copied)
    with pytest.raises(CrossDistilError, match=r"best/ckpt-\d is damaged; train again with `crossdistil train --resume`"):
        copied.load_best()


def test_a_damaged_best_is_replaced_from_the_last_ones(copied, small_experiment, prepared, quiet_console):
    best = json.loads((copied.directory / "history.json").read_text())
    best = max(best, key=lambda entry: entry["validation_auc"])["epoch"]
    shutil.rmtree(copied.checkpoints / "best")
    console = Console(width=400)
    with console.capture() as captured:
        train(small_experiment, prepared, copied.directory, console, resume=True)
    if Position(best) in find_checkpoints(copied.checkpoints / "last"):
        copied.load_best()
    else:
        assert f"that of epoch {best}, is gone" in captured.get()


def diverging(monkeypatch, at):
    real, steps = TrainingLoop._after_steps, 0

    def after_steps(self, *arguments):
        nonlocal steps
        steps += 1
        if steps == at:
            self._state.losses = {**self._state.losses, "loss": math.nan, "like": math.nan}
        real(self, *arguments)

    monkeypatch.setattr(TrainingLoop, "_after_steps", after_steps)


def test_a_fault_stops_at_its_step_and_names_the_checkpoint_before(
    monkeypatch, small_experiment, prepared, quiet_console, tmp_path
):
    diverging(monkeypatch, at=4)
    with pytest.raises(DivergedError) as raised:
        train(small_experiment, prepared, tmp_path / "run", quiet_console)
    assert raised.value.fault == "the loss 'like' became nan in epoch 1, step 4 of 6"
    kept = tmp_path / "run" / "checkpoints" / "last" / "ckpt-0-2"
    assert f"; the last good checkpoint is {kept}; lower training.learning_rate" in str(raised.value)
    assert list(find_checkpoints(kept.parent).values()) == [kept]
    assert is_intact(kept)


@pytest.mark.slow
def test_weights_that_are_not_finite_are_never_saved(monkeypatch, small_experiment, prepared, quiet_console, tmp_path):
    real = CrossDistilModel.train_step

    def step(self, inputs):
        losses = real(self, inputs)
        self.embedding_variables[0].assign_add(tf.fill(self.embedding_variables[0].shape, np.float32(np.inf)))
        return losses

    monkeypatch.setattr(CrossDistilModel, "train_step", step)
    with pytest.raises(DivergedError, match=r"in epoch 1, step 2 of 6; no checkpoint was written before"):
        train(small_experiment, prepared, tmp_path / "run", quiet_console)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_full_disk_leaves_no_half_checkpoint(monkeypatch, small_experiment, prepared, quiet_console, tmp_path):
    def write(objects, path):
        Path(f"{path}.index").touch()
        Path(f"{path}_temp").mkdir()
        message = f"{{{{function_node __wrapped__Save}}}} {path}_temp/part-0.index; No space left on device [Op:SaveV2]"
        raise tf.errors.ResourceExhaustedError(None, None, message)

    run, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last"
    with monkeypatch.context() as patched:
        patched.setattr(tf.train.Checkpoint, "write", write)
        with pytest.raises(CrossDistilError) as raised:
            train(small_experiment, prepared, run, quiet_console)
    assert str(raised.value).startswith(f"cannot write the checkpoint {last / 'ckpt-0-2'}: No space left on device; make room")
    assert list(last.iterdir()) == []
    # As if even that had failed.
    (last / "ckpt-0-2.index").touch()
    console = Console(width=400)
    with monkeypatch.context() as patched, console.capture() as captured:
        patched.setattr(TrainingLoop, "run_epochs", lambda *arguments: None)
        train(small_experiment, prepared, run, console, resume=True)
    assert f"warning: no checkpoint in {run / 'checkpoints'} is whole, and no epoch has ended" in captured.get()
    assert f"{run} has no checkpoint yet; starting from the beginning" in captured.get()
