# SPDX-License-Identifier: Apache-2.0
"""Plots of the report: learning curves, and of binary tasks reliability diagrams and score distributions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tf_crossdistil.evaluation.figures import INK, color_of, line_style_of, marker_of, styled
from tf_crossdistil.evaluation.results import MethodResult
from tf_crossdistil.evaluation.scored_rows import NORMAL_95, Floats, scored_rows
from tf_crossdistil.metrics.exact import calibration_bins, logit

_ROOT_TICKS = np.array([0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
_ODDS_TICKS = np.array([1e-5, 1e-4, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1 - 1e-4, 1 - 1e-5])


@styled
def learning_curves(results: Sequence[MethodResult], key: str, label: str) -> Figure | None:
    """A number of the history over the epochs, one line a method.

    Args:
        results: the methods; one whose history lacks the number has no line.
        key: the number's name in the history.
        label: of the vertical axis.

    Returns:
        The figure; None where no history has the number.
    """
    figure = Figure()
    axes = figure.add_subplot()
    for position, result in enumerate(results):
        points = [(entry["epoch"], entry[key]) for entry in result.history if entry.get(key) is not None]
        if points:
            epochs, values = zip(*points, strict=True)
            color, marker, style = color_of(position), marker_of(position), line_style_of(position)
            axes.plot(epochs, values, color=color, marker=marker, linestyle=style, label=result.name)
    if not axes.lines:
        return None
    axes.set(xlabel="Epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    return figure


@styled
def reliability_diagram(results: Sequence[MethodResult], task: str) -> Figure | None:
    """Observed share of positives over predicted probability, and below it how many rows were predicted what.

    Points are the bins of the ECE, bars their 95 % Wilson intervals; square-root axes give room to rare labels.

    Returns:
        The figure; None where no method has rows with valid probabilities.
    """
    every_scored = scored_rows(results, task)
    if not every_scored:
        return None
    figure = Figure(figsize=(5.2, 5.4))
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.set_xscale("function", functions=(np.sqrt, np.square))
    upper.set_yscale("function", functions=(np.sqrt, np.square))
    limit = 0.0
    for scored in every_scored:
        bins = calibration_bins(scored.labels, scored.predictions, scored.weights)
        low, high = _wilson_interval(bins.observed, bins.rows)
        upper.vlines(bins.predicted, low, high, color=scored.color, linewidth=0.9)
        upper.plot(bins.predicted, bins.observed, color=scored.color, marker=scored.marker, linewidth=1.2, label=scored.name)
        limit = min(1.0, max(limit, 1.05 * bins.predicted.max(), 1.05 * high.max()))
    upper.plot([0, limit], [0, limit], color=INK, linestyle="--", linewidth=1, label="perfectly calibrated")
    for scored in every_scored:
        edges = np.linspace(0, limit**0.5, 41) ** 2
        lower.hist(scored.predictions, edges, weights=scored.weights, histtype="step", linewidth=1.5, color=scored.color)
    ticks = _root_ticks(limit)
    upper.set(ylabel="Observed share of positives", xlim=(0, limit), ylim=(0, limit), xticks=ticks, yticks=ticks)
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value)))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value)))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    lower.set(
        xlabel="Predicted probability (square-root axes)",
        ylabel="Rows" if every_scored[0].weights is None else "Weight of rows",
    )
    upper.legend(loc="upper left")
    return figure


@styled
def score_distributions(results: Sequence[MethodResult], task: str) -> Figure | None:
    """Densities of the predicted log-odds among the rows with and without the label, one panel a method.

    Returns:
        The figure; None where no method has rows with valid probabilities.
    """
    every_scored = scored_rows(results, task)
    if not every_scored:
        return None
    figure = Figure(figsize=(5.2, max(5.4, 0.9 + 1.5 * len(every_scored))))
    panels = figure.subplots(len(every_scored), sharex=True, squeeze=False)[:, 0]
    odds = [logit(scored.predictions) for scored in every_scored]
    low, high = min(values.min() for values in odds), max(values.max() for values in odds)
    edges = np.linspace(low - 0.1, high + 0.1, 41)
    for axes, scored, values in zip(panels, every_scored, odds, strict=True):
        for label, color, alpha in ((0, INK, 0.25), (1, scored.color, 0.65)):
            members = scored.labels == label
            weights = None if scored.weights is None else scored.weights[members]
            has_mass = bool(members.any()) if weights is None else bool(weights.sum() > 0)
            name = f"{task} = {label}"
            axes.hist(values[members], edges, density=has_mass, weights=weights, color=color, alpha=alpha, label=name)
        axes.set_title(scored.name, loc="left", fontsize=11)
        axes.set(ylabel="Density", xlim=(edges[0], edges[-1]))
        axes.legend()
    ticks = _ODDS_TICKS[(logit(_ODDS_TICKS) >= edges[0]) & (logit(_ODDS_TICKS) <= edges[-1])]
    panels[-1].set_xticks(logit(ticks), [_percent(tick) for tick in ticks])
    panels[-1].set_xlabel("Predicted probability (log-odds axis)")
    return figure


def _root_ticks(limit: float) -> Floats:
    """Round numbers up to `limit`, about equally far apart on a square-root axis."""
    roots = np.sqrt(_ROOT_TICKS[limit >= _ROOT_TICKS])
    nearest = np.abs(roots[:, None] - np.linspace(0, limit**0.5, 7)).argmin(axis=0)
    return _ROOT_TICKS[np.unique(nearest)]


def _wilson_interval(share: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval of a share of `rows` independent draws (Wilson, JASA 1927)."""
    square = NORMAL_95**2
    center = (share + square / (2 * rows)) / (1 + square / rows)
    reach = NORMAL_95 / (1 + square / rows) * np.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
    return np.maximum(center - reach, 0), center + reach


def _percent(probability: float) -> str:
    return f"{100 * probability:.5g} %"
