# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison: what one value of the configuration does, learning curves, exchanged labels, costs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from tf_crossdistil.comparison.cells import CellResult
from tf_crossdistil.comparison.compare import Comparison
from tf_crossdistil.comparison.cost_bars import cost_bars
from tf_crossdistil.comparison.method_names import without_suffixes
from tf_crossdistil.comparison.seed_lines import Axis, Line, Panel, seed_lines
from tf_crossdistil.comparison.sweep_names import EXCHANGE, is_exchange, named, value_text
from tf_crossdistil.comparison.sweeps import Sweep, SweepPoint
from tf_crossdistil.evaluation.figures import line_style_of, to_svg_file
from tf_crossdistil.evaluation.page import Plot
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.local_files import appears_whole

# What learning curves show beside each other: with and without error correction.
_CORRECTION = ("crossdistil", "without_correction")
# A summary's name for each role, how lines of it look, and what the legend adds to the method's name.
_ROLES = (("tasks", "-", ""), ("teachers", "--", " teachers"))
_SWEEP_NEEDS = "two values with results of a binary task"

_Read = Callable[[CellResult], float | None]


def comparison_plots(comparison: Comparison) -> dict[str, Plot]:
    """All figures by the name of their file; those that cannot be drawn say what they need."""
    sweeps = named(comparison.sweeps)
    return {
        **{name: sweep_plot(comparison, sweep) for name, sweep in sweeps.items() if not is_exchange(sweep)},
        "loss-curves": loss_curves(comparison),
        **{name: exchange_drop(comparison, sweep) for name, sweep in sweeps.items() if is_exchange(sweep)},
        "costs": cost_plot(comparison),
    }


def write_figures(folder: Path, comparison: Comparison) -> None:
    """Writes each figure as an SVG file of its own with a white background, the same bytes for the same comparison.

    Args:
        folder: of the files `sweep-<last part of the key>.svg`, `loss-curves.svg`, `label-exchange.svg` (where labels of
            several tasks were exchanged, `label-exchange-<task>.svg`) and `costs.svg`.
        comparison: what to draw.

    Raises:
        CrossDistilError: a file cannot be written.
    """
    for name, plot in comparison_plots(comparison).items():
        if plot.figure is not None:
            with appears_whole(folder / f"{name}.svg") as unfinished:
                unfinished.write_text(to_svg_file(plot.figure, plot.description), encoding="utf-8")


def sweep_plot(comparison: Comparison, sweep: Sweep) -> Plot:
    """Multi-AUC of students and teachers over the values of a key: mean over the binary tasks, and each task."""
    values = [point.value for point in sweep.points]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    categories = [] if numeric else list(dict.fromkeys(map(value_text, values)))

    def place(value: Any) -> float:
        return float(value) if numeric else categories.index(value_text(value))

    def panel(title: str, tasks: Sequence[str]) -> Panel:
        return _by_value(
            comparison,
            sweep,
            Panel(title, METRICS["multi_auc"].title, []),
            lambda point, role: (
                place(point.value),
                _numbers(point.results, lambda result: _mean(_metric(result, role, task, "multi_auc") for task in tasks)),
            ),
        )

    tasks = _binary_tasks(result for point in sweep.points for result in point.results)
    whole = [panel("Mean over the tasks", tasks)] if len(tasks) > 1 else []
    axis = Axis(sweep.key, categories, place(sweep.configured) if sweep.configured in values else None)
    name = sweep.key.rpartition(".")[2]
    return Plot(
        f"Multi-AUC by {name}",
        f"Each point is trained with another {sweep.key}; everything else is as configured. Higher is better. Bars are "
        "standard deviations over the seeds; dashed lines are teachers, drawn a little aside.",
        seed_lines([*whole, *(panel(task, [task]) for task in tasks)], axis),
        _SWEEP_NEEDS,
    )


def loss_curves(comparison: Comparison) -> Plot:
    """Log loss of the compared split over the epochs, with and without error correction where both were trained."""
    by_method: dict[str, list[CellResult]] = {}
    for result in comparison.results:
        by_method.setdefault(result.method, []).append(result)
    pairs = [method for method in by_method if _has_both(method, by_method)]
    split = next((result.summary["split"] for result in comparison.results), "")
    tasks = _binary_tasks(comparison.results)

    def panel(title: str, key: str) -> Panel:
        lines = [
            Line(method, position, line_style_of(position), _epochs(by_method[method], key))
            for position, method in enumerate(comparison.methods)
            if method in (pairs or by_method)
        ]
        return Panel(title, "Log loss (nats)", lines)

    whole = [panel("Mean over the tasks", f"{split}_log_loss")] if len(tasks) > 1 else []
    panels = [*whole, *(panel(task, f"{split}_{task}_log_loss") for task in tasks)]
    not_chosen = "" if split == "validation" else " No epoch was chosen by these rows."
    with_and_without = " with and without error correction" if pairs else ""
    return Plot(
        f"{split.capitalize()} loss over the epochs",
        f"Log loss of the students on the {split} rows{with_and_without}, as far as every seed was trained. Lower is better. "
        f"Bars are standard deviations over the seeds.{not_chosen}",
        seed_lines(panels, Axis("Epoch", whole=True)),
        "two epochs with which every seed of a method was trained, and a binary task",
    )


