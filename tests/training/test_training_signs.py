# SPDX-License-Identifier: Apache-2.0
"""What a run shows: TensorBoard logs, the bar, the warning when the input sets the pace; and signals at odd moments."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from rich.console import Console

from tf_crossdistil.data import input_watch
from tf_crossdistil.data.input_watch import InputWatch
from tf_crossdistil.data.records import steady_parallelism
from tf_crossdistil.training import loop
from tf_crossdistil.training.interruption import Interrupted, Interruption, Terminated
from tf_crossdistil.training.progress import EpochProgress
from tf_crossdistil.training.scalars import Scalars
from tf_crossdistil.training.strategies.one_device import OneDevice
from tf_crossdistil.training.trainer import train


def scalars(directory):
    """The values in the logs by name and step."""
    values: dict[str, dict[int, float]] = {}
    for record in tf.data.TFRecordDataset([str(path) for path in sorted(directory.glob("events.*"))]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return values


def test_tensorboard_shows_every_entry_of_the_history(undisturbed):
    shown = scalars(undisturbed.directory / "tensorboard")
    for entry in undisturbed.history():
        for name, value in entry.items():
            if name != "epoch" and value is not None:
                assert shown[f"epochs/{name}"][entry["epoch"]] == pytest.approx(value, rel=1e-6)
    assert {"epochs/loss/like+", "epochs/validation_auc", "epochs/rows_per_second"} <= set(shown)


def test_tensorboard_shows_losses_within_an_epoch(tmp_path):
    with Scalars(tmp_path, is_writing=True) as writer:
        for step in range(1, 61):
            writer.add_step(step, 1, {"loss": 1.0 / step}, 100.0)
    shown = scalars(tmp_path)
    assert shown["steps/loss"] == pytest.approx({20: 1 / 20, 40: 1 / 40, 60: 1 / 60})
    assert shown["steps/rows_per_second"][20] == 100.0


def test_tensorboard_shows_losses_where_many_steps_pass_at_once(tmp_path):
    with Scalars(tmp_path, is_writing=True) as writer:
        for step, passed in ((50, 50), (55, 5), (75, 20)):
            writer.add_step(step, passed, {"loss": 1.0}, 100.0)
    assert set(scalars(tmp_path)["steps/loss"]) == {50, 75}


def test_a_worker_that_is_not_the_chief_writes_nothing(tmp_path):
    with Scalars(tmp_path / "logs", is_writing=False) as writer:
        writer.add_step(20, 1, {"loss": 1.0}, 100.0)
        writer.add_epoch({"epoch": 1, "loss": 1.0})
    assert not (tmp_path / "logs").exists()


def test_the_bar_shows_pace_losses_and_what_is_left():
    losses = {"loss": 1.25, "is_click": 0.5} | {f"is_click/{number}": 0.25 for number in range(9)}
    console = Console(force_terminal=True, width=100)
    with console.capture() as captured, EpochProgress(console, "ours epoch 3", 8, 2, batch_size=10) as progress:
        time.sleep(0.05)
        progress.after_step(6, losses)
    shown = captured.get()
    assert all(
        part in shown
        for part in ("ours epoch 3", "6/8", "rows/s", "loss 1.2500", *(f"{name} {value:.4f}" for name, value in losses.items()))
    )
    assert 4 * 10 / progress.rows_per_second == pytest.approx(progress.seconds)
    assert progress.rows_per_second < 4 * 10 / 0.05


@pytest.mark.parametrize("input_seconds, step_seconds, warned", [(0.01, 0.0, True), (0.0, 0.04, False)])
def test_the_input_is_blamed_only_when_it_sets_the_pace(monkeypatch, input_seconds, step_seconds, warned):
    monkeypatch.setattr(input_watch, "WINDOW", 3)

    def produce(number):
        time.sleep(input_seconds)
        return number

    watch, told, seen = InputWatch(), [], []
    elements = tf.data.Dataset.range(70).map(
        lambda number: {"number": tf.numpy_function(produce, [number], tf.int64, stateful=False)}
    )
    for element in watch.watch(elements.with_options(steady_parallelism())):
        seen.append(int(element["number"]))
        time.sleep(step_seconds)
        told.append(watch.after_step())
    assert seen == list(range(70))
    shares = [share for share in told if share is not None]
    assert len(shares) == int(warned)
    assert all(0.5 < share <= 1 for share in shares)


@pytest.mark.slow
def test_a_run_warns_of_its_input_once(monkeypatch, small_experiment, prepared, tmp_path):
    monkeypatch.setattr(InputWatch, "after_step", lambda self: 0.43)
    monkeypatch.setattr(loop.TrainingLoop, "_finish_epoch", lambda self: pytest.fail("too late"))
    console, steps = Console(width=300), []

    def stop(self):
        steps.append(1)
        if len(steps) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.TrainingLoop, "_stop_if_asked", stop)
    with console.capture() as captured, pytest.raises(KeyboardInterrupt):
        train(small_experiment, prepared, tmp_path / "run", console)
    assert captured.get().count("warning: the input, not the model, sets the pace: training waits for it 43% of the time") == 1


class OneOfMany(OneDevice):
    """A worker that must ask the others before it stops; notes after how many steps it does, and learns nothing."""

    acts_alone = False

    def __init__(self, experiment):
        super().__init__(experiment)
        self.steps, self.asked = 0, []

    def fit(self, model, batches, epoch, first_step, after_step):
        for step in range(first_step + 1, batches.steps + 1):
            self.steps += 1
            after_step(step, {"loss": 1.0})

    def agree(self, flag):
        self.asked.append(self.steps)
        return flag


def test_workers_of_short_epochs_ask_each_other_over_the_whole_run(
    monkeypatch, small_experiment, prepared, quiet_console, tmp_path
):
    # Six steps and one batch of validation an epoch; the end of the first epoch is an occasion of its own.
    monkeypatch.setattr(loop, "_AGREE_EVERY", 4)
    worker = OneOfMany(small_experiment)
    train(small_experiment, prepared, tmp_path / "run", quiet_console, strategy=worker)
    assert worker.asked == [4, 6, 7, 11]


def test_workers_of_short_epochs_stop_at_the_end_of_one(small_experiment, prepared, quiet_console, tmp_path):
    def terminate(entry):
        os.kill(os.getpid(), signal.SIGTERM)

    worker = OneOfMany(small_experiment)
    with pytest.raises(Terminated, match="143") as stopped:
        train(small_experiment, prepared, tmp_path / "run", quiet_console, after_epoch=terminate, strategy=worker)
    assert "in epoch 2 after step 0 of 6, and saved" in stopped.value.sentence
    assert worker.steps == 6 and (tmp_path / "run/checkpoints/last/ckpt-1.index").is_file()


@pytest.mark.parametrize("number, kind", [(signal.SIGTERM, Terminated), (signal.SIGINT, Interrupted)])
def test_a_signal_raises_before_the_first_step_and_is_noted_after_it(number, kind):
    usual = signal.getsignal(number)
    with pytest.raises(kind, match=None), Interruption():
        os.kill(os.getpid(), number)
        time.sleep(5)
    with Interruption() as interruption:
        interruption.defer()
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert interruption.is_asked
        with pytest.raises(kind), interruption.at_once():
            pytest.fail("went on")
        error = interruption.error(" in epoch 2")
        assert isinstance(error, kind) and "in epoch 2" in error.sentence
    assert signal.getsignal(number) is usual


def test_a_second_signal_ends_at_once():
    script = """import os, signal, time
from tf_crossdistil.training.interruption import Interruption
with Interruption() as interruption:
    interruption.defer()
    os.kill(os.getpid(), signal.SIGINT)
    print("noted", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
    print("too late")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (130, "noted\n")


@pytest.mark.slow
def test_validation_is_left_within_seconds_and_resumed(
    monkeypatch, undisturbed, small_experiment, prepared, quiet_console, tmp_path
):
    def endless(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    started = time.perf_counter()
    with monkeypatch.context() as patched, pytest.raises(Terminated) as raised:
        patched.setattr(loop, "summarize", endless)
        train(small_experiment, prepared, tmp_path / "run", quiet_console)
    assert time.perf_counter() - started < 60
    assert raised.value.code == 143 and "in epoch 1 after step 6 of 6, and saved" in raised.value.sentence
    run = train(small_experiment, prepared, tmp_path / "run", quiet_console, resume=True)
    assert [entry["validation_auc"] for entry in run.history()] == [entry["validation_auc"] for entry in undisturbed.history()]
