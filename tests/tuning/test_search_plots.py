# SPDX-License-Identifier: Apache-2.0
"""Plots show the numbers of the trials, with axes that say what they are."""

import pytest

from tf_crossdistil.config import Tuning
from tf_crossdistil.tuning.plots import optimization_history, parameter_importances, slices
from tf_crossdistil.tuning.results import SearchResult, TrialResult

SPACE = {"training.learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "model.towers": {"choices": [[32], [64, 32]]}}


def search_result(values, metric="auc", importances=None):
    trials = [
        TrialResult(number, state, {"training.learning_rate": 0.001 * (number + 1), "model.towers": [32]}, value, 2, 1.0, None)
        for number, (state, value) in enumerate(values)
    ]
    return SearchResult(Tuning.model_validate({"space": SPACE, "metric": metric}), trials, None, importances or {})


TRIALS = [("complete", 0.7), ("failed", None), ("pruned", 0.6), ("complete", 0.6), ("complete", 0.8)]


def axes_of(figure):
    assert figure is not None
    return figure.axes


@pytest.mark.parametrize(("metric", "best"), [("auc", [0.7, 0.7, 0.8]), ("log_loss", [0.7, 0.6, 0.6])])
def test_the_history_has_every_trial_with_a_value_and_the_best_so_far(metric, best):
    (axes,) = axes_of(optimization_history(search_result(TRIALS, metric)))
    lines = {line.get_label(): line.get_xydata().T.tolist() for line in axes.lines}
    assert lines == {"complete": [[0, 3, 4], [0.7, 0.6, 0.8]], "pruned": [[2], [0.6]], "best so far": [[0, 3, 4], best]}
    assert axes.get_xlabel() == "Trial" and axes.get_ylabel() == f"Validation {'AUC' if metric == 'auc' else 'Log loss'}"


def test_importances_are_bars_with_the_greatest_on_top():
    importances = {"training.learning_rate": 0.9, "model.towers": 0.1}
    (axes,) = axes_of(parameter_importances(search_result(TRIALS, importances=importances)))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["model.towers", "training.learning_rate"]
    assert [float(bar.get_width()) for bar in axes.containers[0]] == [0.1, 0.9]
    assert "Importance" in axes.get_xlabel()


def test_slices_have_a_panel_for_each_key():
    rates, towers = axes_of(slices(search_result(TRIALS)))
    assert (rates.get_xlabel(), rates.get_xscale(), rates.get_ylabel()) == ("training.learning_rate", "log", "Validation AUC")
    assert rates.lines[0].get_xydata()[:, 0] == pytest.approx([0.001, 0.004, 0.005])
    assert towers.get_xlabel() == "model.towers" and towers.lines[0].get_xydata()[:, 0].tolist() == [0, 0, 0]
    assert [label.get_text() for label in towers.get_xticklabels()] == ["[32]", "[64, 32]"]


def test_without_values_there_is_nothing_to_plot():
    empty = search_result([("failed", None)])
    assert [plot(empty) for plot in (optimization_history, parameter_importances, slices)] == [None, None, None]
