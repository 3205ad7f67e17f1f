"""What a comparison says in numbers, as `comparison.json` and as the tables of the terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tf_crossdistil.evaluation.compare import Comparison
from tf_crossdistil.evaluation.paired_statistics import Estimate, estimate
from tf_crossdistil.evaluation.results import METRICS

_SHOWN = ("auc", "multi_auc", "log_loss")
_BASELINE = "ple"

# One value a seed, of one metric of one task.
_BySeed = dict[int, float]


@dataclass(frozen=True)
class Figures:
    """The metrics of a comparison over its seeds.

    Attributes:
        comparison: what they are of.
        baseline: the method that others are compared with: plain PLE, or the first where it is not among them.
        values: by method, task, metric and seed; undefined values are left out.
    """

    comparison: Comparison
    baseline: str
    values: dict[str, dict[str, dict[str, _BySeed]]]

    @classmethod
    def of(cls, comparison: Comparison) -> "Figures":
        """Collects them."""
        values: dict[str, dict[str, dict[str, _BySeed]]] = {method: {} for method in comparison.methods}
        for result in comparison.results:
            for task, metrics in result.summary["tasks"].items():
                # A summary holds more than metrics, such as the number of rows.
                for metric in (metric for metric in metrics if metric in METRICS):
                    by_seed = values[result.method].setdefault(task, {}).setdefault(metric, {})
                    if metrics[metric] is not None:
                        by_seed[result.seed] = metrics[metric]
        baseline = _BASELINE if _BASELINE in comparison.methods else comparison.methods[0]
        return cls(comparison, baseline, values)

    @property
    def tasks(self) -> list[str]:
        """The tasks, in order; empty where no cell has a result."""
        return next((list(tasks) for tasks in self.values.values() if tasks), [])

    def estimate(self, method: str, task: str, metric: str) -> Estimate:
        """The metric over the method's seeds."""
        return estimate(list(self._by_seed(method, task, metric).values()))

    def differences(self, method: str, task: str, metric: str) -> list[float]:
        """The method less the baseline, for each seed that both have."""
        baseline = self._by_seed(self.baseline, task, metric)
        values = self._by_seed(method, task, metric)
        return [value - baseline[seed] for seed, value in values.items() if seed in baseline]

    def _by_seed(self, method: str, task: str, metric: str) -> _BySeed:
        return self.values[method].get(task, {}).get(metric, {})


def comparison_document(figures: Figures) -> dict[str, Any]:
    """The content of `comparison.json`.

    Returns:
        `{"baseline", "selected_by", "methods": {method: {"set", "tasks": {task: {metric: {"seeds", "mean", "deviation"}}}}},
        "differences": {method: {task: {metric: {"seeds", "mean", "deviation", "interval", "positive"}}}}, "grids": {method:
        [{"set", "validation"}]}, "failures": [{"method", "seed", "set", "error"}]}`: `deviation` and `interval` as in
        `Estimate`, null below two seeds; `positive` counts the seeds in which the method's value is larger.
    """
    comparison = figures.comparison
    chosen = {result.method: result.setting.values for result in comparison.results}
    return {
        "baseline": figures.baseline,
        "selected_by": comparison.metric,
        "methods": {
            method: {
                "set": chosen.get(method),
                "tasks": {
                    task: {metric: _moments(figures.estimate(method, task, metric)) for metric in metrics}
                    for task, metrics in tasks.items()
                },
            }
            for method, tasks in figures.values.items()
        },
        "differences": {
            method: {
                task: {metric: _difference(figures.differences(method, task, metric)) for metric in metrics}
                for task, metrics in tasks.items()
            }
            for method, tasks in figures.values.items()
            if method != figures.baseline
        },
        "grids": {
            method: [{"set": result.setting.values, "validation": result.validation} for result in grid]
            for method, grid in comparison.grids.items()
        },
        "failures": [failure.document() for failure in comparison.failures],
    }


def comparison_tables(figures: Figures) -> list[RenderableType]:
    """Means of each method, and its differences to the baseline, each table with its notes below."""
    comparison, baseline = figures.comparison, figures.baseline
    several = len({result.seed for result in comparison.results}) > 1
    means = _table(
        "Metrics",
        figures.tasks,
        comparison.methods,
        lambda method, task, metric: _mean_text(figures.estimate(method, task, metric)),
    )
    note = "Mean ± standard deviation over the seeds." if several else "One seed: no deviation is known."
    shown: list[RenderableType] = [means, Text(note)]
    shown += [Text(f"Left out, since it failed: {failure}.") for failure in comparison.failures]
    if others := [method for method in comparison.methods if method != baseline]:
        differences = _table(
            f"Differences to {baseline}, seed by seed",
            figures.tasks,
            others,
            lambda method, task, metric: _difference_text(estimate(figures.differences(method, task, metric))),
        )
        note = "Mean ± half its 95 % confidence interval; * where that excludes 0." if several else "One seed: no interval."
        shown += [differences, Text(note)]
    return shown


def _moments(found: Estimate) -> dict[str, Any]:
    return {"seeds": found.seeds, "mean": found.mean, "deviation": found.deviation}


def _difference(values: list[float]) -> dict[str, Any]:
    found = estimate(values)
    return {**_moments(found), "interval": found.interval, "positive": sum(value > 0 for value in values)}


def _table(title: str, tasks: list[str], methods: list[str], cell: Callable[[str, str, str], Text]) -> Table:
    """Methods down below each task, metrics across; `cell` gives the text of a method, task and metric."""
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("Method", overflow="fold")
    for metric in _SHOWN:
        table.add_column(METRICS[metric].title, justify="right", no_wrap=True)
    for task in tasks:
        table.add_row(Text(task, "bold"))
        for method in methods:
            table.add_row(Text(f" {method}"), *(cell(method, task, metric) for metric in _SHOWN))
        table.add_section()
    return table


def _mean_text(found: Estimate) -> Text:
    if found.mean is None:
        return Text("n/a")
    return Text(f"{found.mean:.4f}" if found.deviation is None else f"{found.mean:.4f}±{found.deviation:.4f}")


def _difference_text(found: Estimate) -> Text:
    if found.mean is None:
        return Text("n/a")
    if found.interval is None:
        return Text(f"{found.mean:+.4f}")
    reach = found.interval[1] - found.mean
    return Text(f"{found.mean:+.4f}±{reach:.4f}{'*' if found.excludes_zero else ' '}", "bold" if found.excludes_zero else "")
