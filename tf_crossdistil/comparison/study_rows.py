# SPDX-License-Identifier: Apache-2.0
"""Rows of study tables from the values of seeds, and the sentences on how to read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tf_crossdistil.comparison.paired_statistics import differences, estimate
from tf_crossdistil.comparison.study_table import STUDENTS, StudyCell, StudyColumn, StudyRow
from tf_crossdistil.evaluation.results import METRICS

# By task, metric and seed.
Values = Mapping[str, Mapping[str, Mapping[int, float]]]
# What a screen without styles leaves out.
STYLES_NOTE = "The best students of a column are bold, the second underlined."
# Below which p-value there is which mark, the strictest first.
_MARKS = {0.01: "**", 0.05: "*"}


@dataclass(frozen=True)
class Measured:
    """What a row is made from.

    Attributes:
        method: its full name.
        role: students or teachers.
        values: theirs; undefined ones are left out.
        reference: the values that they are set against; None in the reference's own row.
        seeds: with which there are results.
        value: of a sweep's key, as text; empty elsewhere.
    """

    method: str
    role: str
    values: Values
    reference: Values | None
    seeds: frozenset[int]
    value: str = ""


def study_rows(measured: Sequence[Measured], columns: Sequence[StudyColumn]) -> list[StudyRow]:
    """A row each; students are ranked where they have all seeds that the most complete of them have."""
    ranks = [_ranks(measured, column) for column in columns]
    return [
        StudyRow(
            row.method,
            row.role,
            [_cell(row, column, rank.get(place)) for column, rank in zip(columns, ranks, strict=True)],
            row.value,
        )
        for place, row in enumerate(measured)
    ]


def reading_notes(measured: Sequence[Measured], columns: Sequence[StudyColumn], rows: Sequence[StudyRow], to: str) -> list[str]:
    """Sentences on seeds, brackets, marks and ranks; `to` says what differences are to."""
    whole = _largest([row.seeds for row in measured])
    others = {row.title: each.seeds for row, each in zip(rows, measured, strict=True) if each.seeds != whole}
    cells = [cell for row in rows for cell in row.cells]
    if len(whole) > 1:
        notes = [f"Mean ± standard deviation over {len(whole)} seeds ({_listed(whole)})."]
    else:
        notes = [f"One seed ({_listed(whole)}): no deviation is known, and no difference can be tested."]
    if others:
        named = ", ".join(f"{title} ({_listed(seeds) or 'none'})" for title, seeds in others.items())
        notes.append(f"With other seeds, and so not ranked: {named}; differences are over the seeds that both have.")
    if any(cell.mean is None for cell in cells):
        notes.append("n/a: no seed gives a value.")
    if any(0 < cell.seeds < len(each.seeds) for row, each in zip(rows, measured, strict=True) for cell in row.cells):
        notes.append("Where a seed gives no value, the others are shown, and that row is not ranked in that column.")
    if any(cell.difference is not None for cell in cells):
        notes.append(f"In brackets: the mean difference to {to}, seed by seed.")
    if any(cell.p_value is not None for cell in cells):
        marks = ", ".join(f"{mark} p < {limit}" for limit, mark in reversed(_MARKS.items()))
        notes.append(f"{marks}: two-sided paired t-test over the seeds, without correction for the number of comparisons.")
    lower = dict.fromkeys(METRICS[column.metric].title for column in columns if not METRICS[column.metric].higher_is_better)
    return [*notes, *([f"Less is better for {_and([*lower])}."] if lower else []), STYLES_NOTE]


def _largest(sets: Sequence[frozenset[int]]) -> frozenset[int]:
    """The first of the largest."""
    return max(sets, key=len, default=frozenset())


def _ranks(measured: Sequence[Measured], column: StudyColumn) -> dict[int, int]:
    """Which rows are best and second, equal ones alike; none where all are equal."""
    found = {place: _by_seed(row.values, column) for place, row in enumerate(measured) if row.role == STUDENTS}
    whole = _largest([frozenset(values) for values in found.values()])
    means = {place: estimate([*values.values()]).mean for place, values in found.items() if whole == {*values}}
    # Means of equal values may differ by rounding.
    goodness = {
        place: float(f"{METRICS[column.metric].goodness(mean):.12g}") for place, mean in means.items() if mean is not None
    }
    first, second, *_ = [*sorted({*goodness.values()}, reverse=True), None, None]
    if second is None:
        return {}
    return {place: 1 if value == first else 2 for place, value in goodness.items() if value in (first, second)}


def _cell(row: Measured, column: StudyColumn, rank: int | None) -> StudyCell:
    values = _by_seed(row.values, column)
    of_reference = {} if row.reference is None else _by_seed(row.reference, column)
    found = estimate([*values.values()])
    difference = estimate(differences(values, of_reference))
    p_value = difference.p_value
    mark = "" if p_value is None else next((mark for limit, mark in _MARKS.items() if p_value < limit), "")
    return StudyCell(found.mean, found.deviation, difference.mean, mark, rank, found.seeds, p_value)


def _by_seed(values: Values, column: StudyColumn) -> Mapping[int, float]:
    return values.get(column.task, {}).get(column.metric, {})


def _listed(seeds: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
