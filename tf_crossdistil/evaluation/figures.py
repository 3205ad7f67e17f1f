# SPDX-License-Identifier: Apache-2.0
"""How figures look, and how they become SVG inside a page that is light or dark."""

import io
import re
from html import escape
from typing import Any

import matplotlib
from matplotlib import style
from matplotlib.figure import Figure

# A colour that nothing else uses: the page's own text colour takes its place.
INK = "#010203"
# Told apart by people with colour-vision deficiency, and readable on white and on near-black.
_COLORS = ("#d9722e", "#2b83c6", "#2f9e77", "#a565c9", "#b98a1f", "#cf5b84", "#7a7f87")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINE_LENGTH = 27
_LINE_STYLES = ("-", "--", ":", "-.")

_STYLE: dict[str, Any] = {
    "figure.figsize": (4.4, 3.1),
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "font.size": 11,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "text.color": INK,
    # Names of methods and tasks are text, whatever dollar signs they hold.
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}

styled = style.context(_STYLE)


def color_of(method: int) -> str:
    """The colour of the method at this position, the same in every figure."""
    return _COLORS[method % len(_COLORS)]


def marker_of(method: int) -> str:
    """The marker of the method at this position, so that colour is not all that tells methods apart."""
    # Those that share a colour differ in their markers.
    return _MARKERS[(method + method // len(_COLORS)) % len(_MARKERS)]


def line_style_of(method: int) -> str:
    """The line style of the method at this position, another one each time that colours begin anew."""
    return _LINE_STYLES[method // len(_COLORS) % len(_LINE_STYLES)]


def wrapped(name: str) -> str:
    """A name in lines that a figure has room for, broken after its signs."""
    lines = [""]
    for part in re.split(r"(?<=[_.:+ ])", name):
        if lines[-1] and len(lines[-1] + part) > _LINE_LENGTH:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def to_svg(figure: Figure, number: int, description: str) -> str:
    """An `<svg>` element to put into a page.

    Args:
        figure: of a function that is `styled`.
        number: tells apart the ids of several figures of a page.
        description: what the figure shows, for those who cannot see it.
    """
    svg = _drawn(figure, str(number))
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    for reference in ('id="', 'href="#', "url(#"):
        svg = svg.replace(reference, f"{reference}figure{number}-")
    return _described(svg, description)


def to_svg_file(figure: Figure, description: str) -> str:
    """The content of an SVG file with a white background, the same for the same figure.

    Args:
        figure: of a function that is `styled`.
        description: what the figure shows, for those who cannot see it.
    """
    return _described(_drawn(figure, "file", facecolor="white"), description)


def _drawn(figure: Figure, salt: str, **options: Any) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": salt}):
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata, **options)
    return buffer.getvalue()


def _described(svg: str, description: str) -> str:
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
