# SPDX-License-Identifier: Apache-2.0
"""The results as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from serving.load_test.level import Level

_STYLE: dict[str, Any] = {
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.markersize": 5,
    # A model's name is text, whatever dollar signs it has.
    "text.parse_math": False,
}
# Told apart by people with colour-vision deficiency.
_PERCENTILES = {"p50": ("#2b83c6", "o"), "p90": ("#2f9e77", "s"), "p99": ("#d9722e", "^")}
_THROUGHPUT, _ERRORS = "#2b83c6", "#c0392b"


@style.context(_STYLE)
def levels_figure(levels: Sequence[Level], title: str) -> Figure:
    """Latency percentiles and throughput over concurrency; crosses mark levels with errors."""
    figure = Figure(figsize=(9.0, 3.8), dpi=150)
    figure.suptitle(title)
    latency, throughput = figure.subplots(1, 2)
    _draw_latency(latency, [level for level in levels if level.latency])
    _draw_throughput(throughput, levels)
    for axes in (latency, throughput):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("Concurrency (requests on the way)")
        axes.set_xticks([level.concurrency for level in levels])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    return figure


def save_plot(levels: Sequence[Level], title: str, path: Path) -> None:
    """Writes the figure as an image, of the kind that the file's suffix says."""
    levels_figure(levels, title).savefig(path)


def _draw_latency(axes: Axes, levels: Sequence[Level]) -> None:
    for name, (color, marker) in _PERCENTILES.items():
        values = [getattr(level.latency, name) for level in levels]
        axes.plot([level.concurrency for level in levels], values, color=color, marker=marker, label=name)
    axes.set_ylabel("Latency (ms)")
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_throughput(axes: Axes, levels: Sequence[Level]) -> None:
    rates = [level.requests_per_second for level in levels]
    axes.plot([level.concurrency for level in levels], rates, color=_THROUGHPUT, marker="o")
    if failing := [level for level in levels if level.failed]:
        axes.plot(
            [level.concurrency for level in failing],
            [level.requests_per_second for level in failing],
            color=_ERRORS,
            marker="X",
            markersize=9,
            linestyle="none",
            label="with errors",
        )
        axes.legend()
    axes.set_ylabel("Throughput (requests/s)")
    axes.set_ylim(bottom=0)
