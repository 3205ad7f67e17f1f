# SPDX-License-Identifier: Apache-2.0
"""The result tables of the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from tf_crossdistil.evaluation.results import ResultTable, result_tables


def result_table(results: Sequence[tuple[str, dict[str, Any]]]) -> Group:
    """Tasks and metrics down, methods across, the best method of each row in bold.

    Args:
        results: name and summary of each method, at least one; the summaries are of the same rows.

    Returns:
        A table with a column for each method's students, one for its teachers, and, where true probabilities are known, one
        for the best that any model can reach. Regression tasks have a table of their own, below, with the students only.
    """
    parts = [part for shown in result_tables(results) for part in ("", _table(shown))]
    return Group(*parts[1:])


def _table(shown: ResultTable) -> Table:
    # Without edges, students and teachers with their intervals fit into 80 columns.
    table = Table("Task", Column("Metric", no_wrap=True), show_edge=False, pad_edge=False)
    for column in shown.columns:
        table.add_column(Text(column.title), justify="right", min_width=len("0.0000"))
    previous = None
    for row in shown.rows:
        if previous not in (None, row.task):
            table.add_section()
        cells = [
            Text(cell, style="bold" if is_best else "" if column.competes else "dim")
            for column, cell, is_best in zip(shown.columns, row.cells, row.is_best, strict=True)
        ]
        table.add_row(Text(row.task if row.task != previous else ""), row.metric.title, *cells)
        previous = row.task
    return table
