# SPDX-License-Identifier: Apache-2.0
"""Searches whose trials are trained by a stand-in."""

import io
import math

import pytest
from rich.console import Console

from tf_crossdistil.config import Experiment
from tf_crossdistil.models.run import Run
from tf_crossdistil.tuning import search
from tf_crossdistil.tuning.space import Space

RATES = {"training.learning_rate": {"low": 0.0001, "high": 0.1, "log": True}, "distillation.alpha": {"low": 0, "high": 1}}


class FakeTraining:
    """Trains in no time: the metric is best at a learning rate of 0.003 and alpha 0.5, and grows with the epochs.

    `events` is called with the experiment and the epoch, and may raise.
    """

    def __init__(self):
        self.trained: list[tuple[float, float]] = []
        self.events = lambda experiment, epoch: None

    def train(self, experiment, data, directory, console, resume=False, warm_start=None, after_epoch=None):
        rate, alpha = experiment.training.learning_rate, experiment.distillation.alpha
        self.trained.append((rate, alpha))
        run = Run.create(directory, experiment, data)
        for kind in ("best", "last"):
            (run.checkpoints / kind).mkdir(parents=True)
            (run.checkpoints / kind / "weights").write_text("1")
        history = []
        for epoch in range(1, experiment.training.epochs + 1):
            self.events(experiment, epoch)
            auc = auc_of(rate, alpha, epoch)
            history.append({"epoch": epoch, "seconds": 1.0, "validation_auc": auc, "validation_multi_auc": 1 - auc})
            history[-1]["validation_log_loss"] = 2 - auc
            run.write_history(history)
            after_epoch(history[-1])
        return run


def auc_of(rate, alpha, epoch):
    """What the stand-in reaches; late epochs are not those of the best start."""
    distance = math.log10(rate / 0.003) ** 2 + (alpha - 0.5) ** 2
    return 0.8 - 0.05 * distance + 0.01 * epoch * (1 - alpha)


@pytest.fixture
def fake(monkeypatch):
    training = FakeTraining()
    monkeypatch.setattr(search, "train", training.train)
    monkeypatch.setattr(search, "release_memory", lambda: None)
    return training


@pytest.fixture
def experiment_with(shared_experiment):
    """The shared experiment with a tuning section, and other values in the section `training`."""

    def build(space=RATES, training=None, **tuning):
        content = shared_experiment.model_dump(mode="json")
        content["training"] |= training or {}
        return Experiment.model_validate(content | {"tuning": {"space": space} | tuning})

    return build


@pytest.fixture
def screen():
    return Console(file=io.StringIO())


@pytest.fixture
def run_search(fake, experiment_with, prepared, tmp_path, screen):
    """Runs a search; gives its result."""

    def run(trials, out="out", data=prepared, **settings):
        return search.tune(Space.of(experiment_with(**settings)), data, tmp_path / out, trials, screen)

    return run
