# SPDX-License-Identifier: Apache-2.0
"""Training with regression tasks: what is said, kept and chosen; what a run that starts from another goes on with."""

import csv
import dataclasses
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipelines.preprocess import prepare
from tests.models.small_model import small_batch, small_experiment
from tests.training.former_runs import TODAY, batch_for, former_run, fresh_model, prepared_data
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.data.evaluation_batches import evaluation_batches
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.metrics.summary import summarize
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.training import loop
from tf_crossdistil.training.checks import check_defined
from tf_crossdistil.training.scalars import Scalars
from tf_crossdistil.training.trainer import train
from tf_crossdistil.training.warm_start import check_warm_start, warm_start

ROWS = 1200
LINE = "stars: of kind regression, and trained on labels only; distillation.method crossdistil is for binary tasks"
CONTENT: dict[str, Any] = {
    "name": "mixed",
    "tasks": [
        {"name": "finish", "column": "finish"},
        {"name": "stars", "column": "stars", "kind": "regression", "optional": True},
        {"name": "like", "column": "like", "truth": "p"},
    ],
    "features": [{"name": "user", "kind": "categorical", "dim": 4}],
    "split": {"by": "hash", "key": ["row"], "fractions": [0.7, 0.15, 0.15]},
    "model": {"backbone": "shared_bottom", "experts": {"units": [8]}, "towers": [8]},
    "training": {
        "batch_size": 128,
        "strata_batch_size": 8,
        "epochs": 2,
        "learning_rate": 0.02,
        "embedding_learning_rate": 0.5,
        "early_stopping": {"metric": "mse", "patience": 2},
    },
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Stars that the user decides, in numbers far from those of a unit normal; some are missing."""
    folder, generator = tmp_path_factory.mktemp("mixed"), np.random.default_rng(0)
    with (folder / "logs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "user", "finish", "stars", "like", "p"])
        for row in range(ROWS):
            stars = "" if row % 9 == 0 else f"{1000 + 50 * (row % 5) + generator.normal(0, 10):.3f}"
            writer.writerow([row, f"u{row % 5}", generator.integers(0, 2), stars, generator.integers(0, 2), 0.5])
    experiment = parse_config(CONTENT, "mixed")
    return experiment, prepare(experiment, [str(folder / "logs.csv")], folder / "data", quiet=True)


@pytest.fixture(scope="module")
def run_and_lines(mixed, tmp_path_factory):
    console = Console(width=300)
    with console.capture() as captured:
        experiment, data = mixed
        run = train(experiment, data, tmp_path_factory.mktemp("run") / "run", console)
    return run, captured.get().splitlines()


def test_it_is_said_once_that_regressions_learn_from_labels(run_and_lines, mixed):
    _, lines = run_and_lines
    assert lines.count(LINE) == 1 and lines[0] == LINE
    assert all(" mse " in line for line in lines if " epoch " in line and "validation auc" in line)
    assert lines[-1].startswith("best validation mse ")


def test_history_and_tensorboard_have_the_regression(run_and_lines, mixed, tmp_path):
    history = run_and_lines[0].history()
    assert [entry["validation_mse"] for entry in history] == [entry["validation_stars_mse"] for entry in history]
    assert {"loss/stars", "validation_auc", "validation_like_log_loss"} <= history[0].keys()
    assert not {"loss/stars+", "loss/stars/distillation", "validation_stars_auc", "validation_like_mse"} & history[0].keys()
    values = [entry["validation_mse"] for entry in history]
    assert values[-1] < values[0] < 1e6
    best = values.index(min(values)) + 1
    assert run_and_lines[0].best_epoch().number == best
    with Scalars(tmp_path / "logs", is_writing=True) as scalars:
        scalars.add_epoch(history[0])
    assert list((tmp_path / "logs").glob("events*"))


def test_predictions_are_numbers_in_the_labels_units(run_and_lines, mixed):
    experiment, data = mixed
    run, _ = run_and_lines
    model = run.load_best()
    predictions = SplitPredictor(model, experiment)(data, "test")
    assert (predictions.tasks, list(predictions.regression)) == (["finish", "stars", "like"], ["stars"])
    assert predictions.teachers is not None and predictions.truth is not None
    values = predictions.students[:, 1]
    # The mean of the labels is 1100, and of their deviation of 71 users explain all but 10.
    errors = (values - predictions.labels[:, 1])[~np.isnan(predictions.labels[:, 1])]
    assert 0 < np.isnan(predictions.labels[:, 1]).sum() < len(values)
    assert np.sqrt(np.mean(errors**2)) < 40
    for others in (predictions.students[:, ::2], predictions.teachers[:, ::2]):
        assert ((others > 0) & (others < 1)).all()
    assert np.isnan(predictions.teachers[:, 1]).all() and np.isnan(predictions.truth[:, :2]).all()
    np.testing.assert_array_equal(predictions.truth[:, 2], 0.5)
    summary = summarize(experiment, dataclasses.replace(predictions, truth=None), "test")
    assert summary["tasks"]["stars"]["mse"] == pytest.approx(np.mean(errors**2), rel=1e-6)
    model.compile(run_eagerly=True)
    streamed = model.evaluate(evaluation_batches(data, experiment, "test"), verbose=0, return_dict=True)
    assert {name for name in streamed if name.startswith("stars")} == {f"stars/{key}" for key in ("mse", "rmse", "mae", "r2")}
    for task, keys in (("finish", ["log_loss"]), ("stars", ["mse", "mae", "r2"]), ("like", ["log_loss"])):
        for key in keys:
            assert streamed[f"{task}/{key}"] == pytest.approx(summary["tasks"][task][key], rel=1e-5)


@pytest.mark.slow
def test_a_resumed_run_ends_as_an_undisturbed_one(run_and_lines, mixed, tmp_path):
    run, _ = run_and_lines
    experiment, data = mixed
    console = Console(width=300)
    shorter = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": 1})})
    train(shorter, data, tmp_path / "run", Console(quiet=True))
    with console.capture() as captured:
        resumed = train(experiment, data, tmp_path / "run", console, resume=True)
    assert LINE not in captured.get()
    for ours, theirs in zip(run.load_best().variables, resumed.load_best().variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_early_stopping_ends_a_run_whose_error_grows(mixed, tmp_path):
    experiment, data = mixed
    content = experiment.model_dump(mode="json")
    content["training"] |= {"learning_rate": 0.2, "epochs": 40, "early_stopping": {"metric": "mse", "patience": 1}}
    run = train(parse_config(content, "mixed"), data, tmp_path / "run", Console(quiet=True))
    values = [entry["validation_mse"] for entry in run.history()]
    assert 1 < len(values) < 40
    assert values.index(min(values)) == len(values) - 2 == run.best_epoch().number - 1


MIXED: dict[str, Any] = {
    "tasks": [{"name": "finish", "column": "finish"}, {"name": "stars", "column": "stars", "kind": "regression"}],
    "features": [{"name": "user", "kind": "categorical", "dim": 3}],
    "distillation": {"method": "none"},
}


MOVED = "task 'stars': mean 20 and deviation 5 of its labels became 21.5 and 10; it goes on with the values that it gave"


def with_validation(data, **rates):
    """The data with other rates of its validation split."""
    known = data.metadata.rates
    changed = known | {"validation": known["validation"].model_copy(update=rates)}
    return dataclasses.replace(data, metadata=data.metadata.model_copy(update={"rates": changed}))


@pytest.mark.parametrize(
    ("metric", "rates", "words"),
    [
        (
            "mse",
            {"mean": {}},
            "no task has rows with a number as label; set training.early_stopping.metric to auc or multi_auc or",
        ),
        ("auc", {"positive": {"finish": 1.0, "like": 0.0}}, "no task has rows of both labels; set .* to log_loss or mse, or"),
        ("multi_auc", {"positive": {"finish": 1.0}}, "is undefined on the validation split"),
        ("log_loss", {"positive": {}, "mean": {}}, "no task has rows with a label of 0 or 1; prepare data whose validation"),
    ],
)
def test_a_metric_that_no_validation_row_defines_is_refused(mixed, tmp_path, quiet_console, metric, rates, words):
    experiment = parse_config(CONTENT | {"training": CONTENT["training"] | {"early_stopping": {"metric": metric}}}, "mixed")
    with pytest.raises(CrossDistilError, match=f"^training.early_stopping.metric: {metric}, .*{words}"):
        train(experiment, with_validation(mixed[1], **rates), tmp_path / "run", quiet_console)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("metric", ["auc", "multi_auc", "log_loss", "mse"])
def test_one_task_that_defines_a_metric_is_enough(mixed, metric):
    data = with_validation(mixed[1], positive={"finish": 1.0, "like": 0.01}, mean={"stars": 0.0})
    check_defined("tuning.metric", metric, data.metadata)


@pytest.mark.slow
def test_what_turns_out_undefined_is_said_once(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "mean_metric", lambda summary, metric: None)
    training = CONTENT["training"] | {"batch_size": 600}
    experiment = parse_config(CONTENT | {"training": training, "distillation": {"method": "none"}}, "mixed")
    console = Console(width=300)
    with console.capture() as captured:
        run = train(experiment, mixed[1], tmp_path / "run", console)
    warning = (
        "warning: validation mse, by which the best epoch is chosen, is undefined; until an epoch has one, epoch 1 is kept as "
        "the best"
    )
    assert captured.get().splitlines().count(warning) == 1 and len(run.history()) == 2
    assert run.best_epoch().number == 1


def moved_labels(data, **statistics):
    stars = data.metadata.numeric["stars"].model_copy(update=statistics)
    return dataclasses.replace(
        data, metadata=data.metadata.model_copy(update={"numeric": data.metadata.numeric | {"stars": stars}})
    )


@pytest.mark.parametrize("distillation", ["none", pytest.param("gkd", marks=pytest.mark.slow)])
def test_a_warm_start_goes_on_with_the_values_that_were_given_and_refuses_another_kind(tmp_path, distillation):
    """Whatever the labels' mean and deviation became: their standardised numbers mean others now."""
    model = {"backbone": "shared_bottom", "towers": [4], "mutual": {"distillation": distillation}}
    experiment = small_experiment(**MIXED, model=model)
    run, was, _ = former_run(tmp_path, experiment)
    data = prepared_data(tmp_path / "today", experiment, TODAY | {"user": ["u0", "u1", "日本", "u3", "u4"]})
    features = {"user": small_batch()["features"]["user"]}
    for statistics, told in (({"mean": 21.5, "deviation": 10.0}, 1), ({"mean": 20.01}, 0)):
        moved = moved_labels(data, **statistics)
        check_warm_start(run, experiment, moved)
        new = fresh_model(experiment, moved, seed=2)
        lines = [line for line in warm_start(new, run, moved) if "labels" in line]
        values, before = (each.task_outputs.answer("stars", each(features)["stars"]).numpy() for each in (new, was))
        assert np.ptp(before) > 0.1
        np.testing.assert_allclose(values, before, rtol=1e-5)
        np.testing.assert_array_equal(new(features)["finish"], was(features)["finish"])
        assert lines == [MOVED] * told
        new.train_step(
            {key: value for key, value in batch_for(experiment, 0).items() if key != "features"} | {"features": features}
        )
    binary = small_experiment(**MIXED | {"tasks": [task | {"kind": "binary"} for task in MIXED["tasks"]]}, model=model)
    with pytest.raises(UsageError, match=r"the list of their kinds is \['binary', 'binary'\], there it is \['binary', 'regr"):
        check_warm_start(run, binary, data)
