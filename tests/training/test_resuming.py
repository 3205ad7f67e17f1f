# SPDX-License-Identifier: Apache-2.0
"""Runs that die and go on: bit for bit as if nothing had happened."""

import fcntl
import random
import re
import shutil
import signal

import pytest
from rich.console import Console

from tests.training.conftest import assert_same
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.run import Run
from tf_crossdistil.training.scalars import Scalars
from tf_crossdistil.training.trainer import train


@pytest.fixture
def finish(small_experiment, prepared):
    """Resumes a run to its end; gives it and what was printed."""

    def resume(directory, experiment=small_experiment):
        console = Console(width=300)
        with console.capture() as captured:
            run = train(experiment, prepared, directory, console, resume=True)
        return run, captured.get()

    return resume


def test_a_run_that_dies_goes_on_bit_for_bit(undisturbed, killed_after, finish, tmp_path):
    # Within the first epoch, then at the beginning of the next.
    for steps in (3, 4):
        killed_after(tmp_path / "run", steps)
    resumed, printed = finish(tmp_path / "run")
    assert "resuming after epoch 1\n" in printed
    assert_same(resumed, undisturbed)
    _, printed = finish(tmp_path / "run")
    assert "nothing to do: the run ended with epoch 2" in printed


@pytest.mark.slow
def test_a_streamed_run_that_dies_goes_on_bit_for_bit(killed_after, finish, monkeypatch, tmp_path):
    monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", 0)
    whole, _ = finish(tmp_path / "whole")
    killed_after(tmp_path / "run", 3)
    resumed, printed = finish(tmp_path / "run")
    assert "resuming after epoch 0, step 2 of 6" in printed
    assert_same(resumed, whole)


@pytest.mark.slow
def test_sigkill_at_a_random_step(undisturbed, signalled, finish, tmp_path):
    step = random.randint(3, 11)
    print(f"killed after step {step}")
    code, _ = signalled(tmp_path / "run", signal.SIGKILL, step)
    assert code == -signal.SIGKILL
    resumed, printed = finish(tmp_path / "run")
    assert "resuming after epoch" in printed
    assert_same(resumed, undisturbed)


@pytest.mark.slow
def test_sigkill_at_five_random_steps(undisturbed, signalled, finish, tmp_path):
    for steps in random.choices(range(1, 5), k=5):
        print(f"killed {steps} steps after the resume")
        assert signalled(tmp_path / "run", signal.SIGKILL, steps)[0] in (-signal.SIGKILL, 0)
    assert_same(finish(tmp_path / "run")[0], undisturbed)


@pytest.mark.slow
def test_sigterm_finishes_the_step_saves_and_asks_for_a_restart(undisturbed, signalled, finish, tmp_path):
    code, error = signalled(tmp_path / "run", signal.SIGTERM, 3)
    assert code == 143
    last = error.strip().splitlines()[-1]
    assert last == (
        "stopped by SIGTERM in epoch 1 after step 3 of 6, and saved; the same command with --resume goes on from there"
    )
    resumed, printed = finish(tmp_path / "run")
    assert "resuming after epoch 0, step 3 of 6" in printed
    assert_same(resumed, undisturbed)


@pytest.mark.slow
def test_sigterm_before_the_first_step_leaves_nothing(signalled, tmp_path):
    code, error = signalled(tmp_path / "run", signal.SIGTERM, 0)
    assert code == 143 and "Traceback" not in error
    last = error.strip().splitlines()[-1]
    assert last == "stopped by SIGTERM before the first step; the same command with --resume goes on from there"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_ctrl_c_finishes_the_step_and_saves(undisturbed, signalled, finish, tmp_path):
    code, error = signalled(tmp_path / "run", signal.SIGINT, 9)
    assert code == 130
    assert "stopped by SIGINT in epoch 2 after step 3 of 6, and saved" in error
    assert_same(finish(tmp_path / "run")[0], undisturbed)


