"""A table of a comparison as papers print it: methods down, metrics of tasks across, differences to one method in brackets."""

from dataclasses import dataclass


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
    """

    mean: float | None
    deviation: float | None
    difference: float | None
    significance: str
    rank: int | None


@dataclass(frozen=True)
class StudyRow:
    """A method's students or teachers, with a cell for each column of the table."""

    method: str
    role: str
    cells: list[StudyCell]


@dataclass(frozen=True)
class StudyTable:
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
