# SPDX-License-Identifier: Apache-2.0
"""The tables of a comparison: Tables 2 to 5 of the CrossDistil paper (Yang et al., AAAI 2022), and values and costs."""

from collections.abc import Sequence

from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.cost_table import CostTable
from tf_crossdistil.comparison.method_names import without_suffixes
from tf_crossdistil.comparison.paired_statistics import estimate
from tf_crossdistil.comparison.printed_table import Table
from tf_crossdistil.comparison.study_table import STUDENTS, TEACHERS, StudyCell, StudyColumn, StudyRow, StudyTable
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.models.methods import METHODS

_WHOLE = "crossdistil"
# They distil, but not as the whole method does.
ABLATIONS = [name for name, method in METHODS.items() if method.soft_labels != "none" and method != METHODS[_WHOLE]]
# Below which p-value there is which mark, the strictest first.
_MARKS = {0.01: "**", 0.05: "*"}


def study_tables(figures: Figures) -> list[Table]:
    """Every table for which there are numbers: `results`, `ablations`, `values` of regression tasks, and `costs`.

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
    return [*(table for table in of_metrics if table.columns), *([CostTable.of(costs, baseline)] if costs else [])]


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
    ranks = [_ranks(figures, methods, column) for column in columns]
    rows = []
    for method in methods:
        students = [
            _cell(figures, method, STUDENTS, reference, column, rank.get(method))
            for column, rank in zip(columns, ranks, strict=True)
        ]
        rows.append(StudyRow(method, STUDENTS, students))
        if with_teachers and figures.teachers[method]:
            teachers = [_cell(figures, method, TEACHERS, reference, column, None) for column in columns]
            rows.append(StudyRow(method, TEACHERS, teachers))
    return StudyTable(name, title, reference, columns, rows, _notes(figures, reference, columns, rows))


def _ranks(figures: Figures, methods: Sequence[str], column: StudyColumn) -> dict[str, int]:
    """Which methods' students are best and second, equal ones alike; none where all are equal."""
    means = {method: figures.estimate(method, column.task, column.metric).mean for method in methods}
    # Means of equal values may differ by rounding.
    goodness = {
        method: float(f"{METRICS[column.metric].goodness(mean):.12g}") for method, mean in means.items() if mean is not None
    }
    first, second, *_ = [*sorted({*goodness.values()}, reverse=True), None, None]
    if second is None:
        return {}
    return {method: 1 if value == first else 2 for method, value in goodness.items() if value in (first, second)}


def _cell(figures: Figures, method: str, role: str, reference: str, column: StudyColumn, rank: int | None) -> StudyCell:
    found = figures.estimate(method, column.task, column.metric, role)
    is_reference = (method, role) == (reference, STUDENTS)
    differences = [] if is_reference else figures.differences(method, reference, column.task, column.metric, role)
    difference = estimate(differences)
    p_value = difference.p_value
    mark = "" if p_value is None else next((mark for limit, mark in _MARKS.items() if p_value < limit), "")
    return StudyCell(found.mean, found.deviation, difference.mean, mark, rank, found.seeds, p_value)


def _notes(figures: Figures, reference: str, columns: Sequence[StudyColumn], rows: Sequence[StudyRow]) -> list[str]:
    seeds = {row.method: figures.seeds(row.method) for row in rows}
    everyone = sorted(set().union(*seeds.values()))
    cells = [cell for row in rows for cell in row.cells]
    listed = ", ".join(map(str, everyone))
    if len(everyone) > 1:
        notes = [f"Mean ± standard deviation over {len(everyone)} seeds ({listed})."]
    else:
        notes = [f"One seed ({listed}): no deviation is known, and no difference can be tested."]
    if fewer := [f"{method} {len(found)}" for method, found in seeds.items() if len(found) < len(everyone)]:
        notes.append(f"With fewer seeds: {', '.join(fewer)}; differences are over the seeds that both methods have.")
    if any(cell.mean is None for cell in cells):
        notes.append("n/a: no seed gives a value.")
    if any(cell.difference is not None for cell in cells):
        notes.append(f"In brackets: the mean difference to {reference}, seed by seed.")
    elif not seeds[reference]:
        notes.append(f"{reference} has no results, so that there are no differences to it.")
    if any(cell.p_value is not None for cell in cells):
        marks = ", ".join(f"{mark} p < {limit}" for limit, mark in reversed(_MARKS.items()))
        notes.append(f"{marks}: two-sided paired t-test over the seeds, without correction for the number of comparisons.")
    lower = dict.fromkeys(METRICS[column.metric].title for column in columns if not METRICS[column.metric].higher_is_better)
    less = f"; less is better for {_and([*lower])}" if lower else ""
    notes.append(f"The best students of a column are bold, the second underlined{less}.")
    if any(row.role == TEACHERS for row in rows):
        notes.append(
            f"Teachers are not ranked, since only students are served; they, too, are set against {reference}'s students."
        )
    return notes


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
