# SPDX-License-Identifier: Apache-2.0
r"""Tables for LaTeX.

A document that takes them in needs `\usepackage{booktabs}`; with pdfLaTeX, names beyond ASCII need its font encodings.
"""

import re
from itertools import groupby

from tf_crossdistil.comparison.printed_table import PrintedCell, PrintedColumn, PrintedTable, Table, divided

# A text width of 345 pt, as of the standard classes, in characters of small print; columns are two characters apart.
_WIDTH, _DIVIDER = 82, 2
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # At the beginning of a row they would be options of the row before.
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "²": r"$^{2}$",
}
_SPECIAL_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))
_RANKS = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def latex(table: Table) -> str:
    """A `table` environment, wide ones in several tabulars below each other; its notes follow in small print."""
    printed = table.printed()
    names = max(map(len, [printed.heading, *(name for name, _ in printed.rows)])) + _DIVIDER
    widths = [max(map(len, texts)) + _DIVIDER for texts in _texts(printed)]
    parts = divided(widths, [column.group for column in printed.columns], _WIDTH - names)
    tabulars = [_tabular(printed, part) for part in parts]
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escaped(table.title)}}}",
        rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9-]', '-', table.name)}}}",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{4pt}",
        "\n  \\par\\medskip\n".join(tabulars),
        r"  \par\medskip",
        *(rf"  {_escaped(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _texts(printed: PrintedTable) -> list[list[str]]:
    """What stands in each column, but for groups."""
    return [
        [column.title, *(cells[index].value + cells[index].remark for _, cells in printed.rows)]
        for index, column in enumerate(printed.columns)
    ]


def _tabular(printed: PrintedTable, part: list[int]) -> str:
    columns = [printed.columns[index] for index in part]
    lines = [
        rf"  \begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"    \toprule",
        *_group_lines(columns),
        _row([_escaped(printed.heading), *(_escaped(column.title) for column in columns)]),
        r"    \midrule",
        *(_row([_escaped(name), *(_cell(cells[index]) for index in part)]) for name, cells in printed.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    return "\n".join(lines)


def _group_lines(columns: list[PrintedColumn]) -> list[str]:
    """The row of the groups, each above its columns with a rule below."""
    cells, rules, first = [""], [], 2
    for group, found in groupby(column.group for column in columns):
        count = len(list(found))
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{_escaped(group)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    return [_row(cells), f"    {' '.join(rules)}"] if any(column.group for column in columns) else []


def _row(cells: list[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


def _cell(cell: PrintedCell) -> str:
    value = _RANKS.get(cell.rank or 0, "%s") % _number(cell.value)
    mark = f"$^{{{cell.mark}}}$" if cell.mark else ""
    return f"{value} ({_number(cell.bracket)}){mark}" if cell.bracket else f"{value}{mark}"


def _number(text: str) -> str:
    # A hyphen is shorter than a minus.
    return _escaped(text).replace("-", "$-$")


def _escaped(text: str) -> str:
    return _SPECIAL_PATTERN.sub(lambda found: _SPECIAL[found[0]], text)
