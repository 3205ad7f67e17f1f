# SPDX-License-Identifier: Apache-2.0
"""What became of methods while one value of the configuration changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_crossdistil.comparison.cells import CellResult
from tf_crossdistil.comparison.paired_statistics import estimate
from tf_crossdistil.comparison.sweep_plan import Axis, SweepPlan
from tf_crossdistil.evaluation.results import METRICS


@dataclass(frozen=True)
class SweepPoint:
    """A method with one value of the key.

    Attributes:
        method: its full name.
        value: of the key; None where the configuration has none, such as a `training.label_exchange` of no task.
        results: one a seed; empty where every seed failed.
    """

    method: str
    value: Any
    results: list[CellResult]


@dataclass(frozen=True)
class Sweep:
    """One key of the configuration, and every method trained with each of its values.

    Attributes:
        key: such as `distillation.margin` or `training.label_exchange.like`.
        configured: the configuration's own value, which is among the points.
        points: method by method, in ascending order of the values.
    """

    key: str
    configured: Any
    points: list[SweepPoint]


def gathered(plan: SweepPlan, swept: Sequence[CellResult], usual: Mapping[tuple[str, int], CellResult]) -> list[Sweep]:
    """The sweeps of a plan.

    Args:
        plan: with methods and seeds.
        swept: the results of its cells.
        usual: those of the configuration's own values, by method and seed.
    """
    return [
        Sweep(
            axis.key, axis.configured, [point for method in plan.methods for point in _points(axis, method, plan, swept, usual)]
        )
        for axis in plan.axes
    ]


def _points(
    axis: Axis, method: str, plan: SweepPlan, swept: Sequence[CellResult], usual: Mapping[tuple[str, int], CellResult]
) -> list[SweepPoint]:
    configured = [usual[method, seed] for seed in plan.seeds if (method, seed) in usual]
    tried = {
        setting.folder: [result for result in swept if (result.method, result.setting) == (method, setting)]
        for setting in axis.settings
    }
    points = [SweepPoint(method, setting.values[axis.key], tried[setting.folder]) for setting in axis.settings]
    return in_order([SweepPoint(method, axis.configured, configured), *points])


def in_order(points: Sequence[SweepPoint]) -> list[SweepPoint]:
    """Points by ascending values, the one without a value first; as they are given where values are no numbers."""
    values = [point.value for point in points if point.value is not None]
    if not all(isinstance(value, int | float) for value in values):
        return list(points)
    return sorted(points, key=lambda point: -math.inf if point.value is None else point.value)


def sweep_document(sweep: Sweep) -> dict[str, Any]:
    """Its entry in `comparison.json`.

    Returns:
        `{"key", "configured", "points": [{"method", "value", "seeds", "tasks": {task: {metric: {"seeds", "mean",
        "deviation"}}}, "teachers": ...}]}`, where a point's `seeds` are those with a result.
    """
    return {"key": sweep.key, "configured": sweep.configured, "points": [_point_document(point) for point in sweep.points]}


def _point_document(point: SweepPoint) -> dict[str, Any]:
    return {
        "method": point.method,
        "value": point.value,
        "seeds": [result.seed for result in point.results],
        "tasks": _means(point.results, "tasks"),
        "teachers": _means(point.results, "teachers"),
    }


def _means(results: Sequence[CellResult], role: str) -> dict[str, dict[str, Any]]:
    """By task and metric, what summaries have of a role; undefined values are left out."""
    values: dict[str, dict[str, list[float]]] = {}
    for result in results:
        for task, metrics in result.summary[role].items():
            for metric in (metric for metric in metrics if metric in METRICS):
                of_metric = values.setdefault(task, {}).setdefault(metric, [])
                if metrics[metric] is not None:
                    of_metric.append(metrics[metric])
    return {task: {metric: estimate(found).moments() for metric, found in metrics.items()} for task, metrics in values.items()}
