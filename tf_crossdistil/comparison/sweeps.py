# SPDX-License-Identifier: Apache-2.0
"""What became of methods while one value of the configuration changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_crossdistil.comparison.cells import CellResult
from tf_crossdistil.comparison.settings import Setting, grid, value_at
from tf_crossdistil.errors import UsageError


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


@dataclass(frozen=True)
class Axis:
    """The values of a key that are to be tried.

    Attributes:
        key: of the configuration.
        configured: the configuration's own value.
        settings: one a value, the configured one not among them.
    """

    key: str
    configured: Any
    settings: list[Setting]


@dataclass(frozen=True)
class SweepPlan:
    """What to sweep: every axis, with each of the `methods` and `seeds`; empty `methods` or `seeds` mean the usual ones."""

    axes: Sequence[Axis] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()


def axes(config: Path, overrides: list[str], texts: Sequence[str], setting: Setting) -> list[Axis]:
    """What `--sweep` asks for.

    Args:
        config: the configuration file.
        overrides: `KEY=VALUE`, in every setting.
        texts: `KEY=VALUE,VALUE,...` each.
        setting: the configuration without any of them.

    Raises:
        UsageError: a key or value cannot be, or is there twice.
    """
    found: list[Axis] = []
    for text in texts:
        settings = grid(config, overrides, [text], "--sweep")
        (key,) = settings[0].values
        if key in [axis.key for axis in found]:
            raise UsageError(f"--sweep has '{key}' twice; list all its values behind one")
        configured = value_at(setting.experiment, key)
        found.append(Axis(key, configured, [other for other in settings if other.experiment != setting.experiment]))
    return found


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
