# SPDX-License-Identifier: Apache-2.0
"""Training runs: determinism, resuming, what they keep, what they refuse."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tf_crossdistil.data.records import split_batches
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.trainer import train


def weights(run):
    model = run.load_best()
    return [variable.numpy() for variable in [*model.variables, *model.calibration.calibrator.variables]]


def assert_equal_weights(left, right):
    for ours, theirs in zip(weights(left), weights(right), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def with_training(experiment, **settings):
    return experiment.model_copy(update={"training": experiment.training.model_copy(update=settings)})


def with_method(experiment, method):
    return experiment.model_copy(update={"distillation": experiment.distillation.model_copy(update={"method": method})})


@pytest.mark.slow
def test_same_seed_gives_the_same_weights(trained, shared_experiment, prepared, quiet_console, tmp_path):
    assert_equal_weights(trained, train(shared_experiment, prepared, tmp_path / "run", quiet_console))
    other = train(with_training(shared_experiment, seed=1), prepared, tmp_path / "other", quiet_console)
    assert any(np.any(a != b) for a, b in zip(weights(trained), weights(other), strict=True))


@pytest.mark.slow
def test_a_resumed_run_ends_as_an_undisturbed_one(trained, shared_experiment, prepared, quiet_console, tmp_path):
    directory = tmp_path / "run"
    train(with_training(shared_experiment, epochs=1), prepared, directory, quiet_console)
    resumed = train(shared_experiment, prepared, directory, quiet_console, resume=True)
    assert [entry["epoch"] for entry in resumed.history()] == [1, 2]
    assert_equal_weights(trained, resumed)


def test_a_run_that_died_before_its_history_was_written_repeats_that_epoch(
    trained, shared_experiment, prepared, quiet_console, tmp_path
):
    directory = tmp_path / "run"
    shutil.copytree(trained.directory, directory)
    history = json.loads((directory / "history.json").read_text())
    (directory / "history.json").write_text(json.dumps(history[:1]))
    resumed = train(shared_experiment, prepared, directory, quiet_console, resume=True)
    assert len(resumed.history()) == 2
    assert_equal_weights(trained, resumed)


def test_history_has_every_loss_and_validation_metric(trained):
    history = trained.history()
    assert [entry["epoch"] for entry in history] == [1, 2]
    losses = ["loss", "loss/finish", "loss/like", "loss/finish/distillation", "loss/finish+", "loss/calibration"]
    metrics = ["validation_auc", "validation_multi_auc", "validation_log_loss", "validation_like_auc"]
    assert {*losses, *metrics, "seconds", "rows_per_second"} <= set(history[0])
    assert history[1]["loss/finish"] < history[0]["loss/finish"]


def test_early_stopping_ends_a_run_that_no_longer_improves_and_keeps_the_best(
    shared_experiment, prepared, quiet_console, tmp_path
):
    stopping = {"metric": "log_loss", "patience": 1}
    experiment = with_training(shared_experiment, epochs=30, learning_rate=0.05, embedding_learning_rate=1.0)
    content = experiment.model_dump(mode="json")
    content["training"]["early_stopping"] = stopping
    content["distillation"]["method"] = "none"
    run = train(type(experiment).model_validate(content), prepared, tmp_path / "run", quiet_console)
    values = [entry["validation_log_loss"] for entry in run.history()]
    assert 1 < len(values) < 30
    assert values.index(min(values)) == len(values) - 2
    assert run.best_checkpoint().name == f"ckpt-{len(values) - 1}"


def test_refuses_a_directory_in_use_and_another_configuration(trained, shared_experiment, prepared, quiet_console):
    with pytest.raises(UsageError, match="is not empty; give another --run, or --resume"):
        train(shared_experiment, prepared, trained.directory, quiet_console)
    with pytest.raises(UsageError, match="section 'distillation' of the configuration is not the one"):
        train(with_method(shared_experiment, "taug"), prepared, trained.directory, quiet_console, resume=True)


def test_refuses_data_of_another_configuration(shared_experiment, prepared, quiet_console, tmp_path):
    fewer = shared_experiment.model_copy(update={"features": shared_experiment.features[1:]})
    with pytest.raises(CrossDistilError, match="prepared with other tasks or features"):
        train(fewer, prepared, tmp_path / "run", quiet_console)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "section, value, words",
    [
        ("model", {"backbone": "pel"}, "model.backbone: there is no 'pel'; did you mean 'ple'?"),
        (
            "distillation",
            {"method": "crossdistill"},
            "distillation.method: there is no 'crossdistill'; did you mean 'crossdistil'?",
        ),
    ],
)
def test_unknown_names_are_refused_before_anything_is_written(
    shared_experiment, prepared, quiet_console, tmp_path, section, value, words
):
    changed = getattr(shared_experiment, section).model_copy(update=value)
    with pytest.raises(UsageError) as raised:
        train(shared_experiment.model_copy(update={section: changed}), prepared, tmp_path / "run", quiet_console)
    assert words in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_diverging_loss_stops_with_its_name(shared_experiment, prepared, quiet_console, tmp_path, monkeypatch):
    real = CrossDistilModel.losses_by_name

    def diverging(self, *arguments, **options):
        losses = real(self, *arguments, **options)
        losses["like"] *= np.nan
        return losses

    monkeypatch.setattr(CrossDistilModel, "losses_by_name", diverging)
    with pytest.raises(
        CrossDistilError, match=r"the loss 'like' became nan in epoch 1, step 1 of 6; no checkpoint was written"
    ):
        train(shared_experiment, prepared, tmp_path / "run", quiet_console)
    with pytest.raises(CrossDistilError, match="no finished epoch"):
        Run.open(tmp_path / "run").load_best()


def test_damaged_checkpoints_are_told_and_history_is_mended(trained, shared_experiment, prepared, quiet_console, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(trained.directory, directory)
    (directory / "history.json").write_text("{")
    with pytest.raises(CrossDistilError, match=r"history.json is damaged"):
        Run.open(directory).history()
    assert train(shared_experiment, prepared, directory, quiet_console, resume=True).history() == trained.history()
    for data in (directory / "checkpoints").rglob("*.data*"):
        data.write_bytes(b"damaged")
    with pytest.raises(CrossDistilError, match="is damaged; train again"):
        Run.open(directory).load_best()
    with pytest.raises(CrossDistilError, match="is damaged; train again"):
        train(with_training(shared_experiment, epochs=3), prepared, directory, quiet_console, resume=True)


def test_a_run_that_cannot_start_leaves_nothing(shared_experiment, prepared, quiet_console, tmp_path):
    shutil.copytree(prepared.directory, tmp_path / prepared.directory.name)
    damaged = PreparedData.open(tmp_path / prepared.directory.name)
    damaged.vocabulary_file("word").unlink()
    with pytest.raises(CrossDistilError, match=r"cannot start a run in .*word.txt: No such file"):
        train(shared_experiment, damaged, tmp_path / "run", quiet_console)
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_before_its_first_step_leaves_nothing(
    trained, shared_experiment, prepared, quiet_console, tmp_path, monkeypatch
):
    def refuses(*arguments):
        raise UsageError("a weight of another shape")

    monkeypatch.setattr("tf_crossdistil.training.loop.warm_start", refuses)
    with pytest.raises(UsageError, match="another shape"):
        train(shared_experiment, prepared, tmp_path / "run", quiet_console, warm_start=trained.directory)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_undefined_validation_metrics_do_not_stop_a_run(shared_experiment, prepared, quiet_console, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_crossdistil.training.loop.mean_metric", lambda summary, metric: None)
    run = train(shared_experiment, prepared, tmp_path / "run", quiet_console)
    assert [entry["validation_auc"] for entry in run.history()] == [None, None]
    run.load_best()


@pytest.mark.slow
def test_a_fresh_process_trains_the_same_weights(trained, config_file, prepared, tmp_path):
    command = [sys.executable, "-m", "tf_crossdistil.cli.main", "train", config_file, "--data", prepared.directory]
    subprocess.run([*map(str, command), "--run", str(tmp_path / "run")], check=True, capture_output=True)
    assert_equal_weights(trained, Run.open(tmp_path / "run"))


def test_gauc_leaves_out_rows_of_unknown_users(trained, prepared, shared_experiment):
    predictions = SplitPredictor(trained.load_best(), shared_experiment)(prepared, "test")
    ids = np.concatenate([c["user"].numpy() for c in split_batches(prepared, shared_experiment, "test", 512)])
    unknown = (ids == 0) | (ids > prepared.metadata.vocabularies["user"].size)
    assert 0 < unknown.sum() < len(ids)
    np.testing.assert_array_equal(predictions.groups, np.where(unknown, -1, ids))
