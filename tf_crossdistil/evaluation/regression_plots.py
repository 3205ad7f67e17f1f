# SPDX-License-Identifier: Apache-2.0
"""Plots of the report for regression tasks: labels over predictions, and errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tf_crossdistil.evaluation.figures import INK, styled
from tf_crossdistil.evaluation.results import MethodResult
from tf_crossdistil.evaluation.scored_rows import NORMAL_95, Floats, ScoredRows, scored_rows
from tf_crossdistil.metrics.exact import bins_of_ascending

# Errors beyond these quantiles would leave no room for the others.
_SHOWN_ERRORS = (0.005, 0.995)


@styled
def labels_over_predictions(results: Sequence[MethodResult], task: str) -> Figure | None:
    """Mean label over mean prediction in twenty bins of equal mass, and below it how many rows were predicted what.

    Bars are 95 % intervals of each bin's mean label.

    Returns:
        The figure; None where no method has rows with valid values.
    """
    every_scored = scored_rows(results, task)
    if not every_scored:
        return None
    figure = Figure(figsize=(5.2, 5.4))
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    ends: list[float] = []
    for scored in every_scored:
        bins = _bins(scored)
        upper.vlines(bins.predicted, bins.label - bins.reach, bins.label + bins.reach, color=scored.color, linewidth=0.9)
        upper.plot(bins.predicted, bins.label, color=scored.color, marker=scored.marker, linewidth=1.2, label=scored.name)
        ends += [bins.predicted.min(), bins.predicted.max()]
    low, high = min(ends), max(ends)
    upper.plot([low, high], [low, high], color=INK, linestyle="--", linewidth=1, label="right on average")
    edges = np.linspace(*_padded(low, high), 41)
    for scored in every_scored:
        lower.hist(scored.predictions, edges, weights=scored.weights, histtype="step", linewidth=1.5, color=scored.color)
    upper.set(ylabel=f"Mean {task}", xlim=(edges[0], edges[-1]))
    lower.set(xlabel=f"Predicted {task}", ylabel="Rows" if every_scored[0].weights is None else "Weight of rows")
    lower.xaxis.set_major_locator(MaxNLocator(6))
    lower.yaxis.set_major_formatter("{x:,.0f}")
    upper.legend(loc="upper left")
    return figure


@styled
def error_distributions(results: Sequence[MethodResult], task: str) -> Figure | None:
    """Densities of prediction less label, one panel a method; the outermost hundredth of the errors is not shown.

    Returns:
        The figure; None where no method has rows with valid values.
    """
    every_scored = scored_rows(results, task)
    if not every_scored:
        return None
    figure = Figure(figsize=(5.2, max(5.4, 0.9 + 1.5 * len(every_scored))))
    panels = figure.subplots(len(every_scored), sharex=True, squeeze=False)[:, 0]
    every_error = [scored.predictions.astype(np.float64) - scored.labels for scored in every_scored]
    quantiles = np.quantile(every_error, _SHOWN_ERRORS, axis=1)
    edges = np.linspace(*_padded(quantiles[0].min(), quantiles[1].max()), 41)
    for axes, scored, errors in zip(panels, every_scored, every_error, strict=True):
        axes.hist(errors, edges, density=True, weights=scored.weights, color=scored.color, alpha=0.65)
        axes.axvline(0, color=INK, linestyle="--", linewidth=1)
        axes.axvline(np.average(errors, weights=scored.weights), color=scored.color, linewidth=1.5, label="mean")
        axes.set_title(scored.name, loc="left", fontsize=11)
        axes.set(ylabel="Density", xlim=(edges[0], edges[-1]))
        axes.legend()
    panels[-1].set_xlabel(f"Predicted less observed {task}")
    return figure


@dataclass(frozen=True)
class _Bins:
    """Rows in bins of ascending prediction: mean prediction, mean label and the reach of its 95 % interval, `[bins]`."""

    predicted: Floats
    label: Floats
    reach: Floats


def _bins(scored: ScoredRows) -> _Bins:
    order = np.argsort(scored.predictions)
    predictions = scored.predictions[order].astype(np.float64)
    weights = np.ones(order.size) if scored.weights is None else scored.weights[order].astype(np.float64)
    labels = scored.labels[order].astype(np.float64)
    # Squares of numbers far from zero would lose what their spread is.
    center = labels.mean()
    mean, square = (bins_of_ascending(values, predictions, weights) for values in (labels - center, (labels - center) ** 2))
    deviation = np.sqrt(np.maximum(square.observed - mean.observed**2, 0))
    return _Bins(mean.predicted, mean.observed + center, NORMAL_95 * deviation / np.sqrt(mean.rows))


def _padded(low: float, high: float) -> tuple[float, float]:
    """A range with some room at its ends; one of a single number, too."""
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room
