# SPDX-License-Identifier: Apache-2.0
"""A split that is measured after each epoch beside validation, and a run with exchanged labels that dies and goes on."""

import os
import signal

import pytest

from tests.training.conftest import CLOCK, assert_same
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import UsageError
from tf_crossdistil.metrics.summary import mean_metric, summarize
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.models.run import Run
from tf_crossdistil.training import loop
from tf_crossdistil.training.interruption import Terminated
from tf_crossdistil.training.strategies.one_device import OneDevice
from tf_crossdistil.training.trainer import train


class NoLearning(OneDevice):
    """Steps that change nothing and take no time."""

    def fit(self, model, batches, epoch, first_step, after_step):
        self.create_optimizer_variables(model)
        for step in range(first_step + 1, batches.steps + 1):
            after_step(step, {"loss": 1.0})


@pytest.fixture(scope="module")
def not_learned(small_experiment, prepared, quiet_console, tmp_path_factory):
    """Trains in a folder of the module, without learning anything."""
    folder = tmp_path_factory.mktemp("not_learned")

    def run(name, watched_split):
        options = {"resume": True, "strategy": NoLearning(small_experiment), "watched_split": watched_split}
        return train(small_experiment, prepared, folder / name, quiet_console, **options)

    return run


@pytest.fixture(scope="module")
def watched(not_learned):
    return not_learned("watched", "test")


def test_the_history_has_what_evaluating_the_watched_split_gives(watched, small_experiment, prepared):
    history = watched.history()
    assert len(history) == 2
    summary = summarize(small_experiment, SplitPredictor(watched.load_best(), small_experiment)(prepared, "test"), "test")
    for entry in history:
        assert entry["test_log_loss"] == mean_metric(summary, "log_loss") != entry["validation_log_loss"]
        for task, metrics in summary["tasks"].items():
            for metric in ("log_loss", "auc", "multi_auc"):
                assert entry[f"test_{task}_{metric}"] == metrics[metric]
        validated, told = ({name for name in entry if name.startswith(split)} for split in ("validation_", "test_"))
        assert told == {name.replace("validation_", "test_") for name in validated}


def test_a_signal_while_the_watched_split_is_measured_loses_nothing(watched, not_learned, monkeypatch):
    def stopped(experiment, predictions, split):
        if split == "test":
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("went on")
        return summarize(experiment, predictions, split)

    with monkeypatch.context() as patched, pytest.raises(Terminated) as raised:
        patched.setattr(loop, "summarize", stopped)
        not_learned("stopped", "test")
    assert "in epoch 1 after step 6 of 6, and saved" in raised.value.sentence
    histories = [run.history() for run in (not_learned("stopped", "test"), watched)]
    resumed, undisturbed = ([{k: v for k, v in entry.items() if k not in CLOCK} for entry in each] for each in histories)
    assert resumed == undisturbed


@pytest.mark.parametrize("split", ["validation", pytest.param("other", marks=pytest.mark.slow)])
def test_validation_and_a_split_without_rows_add_nothing(watched, not_learned, split):
    names = [name for name in watched.history()[0] if not name.startswith("test_")]
    assert list(not_learned(split, split).history()[0]) == names


def test_another_exchange_is_refused_when_a_run_is_resumed(watched, small_config, prepared):
    run = Run.open(watched.directory)
    with pytest.raises(UsageError, match=r"training\.label_exchange.*0\.5.* there it is"):
        run.check_resumable(load_config(small_config, ["training.label_exchange={like: 0.5}"]), prepared.metadata)


@pytest.mark.slow
def test_a_run_with_exchanged_labels_that_dies_goes_on_bit_for_bit(
    undisturbed, small_config, prepared, quiet_console, killed_after, tmp_path
):
    exchanged = load_config(small_config, ["training.label_exchange={like: 0.5}"])
    whole = train(exchanged, prepared, tmp_path / "whole", quiet_console, watched_split="test")
    killed_after(tmp_path / "run", 3, exchanged)
    assert_same(train(exchanged, prepared, tmp_path / "run", quiet_console, resume=True, watched_split="test"), whole)
    assert whole.history()[0]["loss/like"] != undisturbed.history()[0]["loss/like"]
