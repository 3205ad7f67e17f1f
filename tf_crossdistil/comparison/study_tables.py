# SPDX-License-Identifier: Apache-2.0
"""The tables of a comparison: Tables 2 to 5 of the CrossDistil paper (Yang et al., AAAI 2022), and values and costs."""

from collections.abc import Sequence

from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.cost_table import CostTable
from tf_crossdistil.comparison.difference_table import difference_tables
from tf_crossdistil.comparison.method_names import without_suffixes
from tf_crossdistil.comparison.printed_table import Table
from tf_crossdistil.comparison.study_rows import Measured, reading_notes, study_rows
from tf_crossdistil.comparison.study_table import STUDENTS, TEACHERS, StudyColumn, StudyTable
from tf_crossdistil.comparison.sweep_tables import sweep_tables
from tf_crossdistil.models.methods import METHODS

_WHOLE = "crossdistil"
# They distil, but not as the whole method does.
ABLATIONS = [name for name, method in METHODS.items() if method.soft_labels != "none" and method != METHODS[_WHOLE]]


def study_tables(figures: Figures) -> list[Table]:
    """Every table for which there are numbers.

    Those are `results`, `ablations`, `values` of regression tasks, `costs`, a table a sweep, named as its figure, `differences`
    and `suffix-differences`.

    Ablations of methods with suffixes have a table of their own for each set of suffixes, such as `ablations-gkd`. Ablations
    without CrossDistil beside them are listed with the results, as is the baseline.
    """
    methods, baseline = figures.comparison.methods, figures.baseline
    groups = _ablation_groups(figures)
    ablations = {name for group in groups.values() for name in group[1:]}
    shown = [name for name in methods if name not in ablations or name == baseline]
    of_metrics = [
        _table(figures, "results", "AUC and Multi-AUC by method", baseline, shown, ("auc", "multi_auc"), with_teachers=True),
        *(
            _table(figures, f"ablations{suffix}", f"Ablations of {group[0]}", group[0], group, ("auc", "multi_auc", "log_loss"))
            for suffix, group in groups.items()
        ),
        _table(figures, "values", "Regression tasks by method", baseline, methods, ("mse", "rmse", "mae", "r2")),
    ]
    costs = {method: cost for method in methods if (cost := figures.comparison.costs.get(method))}
    return [
        *(table for table in of_metrics if table.columns),
        *([CostTable.of(costs, baseline)] if costs else []),
        *sweep_tables(figures.comparison.sweeps),
        *difference_tables(figures),
    ]


def _ablation_groups(figures: Figures) -> dict[str, list[str]]:
    """By suffixes, CrossDistil and behind it its measured ablations, where there are both."""
    measured = [name for name in figures.comparison.methods if figures.values[name]]
    groups = {}
    for whole in (name for name in measured if without_suffixes(name) == _WHOLE):
        suffixes = whole.removeprefix(_WHOLE)
        if ablations := [name for name in (f"{each}{suffixes}" for each in ABLATIONS) if name in measured]:
            groups[suffixes.replace("+", "-")] = [whole, *ablations]
    return groups


def _table(
    figures: Figures,
    name: str,
    title: str,
    reference: str,
    methods: Sequence[str],
    metrics: Sequence[str],
    with_teachers: bool = False,
) -> StudyTable:
    columns = [StudyColumn(task, metric) for task in figures.tasks_with(metrics[0]) for metric in metrics]
    roles = [STUDENTS, TEACHERS] if with_teachers else [STUDENTS]
    measured = [
        Measured(
            method,
            role,
            figures.values_of(role)[method],
            None if (method, role) == (reference, STUDENTS) else figures.values[reference],
            frozenset(figures.seeds(method)),
        )
        for method in methods
        for role in roles
        if role == STUDENTS or figures.teachers[method]
    ]
    rows = study_rows(measured, columns)
    notes = reading_notes(measured, columns, rows, reference)
    if not figures.seeds(reference):
        notes.append(f"{reference} has no results, so that there are no differences to it.")
    if any(row.role == TEACHERS for row in rows):
        notes.append(
            f"Teachers are not ranked, since only students are served; they, too, are set against {reference}'s students."
        )
    return StudyTable(name, title, reference, columns, rows, notes)
