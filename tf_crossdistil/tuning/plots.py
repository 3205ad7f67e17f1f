# SPDX-License-Identifier: Apache-2.0
"""Plots of a search: how it went, what mattered, and which values did well."""

import json
from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tf_crossdistil.config import Choices, Range
from tf_crossdistil.evaluation.figures import color_of, marker_of, styled
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.tuning.results import SearchResult, TrialResult

# Slices side by side, and what each takes of the figure, in inches.
_COLUMNS, _WIDTH, _HEIGHT = 3, 3.6, 2.9
# Room beside the ends of a range on a log scale, as a factor.
_MARGIN = 1.2


@styled
def optimization_history(result: SearchResult) -> Figure | None:
    """The metric of each trial, and the best so far; None where no trial has a value."""
    ranked = {trial.number: trial for trial in result.ranked}
    if not ranked:
        return None
    figure = Figure(figsize=(5.2, 3.4))
    axes = figure.add_subplot()
    _points(axes, result, lambda trial: trial.number)
    choose = max if result.tuning.larger_is_better else min
    numbers = sorted(ranked)
    best = [choose(ranked[number].value or 0.0 for number in numbers[: place + 1]) for place in range(len(numbers))]
    axes.step(numbers, best, where="post", color=color_of(1), label="best so far", zorder=1)
    axes.set(xlabel="Trial", ylabel=_label(result))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    return figure


@styled
def parameter_importances(result: SearchResult) -> Figure | None:
    """The share of each tuned key in what tells good trials from others; None where it is not known."""
    if not result.importances:
        return None
    keys = list(result.importances)[::-1]
    figure = Figure(figsize=(6.0, 1.0 + 0.4 * len(keys)))
    axes = figure.add_subplot()
    axes.barh(keys, [result.importances[key] for key in keys], color=color_of(0))
    axes.set(xlabel="Importance (PED-ANOVA)", ylabel="Key", xlim=(0, 1))
    return figure


@styled
def slices(result: SearchResult) -> Figure | None:
    """The metric over the values of each tuned key, one panel a key; None where no trial has a value."""
    if not result.ranked:
        return None
    space = result.tuning.space
    columns = min(_COLUMNS, len(space))
    rows = -(-len(space) // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel in panels[len(space) :]:
        panel.set_axis_off()
    for axes, (key, axis) in zip(panels, space.items(), strict=False):
        _points(axes, result, _place(key, axis))
        if isinstance(axis, Choices):
            axes.set_xticks(range(len(axis.choices)), [json.dumps(choice) for choice in axis.choices], rotation=20)
            axes.set_xlim(-0.5, len(axis.choices) - 0.5)
        elif axis.log:
            axes.set_xscale("log")
            axes.set_xlim(axis.low / _MARGIN, axis.high * _MARGIN)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(key)
    for first in panels[::columns]:
        first.set_ylabel(_label(result))
    panels[0].legend()
    return figure


def _place(key: str, axis: Range | Choices) -> Callable[[TrialResult], float]:
    """Where a trial stands on the horizontal axis of a key's panel."""
    if isinstance(axis, Range):
        return lambda trial: trial.set[key]
    return lambda trial: axis.choices.index(trial.set[key])


def _points(axes: Any, result: SearchResult, place: Callable[[TrialResult], float]) -> None:
    for style, state in enumerate(("complete", "pruned")):
        shown = [trial for trial in result.trials if trial.state == state and trial.value is not None]
        if shown:
            axes.plot(
                [place(trial) for trial in shown],
                [trial.value for trial in shown],
                linestyle="none",
                marker=marker_of(style),
                color=color_of(0 if state == "complete" else 6),
                label=state,
            )


def _label(result: SearchResult) -> str:
    return f"Validation {METRICS[result.tuning.metric].title}"


PLOTS = {"optimization_history": optimization_history, "parameter_importances": parameter_importances, "slices": slices}
