"""Methods compared over seeds, under one budget and one selection on validation data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.evaluation.cells import Cell, CellResult, selection_metric
from tf_crossdistil.evaluation.costs import Cost
from tf_crossdistil.evaluation.kept_cells import (
    CELLS_FOLDER,
    Choice,
    kept_cells,
    method_folder,
    read_choice,
    write_choice,
)
from tf_crossdistil.evaluation.method_names import configured, full_name, full_names
from tf_crossdistil.evaluation.repeated_warnings import each_warning_once
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.evaluation.settings import Setting
from tf_crossdistil.evaluation.sweeps import Sweep
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.checks import check_trainable
from tf_crossdistil.training.interruption import Interrupted, Terminated
from tf_crossdistil.training.pretrained import check_pretrained

_BASELINE = "ple"


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
        methods: their full names, in the order asked for, then others that have results in the same folder.
        baseline: the method that others are compared with.
        metric: the validation metric that chose epochs and settings.
        results: all measured cells of the folder with their method's chosen setting, method by method; the seeds asked for
            come first.
        grids: every trained setting of each tuned method, with the seed that chose.
        failures: the cells of this call without a result.
        missing: the methods and seeds asked for that have no result.
        sweeps: what became of methods while one value changed, a sweep a key.
        costs: of training, by method.
    """

    methods: list[str]
    baseline: str
    metric: str
    results: list[CellResult]
    grids: dict[str, list[CellResult]]
    failures: list[Failure]
    missing: list[tuple[str, int]]
    sweeps: list[Sweep]
    costs: dict[str, Cost]


def compare(
    settings: Sequence[Setting],
    methods: Sequence[str],
    seeds: Sequence[int],
    data: PreparedData,
    out: Path,
    split: str,
    console: Console,
    baseline: str | None = None,
) -> Comparison:
    """Trains every method with every seed and measures it; finished cells in `out` are taken as they are.

    Where there are several settings, each method is trained with all of them and one seed, and goes on with the one that is
    best on validation data. That seed is the first given when the method is first tuned in `out`, and stays the same in
    later calls, so that they choose alike.

    Args:
        settings: the configuration at each point of the grid, at least one.
        methods: names of backbones, which are trained without distillation, and of distillation methods, which are trained
            on the configuration's backbone; suffixes as in `mmoe+ctfm+gkd` say what towers learn from each other.
        seeds: at least one.
        data: prepared data of the configuration.
        out: the folder of the comparison.
        split: what is measured.
        console: where progress is shown.
        baseline: the method that others are compared with, one of `methods`; default plain PLE, or the first where it is not
            among them.

    Raises:
        UsageError: a method does not exist or cannot be trained, the baseline is none of them, settings cannot be compared, or
            `out` holds something else.
        CrossDistilError: the data does not fit the configuration or has no rows of the split.
        Interrupted: Ctrl-C came; the sentence says what is kept.
        Terminated: SIGTERM came; so does its sentence.
    """
    methods = full_names(methods, settings[0].experiment)
    baseline = _full_baseline(baseline, methods, settings[0].experiment)
    metrics = {selection_metric(setting.experiment) for setting in settings}
    if len(metrics) > 1:
        raise UsageError(f"--tune chooses by one validation metric; received {' and '.join(sorted(metrics))}")
    if not data.rows(split):
        raise CrossDistilError(f"the data has no {split} rows; check 'split' in its configuration")
    _check_cells(settings, methods, data)
    _check_out(out)
    before = {method: read_choice(method_folder(out, method)) for method in methods}
    is_tuned = len(settings) > 1
    first_seeds = {
        method: choice.seed if is_tuned and choice is not None and choice.seed is not None else seeds[0]
        for method, choice in before.items()
    }
    cells = {
        (method, number, seed): _cell(method, setting, seed, out)
        for method in methods
        for number, setting in enumerate(settings)
        for seed in {*seeds, first_seeds[method]}
    }
    for cell in cells.values():
        cell.check_unchanged(data)
    total = sum(len(settings) + len({*seeds} - {first_seeds[method]}) for method in methods)
    runner = _Runner(data, split, metrics.pop(), total, console)
    grids: dict[str, list[CellResult]] = {}
    with each_warning_once(), _told_what_is_kept(out, split):
        for method in methods:
            first, choice = first_seeds[method], before[method]
            tried = [runner.run(cells[method, number, first]) for number in range(len(settings))]
            grid = [result for result in tried if result is not None]
            further = [seed for seed in seeds if seed != first]
            if is_tuned:
                grids[method] = grid
            if is_tuned and not grid:
                for seed in further:
                    runner.skip(method, seed)
                continue
            chosen = runner.best(grid).setting if is_tuned else settings[0]
            if is_tuned:
                console.print(f"{method}: chose {chosen}", highlight=False, soft_wrap=True)
            tuned_with = first if is_tuned else None if choice is None else choice.seed
            now = Choice(chosen.values, tuned_with)
            if now != choice:
                write_choice(method_folder(out, method), now)
            for seed in further:
                runner.run(cells[method, settings.index(chosen), seed])
    kept = kept_cells(out, settings[0], split, data)
    if kept.others:
        console.print(
            f"{kept.others} finished cells in {out} are left out: they are of another configuration or other data, or damaged",
            highlight=False,
            soft_wrap=True,
        )
    names = [*methods, *sorted({method for method, _ in kept.results} - {*methods})]
    order = {seed: place for place, seed in enumerate(seeds)}
    return Comparison(
        methods=names,
        baseline=baseline or (_BASELINE if _BASELINE in names else names[0]),
        metric=runner.metric,
        results=[
            kept.results[key]
            for key in sorted(kept.results, key=lambda key: (names.index(key[0]), order.get(key[1], len(order)), key[1]))
        ],
        grids={
            name: grids[name] if name in grids else kept.grids[name] for name in names if name in grids or name in kept.grids
        },
        failures=runner.failures,
        missing=[(method, seed) for method in methods for seed in seeds if (method, seed) not in kept.results],
        sweeps=[],
        costs={},
    )


