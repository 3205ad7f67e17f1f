# SPDX-License-Identifier: Apache-2.0
"""Keras' `evaluate` of a trained model against the exact metrics of the same rows."""

from unittest.mock import create_autospec

import numpy as np
import pytest

from tf_crossdistil.data.evaluation_batches import evaluation_batches
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.metrics.exact import logit
from tf_crossdistil.metrics.ranking_metrics import RankingMetrics
from tf_crossdistil.metrics.summary import summarize
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.models.ranking_network import teacher_name
from tf_crossdistil.training.optimizers import composite_optimizer

# The split with the most rows: a handful of pairs that share a bin would show in the metrics of few rows.
SPLIT = "train"
# Few rows make the ECE depend on which of its bins a row beside an edge is in, and the GAUC on the pairs of a group that share
# a bin, which average out over many groups.
TOLERANCES = {"ece": 5e-3, "gauc": 2e-3}


@pytest.fixture
def model(trained, prepared):
    """The trained model with logits spread as those of a long training; after two epochs they nearly coincide."""
    model = trained.load_best()
    model.compile(optimizer=composite_optimizer(model, trained.experiment.training))
    predictions = SplitPredictor(model, trained.experiment)(prepared, SPLIT)
    for role, name in ((predictions.students, str), (predictions.teachers, teacher_name)):
        for task, deviation in zip(predictions.tasks, logit(np.asarray(role)).std(axis=0), strict=True):
            kernel = model.network.towers[name(task)].trainable_variables[2]
            kernel.assign(kernel * 3 / deviation)
    return model


@pytest.fixture
def batches(prepared, shared_experiment):
    return evaluation_batches(prepared, shared_experiment, SPLIT, batch_size=512)


def exact_metrics(model, experiment, data):
    """By the names of the streaming ones; a teacher's task has a `+`."""
    summary = summarize(experiment, SplitPredictor(model, experiment)(data, SPLIT), SPLIT)
    return {
        f"{name(task)}/{metric}": value
        for role, name in (("tasks", str), ("teachers", teacher_name))
        for task, metrics in summary[role].items()
        for metric, value in metrics.items()
        if metric != "rows"
    }


def test_evaluate_gives_the_exact_metrics_of_students_and_teachers_every_time(model, batches, shared_experiment, prepared):
    first = model.evaluate(batches, verbose=0, return_dict=True)
    # A second one begins anew, and leaves nothing of the first behind.
    assert model.evaluate(batches, verbose=0, return_dict=True) == first
    expected = exact_metrics(model, shared_experiment, prepared)
    assert {"finish/gauc", "like/multi_auc", "finish+/auc", "like+/ece"} < expected.keys()
    assert first.keys() == expected.keys()
    for name, value in expected.items():
        assert first[name] == pytest.approx(value, abs=TOLERANCES.get(name.split("/")[1], 1e-3)), name


def test_results_are_computed_once_an_evaluation(model, batches, monkeypatch):
    model.run_eagerly = True
    result = create_autospec(RankingMetrics.result, side_effect=RankingMetrics.result)
    monkeypatch.setattr(RankingMetrics, "result", result)
    model.evaluate(batches.take(3), verbose=0)
    assert result.call_count == 1


@pytest.mark.slow
def test_fit_validates_with_them_after_each_epoch(model, shared_experiment, prepared):
    model.run_eagerly = True
    batches = evaluation_batches(prepared, shared_experiment, "validation")
    training = TrainingBatches(prepared, shared_experiment, with_strata=True).epoch(0)
    history = model.fit(training, validation_data=batches, epochs=2, steps_per_epoch=1, verbose=0).history
    assert len(history["loss"]) == len(history["val_finish/gauc"]) == 2
    last = model.evaluate(batches, verbose=0, return_dict=True)
    assert {name: values[-1] for name, values in history.items() if name.startswith("val_")} == {
        f"val_{name}": value for name, value in last.items()
    }
    assert history["val_finish/log_loss"][0] != history["val_finish/log_loss"][1]
    assert not {name for name in history if "/auc" in name and not name.startswith("val_")}
