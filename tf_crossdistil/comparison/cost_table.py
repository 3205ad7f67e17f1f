# SPDX-License-Identifier: Apache-2.0
"""The table of what training costs by method, each number also relative to one method."""

from dataclasses import dataclass
from typing import Any

from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.comparison.printed_table import PrintedCell, PrintedColumn, PrintedTable, Table

# By attribute of `Cost`: heading and format.
_COLUMNS = {
    "step_milliseconds": ("Step (ms)", ".1f"),
    "parameters": ("Trained parameters", ",d"),
    "served_parameters": ("Served parameters", ",d"),
    "memory_mebibytes": ("Memory (MiB)", ",.0f"),
}


@dataclass(frozen=True)
class CostTable(Table):
    """The costs of methods, by name; `reference` is the one that they are relative to."""

    name: str
    title: str
    reference: str
    costs: dict[str, Cost]
    notes: list[str]

    @classmethod
    def of(cls, costs: dict[str, Cost], reference: str) -> "CostTable":
        """The table of costs by method."""
        notes = [
            "Step: processor time of all cores together for one training step, the median over steps; reading is not in it.",
            "Trained parameters: students, teachers and calibration; served: students only, as exported.",
            "Memory: the most that a process held which trained some steps, TensorFlow and the training rows included.",
            f"In brackets: how many times that of {reference}."
            if reference in costs
            else f"{reference} has no measured cost, so that nothing is relative to it.",
        ]
        return cls("costs", "What a training costs", reference, costs, notes)

    def printed(self) -> PrintedTable:
        """Each number, its ratio in brackets."""
        columns = [PrintedColumn("", title) for title, _ in _COLUMNS.values()]
        rows = [(method, [self._cell(method, name) for name in _COLUMNS]) for method in self.costs]
        return PrintedTable("Method", columns, rows)

    def records(self) -> list[dict[str, Any]]:
        """One a method: each number, and by `..._ratio` what it is relative to the reference's."""
        return [
            {"method": method}
            | {
                key: value
                for name in _COLUMNS
                for key, value in ((name, getattr(cost, name)), (f"{name}_ratio", self._ratio(method, name)))
            }
            for method, cost in self.costs.items()
        ]

    def _cell(self, method: str, name: str) -> PrintedCell:
        ratio = self._ratio(method, name) if method != self.reference else None
        return PrintedCell(f"{getattr(self.costs[method], name):{_COLUMNS[name][1]}}", "" if ratio is None else f"{ratio:.2f}x")

    def _ratio(self, method: str, name: str) -> float | None:
        if self.reference not in self.costs:
            return None
        ratio: float = getattr(self.costs[method], name) / getattr(self.costs[self.reference], name)
        return ratio