def _full_baseline(text: str | None, methods: Sequence[str], experiment: Experiment) -> str | None:
    if text is None:
        return None
    name = full_name(text, experiment, "--baseline")
    if name not in methods:
        raise UsageError(f"--baseline is '{name}', which is not among --methods; such are {', '.join(methods)}")
    return name


def _check_cells(settings: Sequence[Setting], methods: Sequence[str], data: PreparedData) -> None:
    """Refuses whatever could only fail later."""
    for setting in settings:
        for method in methods:
            check_trainable(configured(setting.experiment, method, setting.experiment.training.seed), data)
    # It reads whole files, which no setting can change.
    check_pretrained(settings[0].experiment, data)


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CELLS_FOLDER).is_dir())):
        raise UsageError(f"{out} holds something that is no comparison; give another --out")
    try:
        (out / CELLS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}; give another --out") from error


def _cell(method: str, setting: Setting, seed: int, out: Path) -> Cell:
    directory = method_folder(out, method) / setting.folder / f"seed={seed}"
    return Cell(method, seed, setting, configured(setting.experiment, method, seed), directory)


@contextmanager
def _told_what_is_kept(out: Path, split: str) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, says what the next call goes on with, in place of what a single training would say."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        finished = len(list((out / CELLS_FOLDER).glob(f"*/*/seed=*/{split}.json")))
        sentence = (
            f"stopped; {finished} finished cell{'s' * (finished != 1)} and what is saved of the last one are kept in {out}; "
            "the same command goes on from there"
        )
        raise (Terminated if isinstance(stop, Terminated) else Interrupted)(sentence) from stop


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
        except Exception as error:
            # The user's own code may fail in any way; other cells need not.
            message = str(error) if isinstance(error, CrossDistilError) else f"{type(error).__name__}: {error}"
            self._fail(Failure(cell.method, cell.seed, cell.setting, message))
            return None
        self._tell(
            f"{cell}: validation {self.metric} {METRICS[self.metric].text(result.validation)}, "
            f"{result.epochs} epoch{'s' * (result.epochs != 1)}, {result.seconds:.0f} s{kept}"
        )
        return result

    def skip(self, method: str, seed: int) -> None:
        """Leaves a cell out, since no setting could be trained."""
        self._fail(Failure(method, seed, None, "no setting could be trained"))

    def best(self, grid: Sequence[CellResult]) -> CellResult:
        """The best on validation data, the first of equals; one without a value only where none has one."""
        sign = 1 if METRICS[self.metric].higher_is_better else -1
        return max(grid, key=lambda result: -float("inf") if result.validation is None else sign * result.validation)

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._tell(f"{failure}: failed: {' '.join(failure.error.split())}")

    def _tell(self, line: str) -> None:
        self._number += 1
        self._console.print(f"{self._number}/{self._total} {line}", highlight=False, markup=False, soft_wrap=True)
