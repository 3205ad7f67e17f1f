# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation that take no time, for tests of comparisons."""

import logging
from collections.abc import Callable

from rich.console import Console

from tf_crossdistil.comparison import cells, compare
from tf_crossdistil.comparison.comparison_table import Figures, comparison_tables
from tf_crossdistil.models.run import Run
from tf_crossdistil.training.trainer import DivergedError

SMALL = ["training.epochs=1", "training.batch_size=2048", "model.experts.levels=1"]
DIVERGED = "the loss 'loss' became nan in epoch 1; smaller learning rates may mend it"
RATES = "training.learning_rate=0.001,1e-2"


class FakeRun:
    """Trains in no time: values depend on method, learning rate and seed; interrupts or diverges where it is told to."""

    def __init__(self, monkeypatch):
        self.trained: list[tuple[str, float, int]] = []
        self.diverge: set[tuple[str, float, int]] = set()
        self.fail: dict[tuple[str, float, int], Exception] = {}
        self.interrupt: tuple[str, float, int] | None = None
        self.further_tasks: Callable[[float], dict[str, dict[str, float]]] = lambda auc: {}
        monkeypatch.setattr(cells, "train", self.train)
        monkeypatch.setattr(cells, "evaluate", self._evaluate)
        monkeypatch.setattr(cells, "release_memory", lambda: None)
        monkeypatch.setattr(compare, "measure_costs", lambda experiments, data, file: {})

    def train(self, experiment, data, directory, console, resume=False, watched_split=None):
        training = experiment.training
        name = (experiment.method_name, training.learning_rate, training.seed)
        self.trained.append(name)
        logging.getLogger("some.module").warning("thin strata")
        run = Run.open(directory) if resume else Run.create(directory, experiment, data)
        if name in self.diverge:
            raise DivergedError("the loss 'loss' became nan in epoch 1")
        if name in self.fail:
            raise self.fail[name]
        # PLE is best with the second rate, every other method with the first.
        best = training.learning_rate == (0.01 if name[0] == "ple" else 0.001)
        value = 0.6 if best else 0.5
        run.write_history(
            [{"epoch": 1, "seconds": 2.0, "validation_auc": value}, {"epoch": 2, "seconds": 1.5, "validation_auc": 0}]
        )
        if name == self.interrupt:
            raise KeyboardInterrupt
        return run

    def _evaluate(self, run, data, split):
        method, seed = run.experiment.method_name, run.experiment.training.seed
        base, *suffixes = method.split("+")
        auc = {"ple": 0.7, "taug": 0.72, "mmoe": 0.6}[base] + 0.01 * seed * (1 if method == "taug" else 2)
        auc += 0.03 * len(suffixes)
        metrics = {"rows": 9, "auc": auc, "multi_auc": 0.5, "log_loss": None, "interval": {"low": 1}}
        tasks = {"finish": metrics} | self.further_tasks(auc)
        return type("Result", (), {"summary": {"split": split, "rows": 9, "tasks": tasks, "teachers": {}}})


def printed(comparison, width=160):
    """The tables of a comparison as text."""
    console = Console(width=width)
    with console.capture() as capture:
        for table in comparison_tables(Figures.of(comparison)):
            console.print(table)
    return capture.get()
