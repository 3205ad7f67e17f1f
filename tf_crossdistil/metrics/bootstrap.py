# SPDX-License-Identifier: Apache-2.0
"""How sure metrics are: percentile intervals of the bootstrap (Efron, 1979)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.summary import scores_by_role

_QUANTILES = (0.025, 0.975)
_BIASED = {"ece"}


def bootstrap_intervals(
    experiment: Experiment, predictions: Predictions, resamples: int, progress: Callable[[int], None] = lambda resamples: None
) -> dict[str, Any]:
    """95 % intervals of every metric of `summarize`, without those of the best reachable scores.

    Rows of one user are alike, and intervals that take them for independent are too narrow. Where predictions have groups,
    whole groups are therefore drawn with replacement (the cluster bootstrap), a row of an unknown group being a group of its
    own; else rows are. All tasks, students and teachers are measured on the same resamples, which follow from the seed.

    Args:
        experiment: names the tasks, their auxiliary tasks and the seed.
        predictions: of every row of the split.
        resamples: how many times the rows are drawn.
        progress: called with the number of further resamples after each.

    Returns:
        `{"tasks": {task: {metric: [low, high]}}, "teachers": ...}`; None for a metric that no resample defines, and for ECE,
        whose sum of absolute differences is larger in every resample than in the rows. Resamples that lack a class are left
        out.
    """
    scores = scores_by_role(experiment, predictions)
    clusters = _clusters(predictions)
    cluster_count = int(clusters.max(initial=-1)) + 1
    weights = np.ones(len(clusters)) if predictions.weights is None else predictions.weights.astype(np.float64)
    generator = np.random.default_rng(experiment.training.seed)
    measured = []
    for _ in range(resamples):
        drawn = np.bincount(generator.integers(0, cluster_count, cluster_count), minlength=cluster_count)
        resampled = weights * drawn[clusters]
        measured.append(
            {role: {task: of_task.measure(resampled) for task, of_task in tasks.items()} for role, tasks in scores.items()}
        )
        progress(1)
    return {
        role: {
            task: {
                metric: None if metric in _BIASED else _interval([resample[role][task][metric] for resample in measured])
                for metric in measured[0][role][task]
            }
            for task in tasks
        }
        for role, tasks in scores.items()
    }


def _clusters(predictions: Predictions) -> NDArray[np.int64]:
    """What is drawn as one, numbered from 0, `[rows]`."""
    rows = np.arange(len(predictions.labels))
    if predictions.groups is None:
        return rows
    alone = np.where(predictions.groups < 0, -1 - rows, predictions.groups)
    return np.unique(alone, return_inverse=True)[1]


def _interval(values: list[float]) -> list[float] | None:
    defined = np.array(values)[np.isfinite(values)]
    return np.quantile(defined, _QUANTILES).tolist() if defined.size else None
