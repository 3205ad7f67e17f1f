# SPDX-License-Identifier: Apache-2.0
"""What a comparison says in numbers, as `comparison.json` and as the tables of the terminal."""

from collections.abc import Callable
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.method_names import without_suffixes
from tf_crossdistil.comparison.paired_statistics import Estimate, estimate
from tf_crossdistil.comparison.split_table import SplitTable
from tf_crossdistil.comparison.study_table import STUDENTS, TEACHERS
from tf_crossdistil.comparison.study_tables import study_tables
from tf_crossdistil.comparison.table_files import study_table_on_screen
from tf_crossdistil.evaluation.results import METRICS

__all__ = ["Figures", "comparison_document", "comparison_tables"]

# Of binary tasks, and of regression tasks.
_SHOWN = (("auc", "multi_auc", "log_loss"), ("mse", "rmse", "mae", "r2"))


def comparison_document(figures: Figures) -> dict[str, Any]:
    """The content of `comparison.json`.

    Returns:
        `{"baseline", "selected_by", "methods": {method: {"set", "tasks": {task: {metric: {"seeds", "mean", "deviation"}}}}},
        "teachers": {method: {task: {metric: {"seeds", "mean", "deviation"}}}},
        "differences": {method: {task: {metric: {"seeds", "mean", "deviation", "interval", "positive"}}}},
        "suffix_differences": ..., "grids": {method: [{"set", "validation"}]}, "failures": [{"method", "seed", "set",
        "error"}]}`: `deviation` and `interval` as in `Estimate`, null below two seeds; `positive` counts the seeds in which
        the method's value is larger, which is worse for losses and errors. Methods without teachers are not among the
        teachers. Differences are to the baseline; those of suffixes
        are of a method with suffixes to the same without, where both were measured.
    """
    comparison = figures.comparison
    chosen = {result.method: result.setting.values for result in comparison.results}
    return {
        "baseline": figures.baseline,
        "selected_by": comparison.metric,
        "methods": {
            method: {"set": chosen.get(method), "tasks": _means(figures, method, STUDENTS)} for method in comparison.methods
        },
        "teachers": {method: _means(figures, method, TEACHERS) for method, tasks in figures.teachers.items() if tasks},
        "differences": {
            method: _differences(figures, method, figures.baseline)
            for method in comparison.methods
            if method != figures.baseline
        },
        "suffix_differences": {
            method: _differences(figures, method, without_suffixes(method)) for method in figures.with_suffixes
        },
        "grids": {
            method: [{"set": result.setting.values, "validation": result.validation} for result in grid]
            for method, grid in comparison.grids.items()
        },
        "failures": [failure.document() for failure in comparison.failures],
    }


def comparison_tables(figures: Figures) -> list[RenderableType]:
    """The study tables, differences to the baseline with their intervals, and what suffixes add, each with notes below."""
    comparison, baseline = figures.comparison, figures.baseline
    failures: list[RenderableType] = [Text(f"Left out, since it failed: {failure}.") for failure in comparison.failures]
    if not comparison.results:
        return failures
    several = len({result.seed for result in comparison.results}) > 1

    def differences(title: str, methods: list[str], baseline_of: Callable[[str], str]) -> list[RenderableType]:
        note = "Mean ± half its 95 % confidence interval; * where that excludes 0." if several else "One seed: no interval."
        tables = _tables(
            f"Differences to {title}, seed by seed",
            figures,
            methods,
            lambda method, *place: _difference_text(figures, method, baseline_of(method), *place),
        )
        return [*tables, Text(note)] if methods else []

    others = [method for method in comparison.methods if method != baseline]
    suffixed = [method for method in figures.with_suffixes if without_suffixes(method) != baseline]
    return [
        *map(study_table_on_screen, study_tables(figures)),
        *failures,
        *differences(baseline, others, lambda method: baseline),
        *differences("the same without suffixes", suffixed, without_suffixes),
    ]


def _moments(found: Estimate) -> dict[str, Any]:
    return {"seeds": found.seeds, "mean": found.mean, "deviation": found.deviation}


def _means(figures: Figures, method: str, role: str) -> dict[str, dict[str, Any]]:
    tasks = figures.values_of(role)[method]
    return {
        task: {metric: _moments(figures.estimate(method, task, metric, role)) for metric in metrics}
        for task, metrics in tasks.items()
    }


def _differences(figures: Figures, method: str, baseline: str) -> dict[str, dict[str, Any]]:
    return {
        task: {metric: _difference(figures.differences(method, baseline, task, metric)) for metric in metrics}
        for task, metrics in figures.values[method].items()
    }


def _difference(values: list[float]) -> dict[str, Any]:
    found = estimate(values)
    return {**_moments(found), "interval": found.interval, "positive": sum(value > 0 for value in values)}


def _tables(title: str, figures: Figures, methods: list[str], cell: Callable[[str, str, str], Text]) -> list[RenderableType]:
    """A table of the binary tasks and one of the regression tasks, each where there are such."""
    kinds = [(metrics, figures.tasks_with(metrics[0])) for metrics in _SHOWN]
    return [_table(title, tasks, methods, metrics, cell) for metrics, tasks in kinds if tasks]


def _table(
    title: str, tasks: list[str], methods: list[str], metrics: tuple[str, ...], cell: Callable[[str, str, str], Text]
) -> SplitTable:
    """Methods down below each task, metrics across; `cell` gives the text of a method, task and metric."""
    sections = {task: [(method, [cell(method, task, metric) for metric in metrics]) for method in methods] for task in tasks}
    return SplitTable(title, "Method", [METRICS[metric].title for metric in metrics], sections)


def _difference_text(figures: Figures, method: str, baseline: str, task: str, metric: str) -> Text:
    found = estimate(figures.differences(method, baseline, task, metric))
    whole = figures.estimate(method, task, metric).mean
    if found.mean is None or whole is None:
        return Text("n/a")
    # As many digits as the metric itself has in its table.
    form = METRICS[metric].format(whole)
    text = f"{found.mean:+{form}}"
    if found.interval is None:
        return Text(text)
    reach = found.interval[1] - found.mean
    mark = "*" if found.excludes_zero else " "
    return Text(f"{text}±{reach:{form}}{mark}", "bold" if found.excludes_zero else "")
