# SPDX-License-Identifier: Apache-2.0
"""Methods compared over seeds, under one budget and one selection on validation data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tf_crossdistil.comparison.cell_runner import CellRunner, Failure
from tf_crossdistil.comparison.cells import CellResult, selection_metric
from tf_crossdistil.comparison.choosing import Choosing, cell_of
from tf_crossdistil.comparison.costs import Cost, kept_costs, measure_costs
from tf_crossdistil.comparison.kept_cells import CELLS_FOLDER, kept_cells
from tf_crossdistil.comparison.method_names import configured, full_name, full_names
from tf_crossdistil.comparison.settings import Setting
from tf_crossdistil.comparison.sweep_plan import SweepPlan, check_among
from tf_crossdistil.comparison.sweeps import Sweep, gathered
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.evaluation.repeated_warnings import each_warning_once
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.checks import check_trainable
from tf_crossdistil.training.interruption import Interrupted, Terminated
from tf_crossdistil.training.pretrained import check_pretrained

# The first of them that is compared is what others are compared with.
_BASELINES = ("single", "ple")
_COSTS_FILE = "costs.json"


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
        missing: the methods and seeds asked for that lack a result, those of sweeps included.
        sweeps: what became of methods while one value changed, a sweep a key.
        costs: of training, by method; of methods that only earlier calls named, what those measured.
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
    sweeps: SweepPlan | None = None,
    jobs: int = 1,
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
        baseline: the method that others are compared with, one of `methods`; default the single model, then plain PLE, then the
            first of `methods`.
        sweeps: keys that are tried with several values; its seeds are among the others, its methods, too, default the
            configuration's own.
        jobs: how many cells are trained at a time; results do not depend on it.

    Raises:
        UsageError: a method does not exist or cannot be trained, the baseline is none of them, settings cannot be compared, or
            `out` holds something else.
        CrossDistilError: the data does not fit the configuration or has no rows of the split.
        Interrupted: Ctrl-C came; the sentence says what is kept.
        Terminated: SIGTERM came; so does its sentence.
    """
    first = settings[0]
    methods = full_names(methods, first.experiment)
    baseline = _full_baseline(baseline, methods, first.experiment)
    plan = _complete_plan(sweeps or SweepPlan(), methods, first.experiment)
    metrics = {selection_metric(setting.experiment) for setting in settings}
    if len(metrics) > 1:
        raise UsageError(f"--tune chooses by one validation metric; received {' and '.join(sorted(metrics))}")
    if not data.rows(split):
        raise CrossDistilError(f"the data has no {split} rows; check 'split' in its configuration")
    _check_cells(settings, methods, data)
    for axis in plan.axes:
        _check_cells(axis.settings, plan.methods, data)
    # It reads whole files, which no setting can change.
    check_pretrained(first.experiment, data)
    _check_out(out)
    choosing = Choosing(settings, methods, seeds, out)
    swept = [
        cell_of(method, setting, seed, out)
        for seed in plan.seeds
        for axis in plan.axes
        for method in plan.methods
        for setting in axis.settings
    ]
    for cell in [*choosing.cells, *swept]:
        cell.check_unchanged(data)
    runner = CellRunner(data, split, metrics.pop(), choosing.total + len(swept), console, jobs)
    with each_warning_once(), _told_what_is_kept(out, split):
        chosen = choosing.run(runner, console)
        sweep_results = runner.run(swept)
        trained = {method: configured(setting.experiment, method, seeds[0]) for method, setting in chosen.settings.items()}
        costs = measure_costs(trained, data, out / _COSTS_FILE)
    kept = kept_cells(out, first, split, data)
    if kept.others:
        console.print(
            f"{kept.others} finished cells in {out} are left out: they are of another configuration or other data, or damaged",
            highlight=False,
            soft_wrap=True,
        )
    grids = kept.grids | chosen.grids
    names = [*methods, *sorted({method for method, _ in kept.results} - {*methods})]
    others = {method: result.setting.experiment for (method, _), result in kept.results.items() if method not in trained}
    costs |= kept_costs(others, data, out / _COSTS_FILE)
    order = {seed: place for place, seed in enumerate(seeds)}
    return Comparison(
        methods=names,
        baseline=baseline or next((name for name in _BASELINES if name in names), names[0]),
        metric=runner.metric,
        results=[
            kept.results[key]
            for key in sorted(kept.results, key=lambda key: (names.index(key[0]), order.get(key[1], len(order)), key[1]))
        ],
        grids={name: grids[name] for name in names if name in grids},
        failures=runner.failures,
        missing=[
            *[(method, seed) for method in methods for seed in seeds if (method, seed) not in kept.results],
            *[(cell.method, cell.seed) for cell, result in zip(swept, sweep_results, strict=True) if result is None],
        ],
        sweeps=gathered(plan, [result for result in sweep_results if result is not None], kept.results),
        costs={name: costs[name] for name in names if name in costs},
    )


def _full_baseline(text: str | None, methods: Sequence[str], experiment: Experiment) -> str | None:
    if text is None:
        return None
    name = full_name(text, experiment, "--baseline")
    if name not in methods:
        raise UsageError(f"--baseline is '{name}', which is not among --methods; such are {', '.join(methods)}")
    return name


def _complete_plan(plan: SweepPlan, methods: Sequence[str], experiment: Experiment) -> SweepPlan:
    """The plan with full names of its methods."""
    if not plan.axes:
        return plan
    swept = [full_name(name, experiment, "--sweep-methods") for name in plan.methods] or [experiment.method_name]
    check_among("methods", swept, methods)
    return SweepPlan(plan.axes, swept, plan.seeds)


def _check_cells(settings: Sequence[Setting], methods: Sequence[str], data: PreparedData) -> None:
    """Refuses whatever could only fail later."""
    for setting in settings:
        for method in methods:
            check_trainable(configured(setting.experiment, method, setting.experiment.training.seed), data)


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CELLS_FOLDER).is_dir())):
        raise UsageError(f"{out} holds something that is no comparison; give another --out")
    try:
        (out / CELLS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}; give another --out") from error


@contextmanager
def _told_what_is_kept(out: Path, split: str) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, says what the next call goes on with, in place of what a single training would say."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        finished = len(list((out / CELLS_FOLDER).glob(f"*/*/seed=*/{split}.json")))
        sentence = (
            f"stopped; {finished} finished cell{'s' * (finished != 1)} and what is saved of unfinished ones are kept in {out}; "
            "the same command goes on from there"
        )
        raise (Terminated if isinstance(stop, Terminated) else Interrupted)(sentence) from stop
