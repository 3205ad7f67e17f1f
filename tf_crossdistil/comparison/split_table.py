# SPDX-License-Identifier: Apache-2.0
"""A table of the terminal that a narrow screen gets in parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from tf_crossdistil.comparison.printed_table import PrintedColumn, divided

_DIVIDER = len(" │ ")


@dataclass(frozen=True)
class SplitTable:
    """Names down and columns across, in as many tables as the screen's width takes, each with all names; no cell is cut.

    Groups of columns are divided only where one is wider than the screen.

    Attributes:
        title: above each table.
        heading: of the names.
        columns: their headings.
        rows: each a name and a cell a column.
    """

    title: str
    heading: str
    columns: Sequence[PrintedColumn]
    rows: Sequence[tuple[str, list[Text]]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        names = [self.heading, *(_indented(name) for name, _ in self.rows)]
        room = options.max_width - max(map(cell_len, names))
        widths = [_DIVIDER + width for width in self._widths]
        for part in divided(widths, [column.group for column in self.columns], room):
            yield self._table(part, room)

    @property
    def _headings(self) -> list[str]:
        return ["\n".join(filter(None, [column.group, column.title])) for column in self.columns]

    @property
    def _widths(self) -> list[int]:
        return [max(map(cell_len, lines)) for lines in self._lines("\n")]

    @property
    def _word_widths(self) -> list[int]:
        return [max(map(cell_len, words)) for words in self._lines(None)]

    def _lines(self, divider: str | None) -> list[list[str]]:
        """What must not be divided in each column, its heading included."""
        return [
            [part for text in (title, *(cells[index].plain for _, cells in self.rows)) for part in text.split(divider)]
            for index, title in enumerate(self._headings)
        ]

    def _table(self, part: list[int], room: int) -> Table:
        table = Table(title=Text(self.title), title_justify="left", show_edge=False, pad_edge=False)
        # Where even one column leaves too little room, cells go on in a further line, and then names.
        table.add_column(Text(self.heading), overflow="fold")
        for index in part:
            width = min(self._widths[index], max(room - _DIVIDER, self._word_widths[index]))
            table.add_column(Text(self._headings[index]), justify="right", width=width)
        for name, cells in self.rows:
            table.add_row(Text(_indented(name)), *(self._padded(cells[index], index, room) for index in part))
        return table

    def _padded(self, cell: Text, index: int, room: int) -> Text:
        """The cell at the right of its column, blanks behind it included, which `rich` would not keep."""
        width = self._widths[index]
        if _DIVIDER + width > room:
            return cell
        return Text.assemble(" " * (width - cell.cell_len), cell, justify="left", no_wrap=True)


def _indented(name: str) -> str:
    return f" {name}"