def exchange_drop(comparison: Comparison, sweep: Sweep) -> Plot:
    """How AUC and Multi-AUC fall, seed by seed, with the share of a task's positive labels that is exchanged."""
    exchanged = sweep.key.removeprefix(EXCHANGE)
    configured = {
        (point.method, result.seed): result
        for point in sweep.points
        if point.value == sweep.configured
        for result in point.results
    }

    def change(result: CellResult, method: str, role: str, task: str, metric: str) -> float | None:
        now, reference = _metric(result, role, task, metric), configured.get((method, result.seed))
        before = None if reference is None else _metric(reference, role, task, metric)
        return None if now is None or before is None else now - before

    def panel(task: str, metric: str) -> Panel:
        title = METRICS[metric].title
        return _by_value(
            comparison,
            sweep,
            Panel(f"{title} of {task}" + (", the exchanged task" if task == exchanged else ""), f"Change of {title}", []),
            lambda point, role: (
                100 * (point.value or 0),
                _numbers(point.results, lambda result: change(result, point.method, role, task, metric)),
            ),
        )

    tasks = sorted(
        _binary_tasks(result for point in sweep.points for result in point.results), key=lambda task: task == exchanged
    )
    return Plot(
        f"Exchanged labels of {exchanged}",
        f"So many of the training rows' positive {exchanged} labels changed places with negative ones. Each point is the value "
        f"less that of the same seed with {100 * (sweep.configured or 0):g} % exchanged; the further below 0, the greater the "
        "drop. Bars are standard deviations over the seeds; dashed lines are teachers, drawn a little aside.",
        seed_lines(
            [panel(task, metric) for task in tasks for metric in ("auc", "multi_auc")],
            Axis(f"Positives of {exchanged} exchanged (%)"),
        ),
        _SWEEP_NEEDS,
    )


def cost_plot(comparison: Comparison) -> Plot:
    """Step time, parameters and memory of each method."""
    costs = {method: comparison.costs[method] for method in comparison.methods if method in comparison.costs}
    return Plot(
        "Costs",
        "Each method in a process of its own: processor time of a training step, the median over steps; parameters that an "
        "export serves in full colour, and in pale what is trained beside them; the largest resident memory of the process.",
        cost_bars([(comparison.methods.index(method), method, cost) for method, cost in costs.items()]),
        "the measured cost of a method",
    )


def _by_value(
    comparison: Comparison, sweep: Sweep, panel: Panel, numbers: Callable[[SweepPoint, str], tuple[float, list[float]]]
) -> Panel:
    """The panel with a line for each method's students, and one for its teachers; `numbers` gives place and numbers."""
    # What is swept need not be compared.
    positions = list(dict.fromkeys([*comparison.methods, *(point.method for point in sweep.points)]))
    lines = [
        Line(f"{method}{addition}", positions.index(method), style, dict(numbers(point, role) for point in points))
        for method in dict.fromkeys(point.method for point in sweep.points)
        for points in [[point for point in sweep.points if point.method == method]]
        for role, style, addition in _ROLES
    ]
    return replace(panel, lines=lines)


def _binary_tasks(results: Iterable[CellResult]) -> list[str]:
    """All tasks that any result has a Multi-AUC of, in order."""
    metrics = (of_task for result in results for of_task in result.summary["tasks"].items())
    return list(dict.fromkeys(task for task, measured in metrics if "multi_auc" in measured))


def _metric(result: CellResult, role: str, task: str, metric: str) -> float | None:
    value: float | None = result.summary[role].get(task, {}).get(metric)
    return value


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean; None where a value is undefined, since means of other tasks could not be compared."""
    known = list(values)
    defined = [value for value in known if value is not None]
    return fmean(defined) if len(defined) == len(known) else None


def _numbers(results: Sequence[CellResult], read: _Read) -> list[float]:
    """One for each result that defines it."""
    return [value for result in results if (value := read(result)) is not None]


def _epochs(results: Sequence[CellResult], key: str) -> dict[float, list[float]]:
    """By epoch, a number of the history: only epochs in which every seed that has the number at all has it."""
    histories = [{entry["epoch"]: entry[key] for entry in result.history if entry.get(key) is not None} for result in results]
    histories = [history for history in histories if history]
    shared = set.intersection(*map(set, histories)) if histories else set()
    return {epoch: [history[epoch] for history in histories] for epoch in shared}


def _has_both(method: str, methods: Iterable[str]) -> bool:
    """Whether it is one of the two of `_CORRECTION`, and the other was trained with the same suffixes."""
    plain = without_suffixes(method)
    return plain in _CORRECTION and {f"{each}{method.removeprefix(plain)}" for each in _CORRECTION} <= {*methods}
