# SPDX-License-Identifier: Apache-2.0
"""What all report pages share: the frame of a page that needs nothing else, its style, facts, figures and notes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import count
from pathlib import Path

from matplotlib.figure import Figure

from tf_crossdistil.evaluation.figures import to_svg
from tf_crossdistil.local_files import appears_whole


@dataclass(frozen=True)
class Plot:
    """A figure, None where there is nothing to show, with its title and how to read it.

    A page says what a missing figure `needs`; where that is empty, the figure is left out silently.
    """

    title: str
    caption: str
    figure: Figure | None
    needs: str = ""

    @property
    def description(self) -> str:
        """What the figure says to those who cannot see it."""
        return f"{self.title}. {self.caption}"


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        heading: its text.
        content: HTML that comes first.
        plots: below it; those without a figure leave no hole.
    """

    heading: str
    content: str = ""
    plots: Iterable[Plot] = ()


def write_page(path: Path, title: str, facts: Mapping[str, str], sections: Iterable[Section]) -> None:
    """Writes a self-contained page without scripts or external resources; sections without anything to show are left out.

    Args:
        path: of the page; it appears when it is complete.
        title: its heading.
        facts: what a reader should know before, each under its name.
        sections: in order; the figures of all are numbered through, so that no two ids are alike.

    Raises:
        CrossDistilError: the file cannot be written.
    """
    numbers = count(1)
    content = _PAGE.format(
        style=_STYLE,
        title=escape(title),
        facts="".join(_fact(name, fact) for name, fact in facts.items()),
        sections="".join(_section(section, numbers) for section in sections),
    )
    with appears_whole(path) as unfinished:
        unfinished.write_text(content, encoding="utf-8")


def scroll_box(label: str, table: str) -> str:
    """A table that scrolls by itself where the screen is narrower; `label` names it to those who cannot see it."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'


def note(text: str) -> str:
    """A paragraph on how to read what is above it."""
    return f'<p class="note">{escape(text, quote=False)}</p>'


def _fact(name: str, fact: str) -> str:
    width = ' class="wide"' if len(fact) > _WIDE_FACT else ""
    return f"<div{width}><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>"


def _section(section: Section, numbers: Iterator[int]) -> str:
    plots = list(section.plots)
    figures = "".join(
        f"<figure><h3>{escape(plot.title)}</h3>{to_svg(plot.figure, next(numbers), plot.description)}"
        f"<figcaption>{escape(plot.caption)}</figcaption></figure>"
        for plot in plots
        if plot.figure is not None
    )
    missing = [
        note(f"{plot.title}: no figure, since it needs {plot.needs}.") for plot in plots if plot.figure is None and plot.needs
    ]
    shown = f'<div class="plots">{figures}</div>' if figures else ""
    content = "".join([section.content, shown, *missing])
    return f"<section><h2>{escape(section.heading)}</h2>{content}</section>" if content else ""


# A longer fact has a line of its own.
_WIDE_FACT = 80

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5c656f; --paper: #fff; --card: #f6f7f8; --line: #d9dde1;
  --edge: #1c212640 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a0a8b1; --paper: #14171a; --card: #1c2024; --line: #343a41; --edge: #e7e9ec40 }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1rem }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem }
h3 { font-size: 1rem; margin: 0 0 .5rem }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem 1.5rem; margin: 0 }
dt, figcaption, .note { color: var(--soft); font-size: .875rem }
dd { margin: 0; overflow-wrap: anywhere }
.wide { grid-column: 1 / -1 }
.scroll { overflow-x: auto; background:
  linear-gradient(var(--paper), var(--paper)) right / 1.25rem 100% no-repeat local,
  linear-gradient(to left, var(--edge), transparent) right / 1.25rem 100% no-repeat scroll }
.scroll + .scroll { margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .9rem .35rem 0; text-align: right; white-space: nowrap }
thead th { border-bottom: 1px solid var(--line) }
tbody th { text-align: left; font-weight: 400; color: var(--soft) }
tbody th[scope=rowgroup] { padding-top: .9rem; font-weight: 600; color: var(--ink) }
.name, th[scope=rowgroup] > span { position: sticky; left: 0; background: var(--paper) }
.name { text-align: left }
tbody tr + tr > * { border-top: 1px solid color-mix(in srgb, var(--line) 50%, transparent) }
th[scope=colgroup] { text-align: center; border-bottom: 1px solid var(--line) }
td small { display: block; color: var(--soft); font-weight: 400; font-size: .8125rem }
.best { font-weight: 700 }
.second > span { text-decoration: underline; text-underline-offset: .2em }
.reference { color: var(--soft); font-style: italic }
.note { max-width: 48rem }
.note + h3 { margin-top: 2rem }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1rem; align-items: start }
figure { margin: 0; padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; min-width: 0 }
svg { display: block; width: 100%; height: auto }
figcaption { margin-top: .5rem }
.failures { padding-left: 1.25rem; overflow-wrap: anywhere }
@media (max-width: 40rem) {
  table { font-size: .875rem }
  .name { max-width: 42vw; white-space: normal; padding-right: .6rem }
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<dl>{facts}</dl>
{sections}
</body>
</html>
"""
