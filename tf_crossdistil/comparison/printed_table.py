# SPDX-License-Identifier: Apache-2.0
"""A table as readers see it: what every rendering shows, whatever it is of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class PrintedCell:
    """A cell's text in parts.

    Attributes:
        value: such as `0.7321±0.0010`.
        bracket: what stands in brackets behind it, such as `+0.0032`; may be empty.
        mark: of significance; may be empty.
        rank: 1 is shown bold, 2 underlined.
    """

    value: str
    bracket: str = ""
    mark: str = ""
    rank: int | None = None

    @property
    def remark(self) -> str:
        """What follows the value."""
        return f" ({self.bracket}){self.mark}" if self.bracket else self.mark


@dataclass(frozen=True)
class PrintedColumn:
    """A column's heading; equal groups, such as tasks, stand beside each other and are headed once where that can be."""

    group: str
    title: str


@dataclass(frozen=True)
class PrintedTable:
    """Names of rows with a cell for each column."""

    heading: str
    columns: list[PrintedColumn]
    rows: list[tuple[str, list[PrintedCell]]]


class Table(ABC):
    """What is printed and written.

    Attributes:
        name: of its files.
        title: what it shows.
        reference: the method that the others are set against.
        notes: sentences on how to read it.
    """

    name: str
    title: str
    reference: str
    notes: list[str]

    @abstractmethod
    def printed(self) -> PrintedTable:
        """As readers see it."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Its numbers in full precision, by the names of the same plain columns in each row; None where undefined."""


def divided(widths: Sequence[int], groups: Sequence[str], room: int) -> list[list[int]]:
    """The indices of columns in parts no wider than `room`; a group is divided only where it is wider by itself.

    Args:
        widths: of the columns.
        groups: of the columns; those without one may be divided anywhere.
        room: a single column that is wider is a part of its own.
    """
    parts: list[list[int]] = [[]]

    def left() -> int:
        return room - sum(widths[index] for index in parts[-1])

    for group, found in groupby(range(len(widths)), key=lambda index: groups[index]):
        indices = list(found)
        whole = sum(widths[index] for index in indices)
        if group and parts[-1] and whole > left():
            parts.append([])
        for index in indices:
            if parts[-1] and widths[index] > left():
                parts.append([])
            parts[-1].append(index)
    return parts