@pytest.mark.slow
def test_resume_starts_where_nothing_is(finish, killed_after, undisturbed, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    # A process that died while it created the run.
    shutil.copytree(undisturbed.directory / "data", empty / "data")
    (empty / "config.yaml.partial").touch()
    run, printed = finish(empty)
    assert "holds no run to resume; starting from the beginning" in printed
    assert_same(run, undisturbed)


def test_what_may_change_with_resume(undisturbed, small_config, small_experiment, prepared, finish, tmp_path):
    run = Run.open(undisturbed.directory)
    free = ["training.epochs=9", "training.early_stopping={patience: 5}", "training.checkpoints={keep: 9}"]
    run.check_resumable(load_config(small_config, [*free, "training.strategy=mirrored"]), prepared.metadata)
    for fixed, difference in (
        ("training.batch_size=64", "training.batch_size is 64, there it is 512"),
        ("training.precision=mixed_bfloat16", "training.precision is mixed_bfloat16, there it is float32"),
        ("model.dropout=0", "model.dropout is 0.0, there it is 0.2"),
        ("model.mutual={features: ctfm}", "model.mutual.features is ctfm, there it is none"),
        ("training.label_exchange={like: 0.5}", "training.label_exchange is {'like': 0.5}, there it is {}"),
    ):
        words = f"is not the one that .* was started with: {re.escape(difference)}; .* only .*training.epochs.* may change"
        with pytest.raises(UsageError, match=words):
            run.check_resumable(load_config(small_config, [fixed]), prepared.metadata)
    features = [small_experiment.features[0].model_copy(update={"dim": 99}), *small_experiment.features[1:]]
    with pytest.raises(UsageError, match=rf"features\.{features[0].name}\.dim is 99, there it is \d+;"):
        run.check_resumable(small_experiment.model_copy(update={"features": features}), prepared.metadata)
    with pytest.raises(UsageError, match=rf"features is \[.*\], there it is \['{features[0].name}', "):
        run.check_resumable(small_experiment.model_copy(update={"features": features[1:]}), prepared.metadata)
    run.check_resumable(load_config(small_config, ["training.early_stopping=null"]), prepared.metadata)
    run.check_resumable(load_config(small_config, ["tuning.space={model.dropout: {low: 0, high: 0.5}}"]), prepared.metadata)
    with pytest.raises(UsageError, match=r"early_stopping.metric is log_loss, and the best epoch of .* was chosen by auc"):
        run.check_resumable(load_config(small_config, ["training.early_stopping={metric: log_loss}"]), prepared.metadata)
    with pytest.raises(UsageError, match="the data is run other, and"):
        run.check_resumable(small_experiment, prepared.metadata.model_copy(update={"run": "other"}))


def test_early_stopping_may_end_a_run_when_it_is_resumed(undisturbed, small_config, finish, tmp_path):
    shutil.copytree(undisturbed.directory, tmp_path / "run")
    aucs = [entry["validation_auc"] for entry in undisturbed.history()]
    best = 1 + aucs.index(max(aucs))
    settings = ["training.epochs=2", "training.early_stopping={metric: auc, patience: 1}"]
    _, printed = finish(tmp_path / "run", load_config(small_config, settings))
    assert "nothing to do: the run ended with epoch 2" in printed
    assert f"best validation auc {max(aucs):.4f} in epoch {best}" in printed


@pytest.mark.parametrize("files", [["data/LATEST"], ["data/LATEST", "config.yaml.old"], ["data/metadata.json"]])
def test_what_a_directory_holds_stays(files, small_experiment, prepared, quiet_console, tmp_path):
    for name in files:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(UsageError, match="is not empty; give another --run"):
        train(small_experiment, prepared, tmp_path / "run", quiet_console)
    assert all((tmp_path / "run" / name).read_text() == "mine" for name in files)


def test_a_run_that_cannot_be_created_leaves_what_was_there(small_experiment, prepared, tmp_path, monkeypatch):
    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    (tmp_path / "empty").mkdir()
    for directory in (tmp_path / "empty", tmp_path / "new"):
        with pytest.raises(CrossDistilError, match=r"cannot start a run in .*: .*json: No space left on device"):
            Run.create(directory, small_experiment, prepared, tmp_path / "former")
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_a_finished_run_writes_nothing(undisturbed, finish, tmp_path):
    shutil.copytree(undisturbed.directory, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    _, printed = finish(tmp_path / "run")
    assert "nothing to do: the run ended with epoch 2" in printed
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_what_cannot_be_written_is_told_in_a_sentence(undisturbed, tmp_path):
    shutil.copytree(undisturbed.directory, tmp_path / "run")
    (tmp_path / "run" / "history.json.partial").mkdir()
    (tmp_path / "file").touch()
    words = r"cannot write .*; make room, then go on with --resume$"
    with pytest.raises(CrossDistilError, match=words):
        Run.open(tmp_path / "run").write_history([])
    with pytest.raises(CrossDistilError, match=words) as raised, Scalars(tmp_path / "file", is_writing=True) as scalars:
        scalars.add_epoch({"epoch": 1, "loss": 0.5})
    assert "\n" not in str(raised.value) and "{" not in str(raised.value)


def test_two_trainings_do_not_share_a_run(undisturbed, finish, tmp_path):
    shutil.copytree(undisturbed.directory, tmp_path / "run")
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CrossDistilError, match=r"another training is at work in .*run; wait for it to end"):
            finish(tmp_path / "run")
    finish(tmp_path / "run")


def test_a_file_system_without_locks_is_no_hindrance(undisturbed, finish, tmp_path, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(95, "Operation not supported")

    shutil.copytree(undisturbed.directory, tmp_path / "run")
    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert "nothing to do" in finish(tmp_path / "run")[1]
