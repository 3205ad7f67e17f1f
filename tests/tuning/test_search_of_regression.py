# SPDX-License-Identifier: Apache-2.0
"""A search by the mean squared error of a regression task, of which less is better."""

import pytest

from tf_crossdistil.config import Experiment
from tf_crossdistil.tuning import search
from tf_crossdistil.tuning.plots import optimization_history
from tf_crossdistil.tuning.report import best_trials
from tf_crossdistil.tuning.space import Space


@pytest.fixture
def result(fake, shared_experiment, prepared, tmp_path, screen, monkeypatch):
    """Of trials whose error falls as their AUC rises, on data that has no such task."""
    content = shared_experiment.model_dump(mode="json")
    content["tasks"].append({"name": "price", "column": "price", "kind": "regression"})
    content["training"]["early_stopping"] = {"metric": "mse"}
    content["tuning"] = {
        "metric": "mse",
        "pruning": "none",
        "space": {"distillation.alpha": {"choices": [0.1, 0.4, 0.5, 0.9]}},
    }
    monkeypatch.setattr(search, "check_trainable", lambda experiment, data: None)
    monkeypatch.setattr(search, "check_defined", lambda key, metric, metadata: None)

    def train(experiment, data, directory, console, resume=False, warm_start=None, after_epoch=None):
        run = fake.train(experiment, data, directory, console, after_epoch=lambda entry: None)
        history = [entry | {"validation_mse": 1e4 * (1 - entry["validation_auc"])} for entry in run.history()]
        run.write_history(history)
        for entry in history:
            after_epoch(entry)
        return run

    monkeypatch.setattr(search, "train", train)
    return search.tune(Space.of(Experiment.model_validate(content)), prepared, tmp_path / "out", 6, screen)


def axes_of(figure):
    assert figure is not None
    return figure.axes


def test_the_least_error_wins(result, screen):
    values = [trial.value for trial in result.trials]
    assert len({*values}) > 1
    assert result.best.value == min(values) and result.ranked[0] == result.best
    assert [trial.value for trial in result.ranked] == sorted(values)
    # Five digits, whatever the units.
    assert f"validation mse {values[0]:,.1f}, best " in screen.file.getvalue()
    table = best_trials(result)
    assert table.columns[1].header == "MSE" and str(next(iter(table.columns[1].cells))) == f"{min(values):,.1f}"
    (axes,) = axes_of(optimization_history(result))
    assert axes.get_ylabel() == "Validation MSE"
    best = axes.lines[-1].get_ydata().tolist()
    assert best == sorted(best, reverse=True) and best[-1] == min(values)
