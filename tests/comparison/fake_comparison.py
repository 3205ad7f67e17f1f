# SPDX-License-Identifier: Apache-2.0
"""A whole comparison as a study gives it, without training: methods, seeds, sweeps, costs, and what is missing."""

import numpy as np

from tf_crossdistil.comparison.cell_runner import Failure
from tf_crossdistil.comparison.cells import CellResult
from tf_crossdistil.comparison.compare import Comparison
from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.comparison.settings import Setting
from tf_crossdistil.comparison.sweeps import Sweep, SweepPoint
from tf_crossdistil.config import Experiment

EXPERIMENT = Experiment.model_validate(
    {
        "name": "test",
        "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
        "features": [{"name": "uid", "kind": "categorical"}],
        "split": {"by": "hash", "key": ["uid"]},
    }
)
ABLATIONS = ["without_auxiliary_ranking", "without_calibration", "without_correction", "kd_same_task", "kd_cross_task"]
METHODS = ["single", "shared_bottom", "cross_stitch", "mmoe", "ple", "taug", "crossdistil", *ABLATIONS]
SEEDS = (0, 1, 2)
TASKS = {"finish": 0.72, "like": 0.84}
EPOCHS = 4


def make_result(method, seed, gain=0.0, tasks=TASKS, split="test"):
    """A cell: values depend on method, seed and `gain`; the further a task's base from 0.5, the better it is."""
    generator = np.random.default_rng([seed, round(1e6 * abs(gain)), *method.encode()])
    level = METHODS.index(method) / 1000 if method in METHODS else 0.0

    def metrics(base):
        auc = base + level + gain + 0.002 * generator.standard_normal()
        return {"rows": 100_000, "auc": auc, "multi_auc": auc - 0.03 + gain, "log_loss": 1.2 - auc}

    students = {task: metrics(base) for task, base in tasks.items()}
    has_teachers = method not in METHODS[: METHODS.index("taug")]
    teachers = {task: metrics(base + 0.004) for task, base in tasks.items()} if has_teachers else {}
    history = []
    for epoch in range(1, EPOCHS + 1):
        losses = {task: 1.2 - base - level + 0.05 / epoch + 0.004 * generator.standard_normal() for task, base in tasks.items()}
        entry = {f"{split}_{task}_log_loss": loss for task, loss in losses.items()}
        history.append({"epoch": epoch, "seconds": 2.0, f"{split}_log_loss": sum(losses.values()) / len(losses), **entry})
    summary = {"split": split, "rows": 100_000, "tasks": students, "teachers": teachers}
    return CellResult(method, seed, Setting({}, EXPERIMENT), EPOCHS, 8.0, 0.8, summary, history)


def make_sweep(key, configured, values, gain=lambda value: 0.0, methods=("crossdistil",), tasks=TASKS):
    """A sweep in which a value changes metrics by `gain(value)`."""
    points = [
        SweepPoint(method, value, [make_result(method, seed, gain(value), tasks) for seed in SEEDS])
        for method in methods
        for value in values
    ]
    return Sweep(key, configured, points)


def make_sweeps():
    """Those of the paper's Figures 3 and 5, and one over values that are no numbers."""
    return [
        make_sweep("distillation.margin", 1.0, [-4.0, -2.0, 0.0, 1.0, 2.0, 4.0], lambda value: -0.0004 * (value - 1) ** 2),
        make_sweep("distillation.beta1", 0.5, [0.0, 0.25, 0.5, 1.0, 2.0], lambda value: -0.004 * abs(value - 0.5)),
        make_sweep("distillation.beta2", 1.0, [0.01, 0.1, 1.0, 10.0], lambda value: -0.001 * abs(np.log10(value))),
        make_sweep("distillation.alpha", 0.3, [0.1, 0.3, 0.5, 0.7, 0.9], lambda value: -0.01 * (value - 0.3) ** 2),
        make_sweep("model.interaction", "none", ["none", "cross"], lambda value: 0.004 * (value == "cross")),
        make_sweep(
            "training.label_exchange.like",
            None,
            [None, 0.1, 0.3, 0.5, 0.7, 0.9],
            lambda value: -0.05 * (value or 0),
            methods=("ple", "crossdistil"),
        ),
    ]


def make_comparison(methods=METHODS, seeds=SEEDS, tasks=TASKS, sweeps=None, costs=None, failures=(), missing=()):
    """A comparison of the methods; by default whole, with costs."""
    if costs is None:
        costs = {
            method: Cost(40 + 7.5 * number, 1_250_000 + 40_000 * number, 1_180_000 + 10_000 * number, 900 + 12 * number)
            for number, method in enumerate(methods)
        }
    results = [make_result(method, seed, tasks=tasks) for method in methods for seed in seeds]
    kept = make_sweeps() if sweeps is None else sweeps
    return Comparison(list(methods), methods[0], "auc", results, {}, list(failures), list(missing), kept, costs)


def make_failure(method="ple", seed=2, error="the loss 'loss' became nan in epoch 1"):
    """A cell without a result."""
    return Failure(method, seed, Setting({}, EXPERIMENT), error)
