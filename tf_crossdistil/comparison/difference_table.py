# SPDX-License-Identifier: Apache-2.0
"""Tables of differences, seed by seed, with their confidence intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.method_names import without_suffixes
from tf_crossdistil.comparison.paired_statistics import Estimate, estimate
from tf_crossdistil.comparison.printed_table import PrintedCell, PrintedColumn, PrintedTable, Table
from tf_crossdistil.evaluation.results import METRICS

# Of binary tasks, and of regression tasks.
_SHOWN = (("auc", "multi_auc", "log_loss"), ("mse", "rmse", "mae", "r2"))


@dataclass(frozen=True)
class DifferenceTable(Table):
    """Students of methods less those of others.

    Attributes:
        name: of its files.
        title: what it shows.
        reference: what differences are to.
        figures: of the comparison.
        reference_of: by method, the one that it is set against.
        notes: sentences on how to read it.
    """

    name: str
    title: str
    reference: str
    figures: Figures
    reference_of: dict[str, str]
    notes: list[str]

    def printed(self) -> PrintedTable:
        """Differences with half their intervals, and a star where these exclude 0."""
        columns = [PrintedColumn(task, METRICS[metric].title) for task, metric in self._columns]
        rows = [(method, [self._cell(method, *column) for column in self._columns]) for method in self.reference_of]
        return PrintedTable("Method", columns, rows)

    def records(self) -> list[dict[str, Any]]:
        """One for each method, task and metric."""
        return [
            {
                "method": method,
                "reference": reference,
                "task": task,
                "metric": metric,
                "seeds": found.seeds,
                "difference": found.mean,
                "deviation": found.deviation,
                "low": None if found.interval is None else found.interval[0],
                "high": None if found.interval is None else found.interval[1],
            }
            for method, reference in self.reference_of.items()
            for task, metric in self._columns
            for found in [self._difference(method, task, metric)]
        ]

    @property
    def _columns(self) -> list[tuple[str, str]]:
        return [(task, metric) for metrics in _SHOWN for task in self.figures.tasks_with(metrics[0]) for metric in metrics]

    def _difference(self, method: str, task: str, metric: str) -> Estimate:
        return estimate(self.figures.differences(method, self.reference_of[method], task, metric))

    def _cell(self, method: str, task: str, metric: str) -> PrintedCell:
        found = self._difference(method, task, metric)
        whole = self.figures.estimate(method, task, metric).mean
        if found.mean is None or whole is None:
            return PrintedCell("n/a")
        # As many digits as the metric itself has in its table.
        form = METRICS[metric].format(whole)
        reach = "" if found.interval is None else f"±{found.interval[1] - found.mean:{form}}"
        return PrintedCell(f"{found.mean:+{form}}{reach}", mark="*" if found.excludes_zero else "")


def difference_tables(figures: Figures) -> list[Table]:
    """`differences` to the baseline, and `suffix-differences`: what suffixes add, those of the baseline left to the first."""
    comparison, baseline = figures.comparison, figures.baseline
    if not comparison.results:
        return []
    others = [method for method in comparison.methods if method != baseline]
    suffixed = [method for method in figures.with_suffixes if without_suffixes(method) != baseline]
    tables = [
        _table("differences", baseline, figures, others, lambda method: baseline),
        _table("suffix-differences", "the same without suffixes", figures, suffixed, without_suffixes),
    ]
    return [table for table in tables if table.reference_of]


def _table(
    name: str, reference: str, figures: Figures, methods: Sequence[str], reference_of: Callable[[str], str]
) -> DifferenceTable:
    several = len({result.seed for result in figures.comparison.results}) > 1
    note = "Mean ± half its 95 % confidence interval; * where that excludes 0." if several else "One seed: no interval."
    by_method = {method: reference_of(method) for method in methods}
    return DifferenceTable(name, f"Differences to {reference}, seed by seed", reference, figures, by_method, [note])
