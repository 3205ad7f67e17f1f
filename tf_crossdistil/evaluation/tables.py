"""The result table of the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from tf_crossdistil.evaluation.results import result_rows
from tf_crossdistil.metrics.summary import format_value


def result_table(results: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Tasks and metrics down, methods across, the best method of each row in bold.

    Args:
        results: name and summary of each method, at least one; the summaries are of the same rows.

    Returns:
        A table whose last column, where true probabilities are known, is the best that any model can reach.
    """
    names = [name for name, _ in results]
    rows = result_rows([summary for _, summary in results])
    with_reachable = any(row.reachable is not None for row in rows)
    table = Table("Task", "Metric")
    for name in [*names, "best reachable"] if with_reachable else names:
        table.add_column(Text(name), justify="right", min_width=len("0.0000"))
    previous = None
    for row in rows:
        if previous not in (None, row.task):
            table.add_section()
        values = [Text(format_value(value), style="bold" if row.is_best(value) else "") for value in row.values]
        reachable = [Text(format_value(row.reachable), style="dim")] if with_reachable else []
        table.add_row(Text(row.task if row.task != previous else ""), row.metric.title, *values, *reachable)
        previous = row.task
    return table
