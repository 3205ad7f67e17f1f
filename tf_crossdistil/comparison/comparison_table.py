# SPDX-License-Identifier: Apache-2.0
"""What a comparison says in numbers, as `comparison.json` and as the tables of the terminal."""

from typing import Any

from rich.console import RenderableType
from rich.text import Text

from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.difference_table import DifferenceTable
from tf_crossdistil.comparison.method_names import without_suffixes
from tf_crossdistil.comparison.paired_statistics import estimate
from tf_crossdistil.comparison.study_table import STUDENTS, TEACHERS
from tf_crossdistil.comparison.study_tables import study_tables
from tf_crossdistil.comparison.sweep_tables import SweepTable
from tf_crossdistil.comparison.sweeps import sweep_document
from tf_crossdistil.comparison.table_files import study_table_on_screen

__all__ = ["Figures", "comparison_document", "comparison_tables"]


def comparison_document(figures: Figures) -> dict[str, Any]:
    """The content of `comparison.json`.

    Returns:
        `{"baseline", "selected_by", "methods": {method: {"set", "tasks": {task: {metric: {"seeds", "mean", "deviation"}}}}},
        "teachers": {method: {task: {metric: {"seeds", "mean", "deviation"}}}},
        "differences": {method: {task: {metric: {"seeds", "mean", "deviation", "interval", "positive"}}}},
        "suffix_differences": ..., "grids": {method: [{"set", "validation"}]}, "failures": [{"method", "seed", "set",
        "error"}], "sweeps": [of `sweep_document`]}`: `deviation` and `interval` as in `Estimate`, null below two seeds;
        `positive` counts the seeds in which the method's value is larger, which is worse for losses and errors. Methods without
        teachers are not among the teachers. Differences are to the baseline; those of suffixes are of a method with suffixes to
        the same without, where both were measured.
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
        "sweeps": [sweep_document(sweep) for sweep in comparison.sweeps],
    }


def comparison_tables(figures: Figures) -> list[RenderableType]:
    """The study tables, those of sweeps only by name, and what failed; differences with their intervals come last."""
    tables = study_tables(figures)
    sweeps = [table.name for table in tables if isinstance(table, SweepTable)]
    differences = [table for table in tables if isinstance(table, DifferenceTable)]
    others = [table for table in tables if table not in differences and table.name not in sweeps]
    # As long as all other tables together.
    told: list[RenderableType] = (
        [Text(f"Left to the report page and the folder 'tables': {', '.join(sweeps)}."), ""] if sweeps else []
    )
    return [
        *map(study_table_on_screen, others),
        *told,
        *[Text(f"Left out, since it failed: {failure}.") for failure in figures.comparison.failures],
        *map(study_table_on_screen, differences),
    ]


def _means(figures: Figures, method: str, role: str) -> dict[str, dict[str, Any]]:
    tasks = figures.values_of(role)[method]
    return {
        task: {metric: figures.estimate(method, task, metric, role).moments() for metric in metrics}
        for task, metrics in tasks.items()
    }


def _differences(figures: Figures, method: str, baseline: str) -> dict[str, dict[str, Any]]:
    return {
        task: {metric: _difference(figures.differences(method, baseline, task, metric)) for metric in metrics}
        for task, metrics in figures.values[method].items()
    }


def _difference(values: list[float]) -> dict[str, Any]:
    found = estimate(values)
    return {**found.moments(), "interval": found.interval, "positive": sum(value > 0 for value in values)}
