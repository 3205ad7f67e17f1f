# SPDX-License-Identifier: Apache-2.0
"""Tables as HTML for report pages."""

import re
from html import escape
from itertools import groupby

from tf_crossdistil.comparison.printed_table import PrintedCell, PrintedTable, Table
from tf_crossdistil.evaluation.page import note, scroll_box

_CLASSES = {1: ' class="best"', 2: ' class="second"'}
# Where a long name may go on in a further line.
_BREAKS = re.compile(r"([_.:+-])")


def html_table(table: Table) -> str:
    """A table below its title, its notes below; best values are bold and second ones underlined by class."""
    printed = table.printed()
    rows = "".join(
        f'<tr><th class="name" scope="row">{_breakable(name)}</th>{"".join(map(_cell, cells))}</tr>'
        for name, cells in printed.rows
    )
    content = f"<table><thead>{_head(printed)}</thead><tbody>{rows}</tbody></table>"
    return f"<h3>{escape(table.title)}</h3>{scroll_box(table.title, content)}{note(' '.join(table.notes))}"


def _breakable(name: str) -> str:
    """A name, escaped, that may be broken after its signs."""
    return _BREAKS.sub(r"\1<wbr>", escape(name, quote=False))


def _head(printed: PrintedTable) -> str:
    """The titles of the columns, above them their groups where there are such."""
    titles = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in printed.columns)
    corner = f'<th class="name" scope="col"{{}}>{escape(printed.heading)}</th>'
    if not any(column.group for column in printed.columns):
        return f"<tr>{corner.format('')}{titles}</tr>"
    groups = "".join(
        f'<th colspan="{len(list(columns))}" scope="colgroup">{escape(group)}</th>'
        for group, columns in groupby(printed.columns, key=lambda column: column.group)
    )
    rows_of_corner = ' rowspan="2"'
    return f"<tr>{corner.format(rows_of_corner)}{groups}</tr><tr>{titles}</tr>"


def _cell(cell: PrintedCell) -> str:
    remark = f"<small>{escape(cell.remark.strip())}</small>" if cell.remark else ""
    return f"<td{_CLASSES.get(cell.rank or 0, '')}><span>{escape(cell.value)}</span>{remark}</td>"
