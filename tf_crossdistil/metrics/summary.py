"""The metrics of every task of a split, as the JSON that `crossdistil evaluate` writes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment
from tf_crossdistil.metrics.exact import auc, expected_calibration_error, grouped_auc, log_loss, logit, multi_auc
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.tags import multipartite_classes, tag_codes

# Tried as the pull of the auxiliary tasks' logits on the order of a task, relative to its own logit.
_PULLS = np.linspace(0, 1, 9, dtype=np.float32)


def summarize(experiment: Experiment, predictions: Predictions, split: str) -> dict[str, Any]:
    """The metrics of one split; a metric that its rows do not define is None.

    Args:
        experiment: names the tasks and the auxiliary tasks that refine each task's order in Multi-AUC.
        predictions: of every row of the split.
        split: the split's name.

    Returns:
        `{"split", "rows", "tasks": {task: {"auc", "multi_auc", "log_loss", "ece", "gauc"}}, "teachers": {task: {"auc",
        "multi_auc"}}}`, teachers being empty for a model without; and, where the true probabilities are known, `"best"`
        like teachers: the best reachable AUC, and the best Multi-AUC of `best_multi_auc`.
    """
    tasks = predictions.tasks
    codes = tag_codes(predictions.labels)
    classes = {task: multipartite_classes(tasks, task, experiment.auxiliary(task))[codes] for task in tasks}
    labels = _by_task(tasks, predictions.labels)
    students = _by_task(tasks, predictions.students)
    teachers = _by_task(tasks, predictions.teachers)
    groups = predictions.groups
    summary: dict[str, Any] = {
        "split": split,
        "rows": len(predictions.labels),
        "tasks": {
            task: {
                **_ranking(labels[task], classes[task], probabilities),
                "log_loss": _defined(log_loss(labels[task], probabilities)),
                "ece": _defined(expected_calibration_error(labels[task], probabilities)),
                "gauc": None if groups is None else _defined(grouped_auc(labels[task], probabilities, groups)),
            }
            for task, probabilities in students.items()
        },
        "teachers": {task: _ranking(labels[task], classes[task], scores) for task, scores in teachers.items()},
    }
    if predictions.truth is not None:
        truth = _by_task(tasks, predictions.truth)
        logits = {task: logit(values) for task, values in truth.items() if not np.isnan(values).any()}
        summary["best"] = {
            task: {
                "auc": _defined(auc(labels[task], own)),
                "multi_auc": _defined(
                    best_multi_auc(classes[task], own, [logits[name] for name in experiment.auxiliary(task) if name in logits])
                ),
            }
            for task, own in logits.items()
        }
    return summary


def best_multi_auc(classes: NDArray[np.int64], own: NDArray[np.float64], auxiliary: list[NDArray[np.float64]]) -> float:
    """The best Multi-AUC over the scores `logit p_k + c sum_j logit p_j`, c on a grid from 0, p the true probabilities.

    A lower bound of what is reachable: the optimal score may lie outside this family. It depends on all true
    probabilities, since the labels are independent given them, and a row's expected class rises with each.

    Args:
        classes: the multipartite class of every row, `[rows]`.
        own: true logits of the task, `[rows]`.
        auxiliary: true logits of its auxiliary tasks, each `[rows]`.
    """
    others = sum(auxiliary, np.zeros_like(own))
    return max(multi_auc(classes, own + pull * others) for pull in _PULLS)


def mean_metric(summary: dict[str, Any], metric: str) -> float | None:
    """The mean of a metric over the tasks that define it; None where none does.

    Args:
        summary: of `summarize`.
        metric: a key of its tasks, such as `auc`.
    """
    values = [task[metric] for task in summary["tasks"].values() if task[metric] is not None]
    return sum(values) / len(values) if values else None


def format_value(value: float | None) -> str:
    """Four decimals; `n/a` for a value that is undefined."""
    return "n/a" if value is None else f"{value:.4f}"


def _by_task(tasks: list[str], values: NDArray[np.float32] | None) -> dict[str, NDArray[np.float32]]:
    return {} if values is None else dict(zip(tasks, values.T, strict=True))


def _ranking(labels: NDArray[np.float32], classes: NDArray[np.int64], scores: NDArray[np.float32]) -> dict[str, float | None]:
    return {"auc": _defined(auc(labels, scores)), "multi_auc": _defined(multi_auc(classes, scores))}


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
