# SPDX-License-Identifier: Apache-2.0
"""Draws what training methods costs."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.evaluation.figures import color_of, styled, wrapped

# Title with its unit, numbers of the bars, of paler ones behind them, and how the whole is written.
_PANELS = (
    ("Time of a training step (ms)", "step_milliseconds", None, "{:,.1f}"),
    ("Parameters", "served_parameters", "parameters", EngFormatter(places=2, sep="")),
    ("Memory (MiB)", "memory_mebibytes", None, "{:,.0f}"),
)


@styled
def cost_bars(costs: Sequence[tuple[int, str, Cost]]) -> Figure | None:
    """A panel for time, parameters and memory, each with a bar a method.

    Args:
        costs: position among all methods, which gives the colour, name and cost of each method.

    Returns:
        The figure; None without any method.
    """
    if not costs:
        return None
    names = [wrapped(name) for _, name, _ in costs]
    # A name of several lines has as many lines of room.
    ends = list(accumulate(name.count("\n") + 1 for name in names))
    places = [end - (name.count("\n") + 1) / 2 for name, end in zip(names, ends, strict=True)]
    figure = Figure(figsize=(4.6, len(_PANELS) * (0.7 + 0.2 * ends[-1])))
    colors = [color_of(method) for method, _, _ in costs]
    for axes, (title, name, paler, form) in zip(figure.subplots(len(_PANELS)), _PANELS, strict=True):
        whole = [getattr(cost, paler or name) for _, _, cost in costs]
        bars = axes.barh(places, whole, color=colors, alpha=0.45 if paler else 1)
        if paler:
            axes.barh(places, [getattr(cost, name) for _, _, cost in costs], color=colors)
        axes.bar_label(bars, fmt=form, padding=3, fontsize=9)
        axes.set_yticks(places, names)
        axes.set(xlabel=title, xlim=(0, 1.25 * max(whole)))
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
        if paler:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure
