# SPDX-License-Identifier: Apache-2.0
"""Which setting each method of a comparison goes on with, chosen on validation data, and the cells that this takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tf_crossdistil.comparison.cell_runner import CellRunner
from tf_crossdistil.comparison.cells import Cell, CellResult
from tf_crossdistil.comparison.kept_cells import Choice, method_folder, read_choice, write_choice
from tf_crossdistil.comparison.method_names import configured
from tf_crossdistil.comparison.settings import Setting
from tf_crossdistil.evaluation.results import METRICS


def cell_of(method: str, setting: Setting, seed: int, out: Path) -> Cell:
    """The cell of a comparison's folder."""
    directory = method_folder(out, method) / setting.folder / f"seed={seed}"
    return Cell(method, seed, setting, configured(setting.experiment, method, seed), directory)


@dataclass(frozen=True)
class Chosen:
    """The setting of each method that has one, and of tuned methods the results among which it was chosen."""

    settings: dict[str, Setting]
    grids: dict[str, list[CellResult]]


class Choosing:
    """The way of each method through its settings and seeds.

    Args:
        settings: among which is chosen, at least one.
        methods: full names.
        seeds: at least one.
        out: the folder of the comparison.
    """

    def __init__(self, settings: Sequence[Setting], methods: Sequence[str], seeds: Sequence[int], out: Path):
        self._settings, self._methods, self._seeds, self._out = settings, methods, seeds, out
        self._before = {method: read_choice(method_folder(out, method)) for method in methods}

    @property
    def total(self) -> int:
        """How many cells there will be."""
        return sum(len(self._settings) + len({*self._seeds} - {self._first_seed(method)}) for method in self._methods)

    @property
    def cells(self) -> list[Cell]:
        """All cells that may be needed."""
        return [
            cell_of(method, setting, seed, self._out)
            for method in self._methods
            for setting in self._settings
            for seed in {*self._seeds, self._first_seed(method)}
        ]

    def run(self, runner: CellRunner, console: Console) -> Chosen:
        """Trains every setting of each method with one seed, chooses, and trains the chosen ones with the other seeds."""
        return self._tuned(runner, console) if len(self._settings) > 1 else self._untuned(runner)

    def _untuned(self, runner: CellRunner) -> Chosen:
        (setting,) = self._settings
        for method, choice in self._before.items():
            self._keep(method, Choice(setting.values, None if choice is None else choice.seed))
        runner.run([cell_of(method, setting, seed, self._out) for method in self._methods for seed in self._seeds])
        return Chosen(dict.fromkeys(self._methods, setting), {})

    def _tuned(self, runner: CellRunner, console: Console) -> Chosen:
        tried = [(method, setting) for method in self._methods for setting in self._settings]
        results = runner.run([cell_of(method, setting, self._first_seed(method), self._out) for method, setting in tried])
        grids: dict[str, list[CellResult]] = {method: [] for method in self._methods}
        for result in results:
            if result is not None:
                grids[result.method].append(result)
        chosen = {method: _best(grid, runner.metric).setting for method, grid in grids.items() if grid}
        for method, setting in chosen.items():
            console.print(f"{method}: chose {setting}", highlight=False, soft_wrap=True)
            self._keep(method, Choice(setting.values, self._first_seed(method)))
        further = [(method, seed) for method in self._methods for seed in self._seeds if seed != self._first_seed(method)]
        for method, seed in further:
            if method not in chosen:
                runner.skip(method, seed)
        runner.run([cell_of(method, chosen[method], seed, self._out) for method, seed in further if method in chosen])
        return Chosen(chosen, grids)

    def _first_seed(self, method: str) -> int:
        """The seed with which a method is tuned: that of its first tuning."""
        choice = self._before[method]
        return choice.seed if len(self._settings) > 1 and choice is not None and choice.seed is not None else self._seeds[0]

    def _keep(self, method: str, choice: Choice) -> None:
        if choice != self._before[method]:
            write_choice(method_folder(self._out, method), choice)


def _best(grid: Sequence[CellResult], metric: str) -> CellResult:
    """The best on validation data, the first of equals; one without a value only where none has one."""
    sign = 1 if METRICS[metric].higher_is_better else -1
    return max(grid, key=lambda result: -float("inf") if result.validation is None else sign * result.validation)
