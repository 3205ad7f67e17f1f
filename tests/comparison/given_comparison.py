# SPDX-License-Identifier: Apache-2.0
"""Figures of given numbers, for tests of tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_crossdistil.comparison.cells import CellResult
from tf_crossdistil.comparison.compare import Comparison
from tf_crossdistil.comparison.comparison_table import Figures
from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.comparison.settings import Setting

# By task and metric; in lists, one a seed.
Values = Mapping[str, Mapping[str, Sequence[float | None]]]


def given(
    students: Mapping[str, Values],
    baseline: str,
    teachers: Mapping[str, Values] | None = None,
    costs: dict[str, Cost] | None = None,
    first_seeds: Mapping[str, int] | None = None,
) -> Figures:
    """The figures of methods with these values; seeds count up from 0, or from a method's first seed."""
    results = []
    for method, values in students.items():
        number = max((len(column) for metrics in values.values() for column in metrics.values()), default=0)
        for index in range(number):
            summary = {
                "tasks": _of_seed(values, index),
                "teachers": _of_seed((teachers or {}).get(method, {}), index),
            }
            seed = (first_seeds or {}).get(method, 0) + index
            # No table looks at the experiment.
            results.append(CellResult(method, seed, Setting({}, None), 1, 1.0, None, summary, []))  # type: ignore[arg-type]
    return Figures.of(Comparison([*students], baseline, "auc", results, {}, [], [], [], costs or {}))


def _of_seed(values: Values, index: int) -> dict[str, dict[str, Any]]:
    return {
        task: {"rows": 9} | {metric: column[index] for metric, column in metrics.items()} for task, metrics in values.items()
    }
