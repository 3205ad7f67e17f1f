# SPDX-License-Identifier: Apache-2.0
"""The metrics of every task of a split, as the JSON that `crossdistil evaluate` writes."""

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment
from tf_crossdistil.metrics.exact import auc, logit, multi_auc
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.ranked_rows import Floats
from tf_crossdistil.metrics.regression_scores import RegressionScores
from tf_crossdistil.metrics.task_scores import TaskScores
from tf_crossdistil.tags import ranked_classes

# From here on an exponent says more than a row of digits.
_LARGE = 1e9
# Tried as the pull of the auxiliary tasks' logits on the order of a task, relative to its own logit.
_PULLS = np.linspace(0, 1, 9, dtype=np.float32)


class Scores(Protocol):
    """What was predicted of one task, such as `TaskScores`; `rows` have its label."""

    rows: int

    def measure(self, weights: Floats) -> dict[str, float]:
        """Every metric by name, NaN where undefined, under weights of all rows, `[rows]`."""


def summarize(experiment: Experiment, predictions: Predictions, split: str) -> dict[str, Any]:
    """The metrics of one split; a metric that its rows do not define is None.

    Args:
        experiment: names the tasks and the auxiliary tasks that refine each task's order in Multi-AUC.
        predictions: of every row of the split.
        split: the split's name.

    Returns:
        `{"split", "rows", "tasks": {task: {"rows", "auc", "multi_auc", "log_loss", "normalized_entropy", "ece",
        "calibration_ratio", "gauc"}}, "teachers": ...}`, a task's rows being those that have its label, and teachers being
        alike and empty for a model without; and, where the true probabilities are known, `"best": {task: {"auc",
        "multi_auc"}}`: the best reachable AUC, and the best Multi-AUC of `best_multi_auc`. A regression task has `{"rows",
        "mse", "rmse", "mae", "r2"}` among the tasks, and no teacher.
    """
    weights = np.ones(len(predictions.labels)) if predictions.weights is None else predictions.weights.astype(np.float64)
    summary: dict[str, Any] = {"split": split, "rows": len(predictions.labels)}
    for role, scores in scores_by_role(experiment, predictions).items():
        summary[role] = {
            task: {"rows": of_task.rows} | {metric: _defined(value) for metric, value in of_task.measure(weights).items()}
            for task, of_task in scores.items()
        }
    if predictions.truth is not None:
        summary["best"] = _best_reachable(experiment, predictions, predictions.truth)
    return summary


def scores_by_role(experiment: Experiment, predictions: Predictions) -> dict[str, dict[str, Scores]]:
    """What students and teachers say of each task: `{"tasks": {task: scores}, "teachers": {task: scores}}`."""

    def scores(task: str, said: NDArray[np.float32]) -> Scores:
        column = predictions.tasks.index(task)
        labels, said = predictions.labels[:, column], said[:, column]
        if task in predictions.regression:
            return RegressionScores(labels, said)
        return TaskScores(labels, *_order(experiment, predictions, task), said, predictions.groups)

    teachers = predictions.teachers
    return {
        "tasks": {task: scores(task, predictions.students) for task in predictions.tasks},
        "teachers": {} if teachers is None else {task: scores(task, teachers) for task in predictions.binary},
    }


def best_multi_auc(
    classes: NDArray[np.int64],
    above: NDArray[np.bool_],
    own: NDArray[np.float64],
    auxiliary: list[NDArray[np.float64]],
    weights: NDArray[np.float32] | None = None,
) -> float:
    """The best Multi-AUC over the scores `logit p_k + c sum_j logit p_j`, c on a grid from 0, p the true probabilities.

    A lower bound of what is reachable: the optimal score may lie outside this family. It depends on all true
    probabilities, since the labels are independent given them, and a row's expected class rises with each.

    Args:
        classes: the class of every row, `[rows]`.
        above: which class ranks above which, `[classes, classes]`.
        own: true logits of the task, `[rows]`.
        auxiliary: true logits of its auxiliary tasks, each `[rows]`.
        weights: of the rows, `[rows]`; default 1.
    """
    others = sum(auxiliary, np.zeros_like(own))
    return max(multi_auc(classes, own + pull * others, above, weights) for pull in _PULLS)


def mean_metric(summary: dict[str, Any], metric: str) -> float | None:
    """The mean of a metric over the tasks that have and define it; None where none does.

    Args:
        summary: of `summarize`.
        metric: a key of its tasks, such as `auc`.
    """
    values = [value for task in summary["tasks"].values() if (value := task.get(metric)) is not None]
    return sum(values) / len(values) if values else None


def format_value(value: float | None) -> str:
    """Four decimals, or five digits and an exponent from 1e9; `n/a` for a value that is undefined."""
    return "n/a" if value is None else f"{value:{value_format(value)}}"


def format_amount(value: float | None) -> str:
    """Five significant digits, as of what has units, with an exponent from 1e9 and below 1e-4; `n/a` for an undefined value."""
    return "n/a" if value is None else f"{value:{amount_format(value)}}"


def value_format(value: float) -> str:
    """The format in which `format_value` shows a value."""
    return ".4f" if abs(value) < _LARGE else ".4e"


def amount_format(value: float) -> str:
    """The format in which `format_amount` shows a value."""
    if value and not 1e-4 <= abs(value) < _LARGE:
        return ".4e"
    return f",.{max(0, 4 - math.floor(math.log10(abs(value)))) if value else 4}f"


def _order(experiment: Experiment, predictions: Predictions, task: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The classes of Multi-AUC, `[rows]`, and which ranks above which."""
    order = [task, *experiment.auxiliary(task)]
    return ranked_classes(predictions.binary_labels(), predictions.binary, order)


def _best_reachable(
    experiment: Experiment, predictions: Predictions, truth: NDArray[np.float32]
) -> dict[str, dict[str, float | None]]:
    labels = dict(zip(predictions.tasks, predictions.labels.T, strict=True))
    by_task = zip(predictions.tasks, truth.T, strict=True)
    logits = {task: logit(values) for task, values in by_task if not np.isnan(values).any()}
    best = {}
    for task, own in logits.items():
        labelled = ~np.isnan(labels[task])
        classes, above = _order(experiment, predictions, task)
        auxiliary = [logits[name][labelled] for name in experiment.auxiliary(task) if name in logits]
        weights = None if predictions.weights is None else predictions.weights[labelled]
        reached = best_multi_auc(classes[labelled], above, own[labelled], auxiliary, weights)
        best[task] = {"auc": _defined(auc(labels[task], own, predictions.weights)), "multi_auc": _defined(reached)}
    return best


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
