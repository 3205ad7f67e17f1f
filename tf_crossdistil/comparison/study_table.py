# SPDX-License-Identifier: Apache-2.0
"""A table of a comparison as papers print it: methods down, metrics of tasks across, differences to one method in brackets."""

from dataclasses import dataclass
from typing import Any

from tf_crossdistil.comparison.printed_table import PrintedCell, PrintedColumn, PrintedTable, Table
from tf_crossdistil.evaluation.results import METRICS

STUDENTS, TEACHERS = "students", "teachers"


@dataclass(frozen=True)
class StudyColumn:
    """A metric of a task; `metric` is a key of `METRICS`."""

    task: str
    metric: str


@dataclass(frozen=True)
class StudyCell:
    """What the seeds say of one method, task and metric.

    Attributes:
        mean: over the seeds; None where no seed defines the metric.
        deviation: the standard deviation over the seeds; None below two.
        difference: the mean of the differences to the reference's students, seed by seed; None in the reference's own row and
            where there is none.
        significance: `**` where a paired t-test over the seeds gives p < 0.01, `*` where p < 0.05, else empty.
        rank: 1 for the best of the column's students, 2 for the second; None for all others.
        seeds: how many define the metric.
        p_value: of that test, two-sided; None below two common seeds.
    """

    mean: float | None
    deviation: float | None
    difference: float | None
    significance: str
    rank: int | None
    seeds: int = 0
    p_value: float | None = None


@dataclass(frozen=True)
class StudyRow:
    """A method's students or teachers, as `role` says, with a cell for each column of the table; `value` is of a sweep."""

    method: str
    role: str
    cells: list[StudyCell]
    value: str = ""

    @property
    def title(self) -> str:
        """What the row is called: students by their method alone, with the value of a sweep behind a comma."""
        name = self.method if self.role == STUDENTS else f"{self.method} {self.role}"
        return f"{name}, {self.value}" if self.value else name


@dataclass(frozen=True)
class StudyTable(Table):
    """One table.

    Attributes:
        name: of its files.
        title: what it shows.
        reference: the method that differences are to.
        columns: task by task.
        rows: method by method, a method's teachers below its students.
        notes: sentences on how to read it.
    """

    name: str
    title: str
    reference: str
    columns: list[StudyColumn]
    rows: list[StudyRow]
    notes: list[str]

    @property
    def heading(self) -> str:
        """Of the rows."""
        return "Method"

    def printed(self) -> PrintedTable:
        """Means with their deviations, differences in brackets."""
        columns = [PrintedColumn(column.task, METRICS[column.metric].title) for column in self.columns]
        rows = [(row.title, [_printed(*pair) for pair in zip(self.columns, row.cells, strict=True)]) for row in self.rows]
        return PrintedTable(self.heading, columns, rows)

    def records(self) -> list[dict[str, Any]]:
        """One for each method, role, task and metric."""
        return [
            {
                "method": row.method,
                "role": row.role,
                "task": column.task,
                "metric": column.metric,
                "seeds": cell.seeds,
                "mean": cell.mean,
                "deviation": cell.deviation,
                "difference": cell.difference,
                "p_value": cell.p_value,
                "significance": cell.significance,
                "rank": cell.rank,
            }
            for row in self.rows
            for column, cell in zip(self.columns, row.cells, strict=True)
        ]


def _printed(column: StudyColumn, cell: StudyCell) -> PrintedCell:
    if cell.mean is None:
        return PrintedCell("n/a")
    # Whatever goes with a mean has as many digits.
    form = METRICS[column.metric].format(cell.mean)
    deviation = "" if cell.deviation is None else f"±{cell.deviation:{form}}"
    difference = "" if cell.difference is None else f"{cell.difference:+{form}}"
    return PrintedCell(f"{cell.mean:{form}}{deviation}", difference, cell.significance, cell.rank)
