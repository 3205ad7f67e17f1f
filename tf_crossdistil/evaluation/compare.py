"""Methods compared over seeds, under one budget and one selection on validation data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tf_crossdistil.backbones.registry import BACKBONES, find_backbone
from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.evaluation.cells import Cell, CellResult, selection_metric
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.evaluation.settings import Setting
from tf_crossdistil.metrics.summary import format_value
from tf_crossdistil.models.methods import METHODS
from tf_crossdistil.schema import PreparedData, check_config_matches
from tf_crossdistil.suggest import did_you_mean

CELLS_FOLDER = "cells"


@dataclass(frozen=True)
class Failure:
    """A cell that has no result, and why."""

    method: str
    seed: int
    setting: Setting | None
    error: str

    def __str__(self) -> str:
        tuned = [str(self.setting)] if self.setting is not None and self.setting.values else []
        return " ".join([self.method, *tuned, f"seed {self.seed}"])

    def document(self) -> dict[str, Any]:
        """Its entry in `comparison.json`."""
        values = None if self.setting is None else self.setting.values
        return {"method": self.method, "seed": self.seed, "set": values, "error": self.error}


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        methods: in the order asked for.
        metric: the validation metric that chose epochs and settings.
        results: the measured cells, method by method, each method with its chosen setting.
        grids: every trained setting of each method, with the first seed; empty without tuning.
        failures: the cells without a result.
    """

    methods: list[str]
    metric: str
    results: list[CellResult]
    grids: dict[str, list[CellResult]]
    failures: list[Failure]


def compare(
    settings: Sequence[Setting],
    methods: Sequence[str],
    seeds: Sequence[int],
    data: PreparedData,
    out: Path,
    split: str,
    console: Console,
) -> Comparison:
    """Trains every method with every seed and measures it; finished cells in `out` are taken as they are.

    Where there are several settings, each method is trained with all of them and the first seed, and goes on with the one
    that is best on validation data.

    Args:
        settings: the configuration at each point of the grid, at least one.
        methods: names of backbones, which are trained without distillation, and of distillation methods, which are trained
            on the configuration's backbone.
        seeds: at least one.
        data: prepared data of the configuration.
        out: the folder of the comparison.
        split: what is measured.
        console: where progress is shown.

    Raises:
        UsageError: a method does not exist, settings cannot be compared, or `out` holds something else.
        CrossDistilError: the data does not fit the configuration or has no rows of the split.
    """
    metrics = {selection_metric(setting.experiment) for setting in settings}
    if len(metrics) > 1:
        raise UsageError(f"--tune chooses by one validation metric; received {' and '.join(sorted(metrics))}")
    for needed in ("validation", split):
        if not data.rows(needed):
            raise CrossDistilError(f"the data has no {needed} rows; check 'split' in its configuration")
    _check_out(out)
    cells = {
        (method, number, seed): _cell(method, setting, seed, out)
        for method in methods
        for number, setting in enumerate(settings)
        for seed in seeds
    }
    for cell in cells.values():
        check_config_matches(cell.experiment, data.metadata)
        cell.check_unchanged(data)
    total = len(methods) * (len(settings) + len(seeds) - 1)
    runner = _Runner(data, split, metrics.pop(), total, console)
    comparison = Comparison(list(methods), runner.metric, [], {}, runner.failures)
    for method in methods:
        tried = [runner.run(cells[method, number, seeds[0]]) for number in range(len(settings))]
        grid = [result for result in tried if result is not None]
        if len(settings) > 1:
            comparison.grids[method] = grid
        chosen = runner.best(grid) if grid else None
        if chosen is not None:
            comparison.results.append(chosen)
        if len(settings) > 1 and chosen is not None:
            console.print(f"{method}: chose {chosen.setting}", highlight=False, soft_wrap=True)
        for seed in seeds[1:]:
            if chosen is None and len(settings) > 1:
                runner.skip(method, seed)
            else:
                setting = chosen.setting if chosen is not None else settings[0]
                result = runner.run(cells[method, settings.index(setting), seed])
                comparison.results.extend([] if result is None else [result])
    return comparison


def check_method(name: str) -> None:
    """Refuses the name of what is neither a backbone nor a distillation method.

    Raises:
        UsageError: it is neither; the nearest name of both is given.
    """
    if ":" in name:
        find_backbone(name)
    elif name not in (known := [*BACKBONES, *(method for method in METHODS if method != "none")]):
        raise UsageError(f"--methods: there is no '{name}'; {did_you_mean(name, known)}")


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CELLS_FOLDER).is_dir())):
        raise UsageError(f"{out} holds something that is no comparison; give another --out")
    try:
        (out / CELLS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}; give another --out") from error


def _cell(method: str, setting: Setting, seed: int, out: Path) -> Cell:
    directory = out / CELLS_FOLDER / method.replace(":", ".") / setting.folder / f"seed={seed}"
    return Cell(method, seed, setting, _configured(setting.experiment, method, seed), directory)


def _configured(experiment: Experiment, method: str, seed: int) -> Experiment:
    """The experiment with this method and seed."""
    check_method(method)
    content = experiment.model_dump(mode="json")
    if method in METHODS:
        find_backbone(experiment.model.backbone)
        content["distillation"]["method"] = method
    else:
        content["distillation"]["method"] = "none"
        content["model"]["backbone"] = method
    content["training"]["seed"] = seed
    return parse_config(content, "--seeds")


class _Runner:
    """Runs one cell after another, tells how far it is, and keeps the failures."""

    def __init__(self, data: PreparedData, split: str, metric: str, total: int, console: Console):
        self.metric = metric
        self.failures: list[Failure] = []
        self._data, self._split, self._total, self._console = data, split, total, console
        self._number = 0
        self._training = console if console.is_terminal else Console(quiet=True)

    def run(self, cell: Cell) -> CellResult | None:
        """The cell's result; None where it failed."""
        kept = " (kept)" if cell.is_finished(self._split) else ""
        try:
            result = cell.result(self._data, self._split, self._training)
        except CrossDistilError as error:
            self._fail(Failure(cell.method, cell.seed, cell.setting, str(error)))
            return None
        self._tell(
            f"{cell}: validation {self.metric} {format_value(result.validation)}, "
            f"{result.epochs} epoch{'s' * (result.epochs != 1)}, {result.seconds:.0f} s{kept}"
        )
        return result

    def skip(self, method: str, seed: int) -> None:
        """Leaves a cell out, since no setting could be trained."""
        self._fail(Failure(method, seed, None, "no setting could be trained with the first seed"))

    def best(self, grid: Sequence[CellResult]) -> CellResult:
        """The best on validation data, the first of equals; one without a value only where none has one."""
        sign = 1 if METRICS[self.metric].higher_is_better else -1
        return max(grid, key=lambda result: -float("inf") if result.validation is None else sign * result.validation)

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._tell(f"{failure}: failed: {failure.error}")

    def _tell(self, line: str) -> None:
        self._number += 1
        self._console.print(f"{self._number}/{self._total} {line}", highlight=False, markup=False, soft_wrap=True)
