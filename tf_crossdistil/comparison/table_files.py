# SPDX-License-Identifier: Apache-2.0
"""Tables as files and on the screen, each rendering from the same numbers."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

from tf_crossdistil.comparison.latex_table import latex
from tf_crossdistil.comparison.printed_table import PrintedCell, PrintedColumn, Table
from tf_crossdistil.comparison.split_table import SplitTable
from tf_crossdistil.comparison.study_rows import STYLES_NOTE
from tf_crossdistil.local_files import appears_whole

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#~|&$])")
_STYLES = {1: "bold", 2: "underline"}
_MARKDOWN_RANKS = {1: "**{}**", 2: "<u>{}</u>"}


def markdown(table: Table) -> str:
    """A table of GitHub's Markdown below its title, its notes as a list."""
    printed = table.printed()
    headings = [printed.heading, *map(_heading, printed.columns)]
    rows = [[_escaped(name), *map(_markdown_cell, cells)] for name, cells in printed.rows]
    lines = [
        _markdown_row(list(map(_escaped, headings))),
        _markdown_row(["---", *["---:"] * len(printed.columns)]),
        *map(_markdown_row, rows),
    ]
    notes = [f"- {_escaped(note)}" for note in table.notes]
    return "\n".join([f"### {_escaped(table.title)}", "", *lines, "", *notes, ""])


def comma_separated(table: Table) -> str:
    """Its records as CSV, below their names; undefined numbers are empty."""
    text, records = io.StringIO(), table.records()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_json(table: Table) -> str:
    """`{"name", "title", "reference", "notes", "rows"}`, the rows being its records."""
    content = {"name": table.name, "title": table.title, "reference": table.reference, "notes": table.notes}
    return json.dumps(content | {"rows": table.records()}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {
    ".md": markdown,
    ".tex": latex,
    ".csv": comma_separated,
    ".json": as_json,
}


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """Writes each table in every format, as `NAME.md` and so on; each file appears whole.

    Raises:
        CrossDistilError: a file cannot be written.
    """
    for table in tables:
        for suffix, render in FORMATS.items():
            with appears_whole(folder / f"{table.name}{suffix}") as unfinished:
                unfinished.write_text(render(table), encoding="utf-8", newline="")


def study_table_on_screen(table: Table) -> RenderableType:
    """The table as wide as the screen, its notes below."""
    printed = table.printed()
    columns = zip(*(cells for _, cells in printed.rows), strict=True)
    # So that values stand below each other, whatever follows them.
    widths = [max(len(cell.remark) for cell in column) for column in columns]
    rows = [(name, list(map(_screen_cell, cells, widths))) for name, cells in printed.rows]
    return Group(SplitTable(table.title, printed.heading, printed.columns, rows), _ScreenNotes(table.notes), "")


@dataclass(frozen=True)
class _ScreenNotes:
    """Notes below a table; of styles only where the screen has them, as a pipe has not."""

    notes: list[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text(" ".join(note for note in self.notes if note != STYLES_NOTE or console.color_system is not None))


def _heading(column: PrintedColumn) -> str:
    return " ".join(filter(None, [column.group, column.title]))


def _screen_cell(cell: PrintedCell, remark_width: int) -> Text:
    return Text.assemble((cell.value, _STYLES.get(cell.rank or 0, "")), cell.remark.ljust(remark_width))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: PrintedCell) -> str:
    return _MARKDOWN_RANKS.get(cell.rank or 0, "{}").format(_escaped(cell.value)) + _escaped(cell.remark)


def _escaped(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(r"\\\1", text)
