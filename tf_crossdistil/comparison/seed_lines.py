# SPDX-License-Identifier: Apache-2.0
"""Draws numbers that several seeds give: lines through their means with the standard deviations as error bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from tf_crossdistil.evaluation.figures import INK, color_of, marker_of, styled, wrapped

# A range of positive numbers that is wider than this has a logarithmic axis.
_WIDE = 50
# How far dashed lines are drawn to the right, in inches.
_ASIDE = 0.06


@dataclass(frozen=True)
class Line:
    """What one method gives.

    Attributes:
        name: of the legend, the same in all panels.
        method: its position among all methods, which gives colour and marker.
        style: such as `-` or `--`.
        points: by place on the horizontal axis, one number a seed; places without any are not drawn.
    """

    name: str
    method: int
    style: str
    points: dict[float, list[float]]

    @property
    def defined(self) -> dict[float, list[float]]:
        """The points that have numbers, from left to right."""
        return {place: self.points[place] for place in sorted(self.points) if self.points[place]}


@dataclass(frozen=True)
class Panel:
    """Lines over the same axes: what they are of, and the label of the vertical axis."""

    title: str
    label: str
    lines: list[Line]


@dataclass(frozen=True)
class Axis:
    """The horizontal axis of all panels.

    Attributes:
        label: with the unit, where there is one.
        categories: names of the places 0, 1, ...; empty where places are numbers.
        marked: a place that a vertical line marks as the configured one.
        whole: whether places are whole numbers, such as epochs.
    """

    label: str
    categories: Sequence[str] = ()
    marked: float | None = None
    whole: bool = False


@styled
def seed_lines(panels: Sequence[Panel], axis: Axis) -> Figure | None:
    """One panel below the other, with one legend for all.

    Returns:
        The figure, without the panels in which no line has two points; None where that is every panel.
    """
    shown = [panel for panel in panels if any(len(line.defined) > 1 for line in panel.lines)]
    if not shown:
        return None
    names = {line.name for panel in shown for line in panel.lines}
    figure = Figure(figsize=(4.6, 0.9 + 2.1 * len(shown) + 0.1 * len(names)))
    every_axes = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    handles: dict[str, Any] = {}
    for axes, panel in zip(every_axes, shown, strict=True):
        for line in panel.lines:
            if line.defined:
                handles.setdefault(wrapped(line.name), _draw(axes, line, figure))
        if axis.marked is not None:
            handles["configured value"] = axes.axvline(axis.marked, color=INK, linestyle=":", linewidth=1.2)
        axes.set_title(panel.title, loc="left", fontsize=11)
        axes.set_ylabel(panel.label)
    _set_places(every_axes[-1], axis, [place for panel in shown for line in panel.lines for place in line.defined])
    counts = {len(numbers) for panel in shown for line in panel.lines for numbers in line.defined.values()}
    figure.supxlabel(_what_points_are(min(counts), max(counts)), fontsize=9)
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=2 if len(handles) > 4 else 1)
    return figure


def _draw(axes: Axes, line: Line, figure: Figure) -> Container:
    places, numbers = list(line.defined), list(line.defined.values())
    drawn = axes.errorbar(
        places,
        [fmean(values) for values in numbers],
        yerr=[stdev(values) if len(values) > 1 else math.nan for values in numbers],
        color=color_of(line.method),
        marker=marker_of(line.method),
        linestyle=line.style,
        linewidth=1.6,
        elinewidth=1,
        capsize=2.5,
    )
    if line.style == "--":
        # So that no bar of a method's students hides one of its teachers; later, since limits are to be those of the places.
        aside = axes.transData + ScaledTranslation(_ASIDE, 0, figure.dpi_scale_trans)
        for artist in drawn.get_children():
            artist.set_transform(aside)
    return drawn


def _set_places(axes: Axes, axis: Axis, places: Sequence[float]) -> None:
    axes.set_xlabel(axis.label)
    if axis.categories:
        axes.set_xticks(range(len(axis.categories)), [wrapped(name) for name in axis.categories])
    elif axis.whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    elif min(places) > 0 and max(places) > _WIDE * min(places):
        axes.set_xscale("log")


def _what_points_are(fewest: int, most: int) -> str:
    """How many seeds stand behind the points; the number is part of the figure, which may be shown without its page."""
    if most == 1:
        return "One seed: no deviation is known."
    seeds = f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"
    return f"Points: mean over {seeds}; bars: standard deviation."
