"""What became of a method while one value of its configuration changed."""

from dataclasses import dataclass
from typing import Any

from tf_crossdistil.evaluation.cells import CellResult


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
