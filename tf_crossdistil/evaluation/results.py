# SPDX-License-Identifier: Apache-2.0
"""What was measured of each method, and the columns and rows in which every table shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.summary import amount_format, format_amount, format_value, value_format


@dataclass(frozen=True)
class MethodResult:
    """One trained method.

    Attributes:
        name: how tables and plots call it.
        summary: of `tf_crossdistil.metrics.summary.summarize`, with `"intervals"` where they were asked for.
        predictions: what the summary was computed from.
        history: one entry an epoch, each with `epoch` from 1 and the numbers logged at its end.
    """

    name: str
    summary: dict[str, Any]
    predictions: Predictions
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Metric:
    """A metric of a task in a summary.

    Attributes:
        title: of its row in tables.
        higher_is_better: None where the values nearest to 1 are best.
        has_unit: whether values may be of any magnitude, as of what has units.
    """

    title: str
    higher_is_better: bool | None
    has_unit: bool = False

    def text(self, value: float | None) -> str:
        """A value as tables show it; an undefined one is None."""
        return format_amount(value) if self.has_unit else format_value(value)

    def format(self, value: float) -> str:
        """The format of `text`, to show in the same way what goes with a value, such as its deviation."""
        return amount_format(value) if self.has_unit else value_format(value)

    def goodness(self, value: float) -> float:
        """A number that is higher the better the value."""
        if self.higher_is_better is None:
            return -abs(value - 1)
        return value if self.higher_is_better else -value


BINARY_METRICS = {
    "auc": Metric("AUC", higher_is_better=True),
    "multi_auc": Metric("Multi-AUC", higher_is_better=True),
    "gauc": Metric("GAUC", higher_is_better=True),
    "log_loss": Metric("Log loss", higher_is_better=False),
    "normalized_entropy": Metric("Normalised entropy", higher_is_better=False),
    "ece": Metric("ECE", higher_is_better=False),
    "calibration_ratio": Metric("Calibration ratio", higher_is_better=None),
}
# In the label's own units, and MSE in their square.
REGRESSION_METRICS = {
    "mse": Metric("MSE", higher_is_better=False, has_unit=True),
    "rmse": Metric("RMSE", higher_is_better=False, has_unit=True),
    "mae": Metric("MAE", higher_is_better=False, has_unit=True),
    "r2": Metric("R²", higher_is_better=True),
}
METRICS = BINARY_METRICS | REGRESSION_METRICS


@dataclass(frozen=True)
class Column:
    """A column of a result table.

    Attributes:
        title: of the column.
        competes: whether its values may be marked as best: students' may, what they are held against may not.
        values: by task and metric.
        intervals: `[low, high]` by task and metric, where they are known.
    """

    title: str
    competes: bool
    values: dict[str, dict[str, Any]]
    intervals: dict[str, dict[str, Any]]

    def text(self, task: str, metric: str) -> str:
        """A cell: `0.7436`, with its interval `0.7436 [0.7391, 0.7481]`, or nothing where the column has no such metric."""
        if metric not in self.values.get(task, {}):
            return ""
        text = METRICS[metric].text
        interval = self.intervals.get(task, {}).get(metric)
        bounds = f" [{', '.join(map(text, interval))}]" if interval else ""
        return text(self.values[task][metric]) + bounds


@dataclass(frozen=True)
class ResultRow:
    """One metric of one task: the cells of all columns, and which of them are best."""

    task: str
    metric: Metric
    cells: list[str]
    is_best: list[bool]


@dataclass(frozen=True)
class ResultTable:
    """The tasks of one kind: every row has a cell of each column."""

    columns: list[Column]
    rows: list[ResultRow]


def result_tables(results: Sequence[tuple[str, dict[str, Any]]]) -> list[ResultTable]:
    """A table of the binary tasks and one of the regression tasks, each where there are such.

    Args:
        results: name and summary of each method, at least one; the summaries are of the same rows.
    """
    tables = [ResultTable(columns, result_rows(columns)) for columns in (result_columns(results), value_columns(results))]
    return [table for table in tables if table.rows]


def result_columns(results: Sequence[tuple[str, dict[str, Any]]]) -> list[Column]:
    """Each method's students, beside them its teachers, and what the true probabilities reach, where they are known.

    Args:
        results: name and summary of each method; the summaries are of the same rows.
    """
    columns = []
    for students, (name, summary) in zip(_students(results, BINARY_METRICS), results, strict=True):
        columns.append(students)
        if summary["teachers"]:
            intervals = summary.get("intervals", {}).get("teachers", {})
            columns.append(Column(f"{name} teachers", False, summary["teachers"], intervals))
    best = next((summary["best"] for _, summary in results if summary.get("best")), None)
    return columns if best is None else [*columns, Column("best reachable", False, best, {})]


def value_columns(results: Sequence[tuple[str, dict[str, Any]]]) -> list[Column]:
    """Each method's students of regression tasks, which have neither teachers nor a best that is known."""
    return _students(results, REGRESSION_METRICS)


def result_rows(columns: Sequence[Column]) -> list[ResultRow]:
    """Every task's metrics, task by task; GAUC only where it was measured."""
    return [
        _row(columns, task, key)
        for task, metrics in columns[0].values.items()
        for key in METRICS
        if key in metrics
        if key != "gauc" or any(column.values.get(task, {}).get(key) is not None for column in columns)
    ]


def _students(results: Sequence[tuple[str, dict[str, Any]]], metrics: dict[str, Metric]) -> list[Column]:
    """A column a method, of the tasks that have these metrics."""
    return [
        Column(
            name,
            True,
            {task: values for task, values in summary["tasks"].items() if metrics.keys() & values},
            summary.get("intervals", {}).get("tasks", {}),
        )
        for name, summary in results
    ]


def _row(columns: Sequence[Column], task: str, key: str) -> ResultRow:
    metric = METRICS[key]
    values = [column.values[task][key] if column.competes else None for column in columns]
    best = max((metric.goodness(value) for value in values if value is not None), default=None)
    is_best = [value is not None and metric.goodness(value) == best for value in values]
    return ResultRow(task, metric, [column.text(task, key) for column in columns], is_best)
