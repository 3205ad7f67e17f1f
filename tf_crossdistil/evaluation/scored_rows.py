# SPDX-License-Identifier: Apache-2.0
"""What plots of a task show of each method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.evaluation.figures import color_of, marker_of
from tf_crossdistil.evaluation.results import MethodResult

# Between this many deviations around the mean lie 95 % of a normal variable.
NORMAL_95 = 1.96

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ScoredRows:
    """What one method said about the rows that have a task's label, `[rows]`, and how it is drawn."""

    name: str
    color: str
    marker: str
    labels: Floats
    predictions: Floats
    weights: Floats | None


def scored_rows(results: Sequence[MethodResult], task: str) -> list[ScoredRows]:
    """The methods to draw; one without rows or that diverged has nothing to show."""
    every_scored = []
    for position, result in enumerate(results):
        column = result.predictions.tasks.index(task)
        labelled = ~np.isnan(result.predictions.labels[:, column])
        labels, predictions = result.predictions.labels[labelled, column], result.predictions.students[labelled, column]
        weights = None if result.predictions.weights is None else result.predictions.weights[labelled]
        has_mass = labels.size > 0 if weights is None else weights.sum() > 0
        if has_mass and np.isfinite(predictions).all():
            every_scored.append(ScoredRows(result.name, color_of(position), marker_of(position), labels, predictions, weights))
    return every_scored
