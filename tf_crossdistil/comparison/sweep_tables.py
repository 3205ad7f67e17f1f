# SPDX-License-Identifier: Apache-2.0
"""The numbers behind the figures of sweeps: values of a key down, metrics of tasks across."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tf_crossdistil.comparison.cells import CellResult
from tf_crossdistil.comparison.study_rows import Measured, reading_notes, study_rows
from tf_crossdistil.comparison.study_table import STUDENTS, TEACHERS, StudyColumn, StudyTable
from tf_crossdistil.comparison.sweep_names import EXCHANGE, is_exchange, named, value_text
from tf_crossdistil.comparison.sweeps import Sweep, SweepPoint

_METRICS = ("auc", "multi_auc", "log_loss")
# Names of tasks have no blanks.
_WHOLE = "mean over the tasks"
_SUMMARIES = {STUDENTS: "tasks", TEACHERS: "teachers"}


@dataclass(frozen=True)
class SweepTable(StudyTable):
    """A row for each method and value of `key`; `reference` names the configured value, which differences are to."""

    key: str = ""

    @property
    def heading(self) -> str:
        """Of the rows."""
        return f"Method, {self.key.rpartition('.')[2]}"

    def records(self) -> list[dict[str, Any]]:
        """One for each method, role, value, task and metric."""
        values = [row.value for row in self.rows for _ in self.columns]
        return [{"key": self.key, "value": value} | record for value, record in zip(values, super().records(), strict=True)]


def sweep_tables(sweeps: Sequence[Sweep]) -> list[SweepTable]:
    """A table a sweep, named as its figure; none for sweeps without results of binary tasks."""
    return [table for name, sweep in named(sweeps).items() if (table := _table(name, sweep)).columns]


def _table(name: str, sweep: Sweep) -> SweepTable:
    last = sweep.key.rpartition(".")[2]
    results = [result for point in sweep.points for result in point.results]
    tasks = list(
        dict.fromkeys(task for each in results for task, found in each.summary["tasks"].items() if "multi_auc" in found)
    )
    # As its figure shows them.
    whole = [StudyColumn(_WHOLE, "multi_auc")] if len(tasks) > 1 and not is_exchange(sweep) else []
    columns = [*whole, *(StudyColumn(task, metric) for task in tasks for metric in _METRICS)]
    measured = _measured(sweep, tasks)
    rows = study_rows(measured, columns)
    reference = f"{last} {_value(sweep, sweep.configured)}"
    notes = reading_notes(measured, columns, rows, f"the configured {reference}, of teachers to its teachers")
    if is_exchange(sweep):
        title = f"Exchanged labels of {last}"
        notes.insert(
            0, f"Values: the share of the training rows' positive {sweep.key.removeprefix(EXCHANGE)} labels that moved."
        )
    else:
        title = f"AUC, Multi-AUC and log loss by {last}"
        notes.insert(0, f"Values: of {sweep.key}; everything else is as configured.")
    if any(row.role == TEACHERS for row in rows):
        notes.append("Teachers are not ranked, since only students are served.")
    return SweepTable(name, title, reference, columns, rows, notes, sweep.key)


def _measured(sweep: Sweep, tasks: Sequence[str]) -> list[Measured]:
    """Method by method its students with each value, below them its teachers."""
    by_place = {
        (point.method, role, _value(sweep, point.value)): (point, _values(point, role, tasks))
        for method in dict.fromkeys(point.method for point in sweep.points)
        for role in _SUMMARIES
        for point in sweep.points
        if point.method == method and (role == STUDENTS or any(result.summary["teachers"] for result in point.results))
    }
    configured = _value(sweep, sweep.configured)
    return [
        Measured(
            method,
            role,
            values,
            None if value == configured else by_place.get((method, role, configured), (point, {}))[1],
            frozenset(result.seed for result in point.results),
            value,
        )
        for (method, role, value), (point, values) in by_place.items()
    ]


def _value(sweep: Sweep, value: Any) -> str:
    return value_text(value or 0 if is_exchange(sweep) else value)


def _values(point: SweepPoint, role: str, tasks: Sequence[str]) -> dict[str, dict[str, dict[int, float]]]:
    def by_seed(task: str, metric: str) -> dict[int, float]:
        return {result.seed: value for result in point.results if (value := _metric(result, role, task, metric)) is not None}

    found = {task: {metric: by_seed(task, metric) for metric in _METRICS} for task in tasks}
    by_task = [found[task]["multi_auc"] for task in tasks]
    # A mean over other tasks would be another number.
    shared = set.intersection(*map(set, by_task)) if by_task else set()
    return found | {_WHOLE: {"multi_auc": {seed: fmean(values[seed] for values in by_task) for seed in sorted(shared)}}}


def _metric(result: CellResult, role: str, task: str, metric: str) -> float | None:
    value: float | None = result.summary[_SUMMARIES[role]].get(task, {}).get(metric)
    return value
