# SPDX-License-Identifier: Apache-2.0
"""The report page of a comparison: its tables and figures in one HTML file that needs nothing else."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tf_crossdistil.comparison.compare import Comparison
from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.comparison_plots import comparison_plots
from tf_crossdistil.comparison.html_table import html_table
from tf_crossdistil.comparison.printed_table import Table
from tf_crossdistil.comparison.sweep_tables import SweepTable
from tf_crossdistil.evaluation.page import Section, note, write_page


def write_comparison_report(path: Path, figures: Figures, tables: Sequence[Table], facts: dict[str, str]) -> None:
    """Writes a self-contained page: facts, failures, tables and figures, without scripts or external resources.

    Args:
        path: of the page, usually `report.html`; it appears when it is complete.
        figures: of the comparison.
        tables: in the order in which they are shown.
        facts: what a reader should know of data and training, each under its name.

    Raises:
        CrossDistilError: the file cannot be written.
    """
    comparison = figures.comparison
    shown = [html_table(table) for table in tables if not isinstance(table, SweepTable)]
    of_figures = [html_table(table) for table in tables if isinstance(table, SweepTable)]
    several = any(len(figures.seeds(method)) > 1 for method in comparison.methods)
    notes = [_NOTE, *([_SEEDS_NOTE] if several else [])]
    sections = [
        Section("Failures", _failures(comparison)),
        Section("Results", "".join([*shown, *map(note, notes)]) if shown else note(_NOTHING)),
        Section("Figures", plots=comparison_plots(comparison).values() if comparison.results else ()),
        Section("Numbers of the figures", "".join(of_figures)),
    ]
    write_page(path, f"Comparison of {len(comparison.methods)} methods", facts, sections)


def _failures(comparison: Comparison) -> str:
    """What has no result and why; nothing where all is there."""
    told = {(failure.method, failure.seed) for failure in comparison.failures}
    items = [
        *(f"{failure}: {failure.error}" for failure in comparison.failures),
        *(f"{method} seed {seed}: has no result" for method, seed in comparison.missing if (method, seed) not in told),
    ]
    listed = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'{note(_LEFT_OUT)}<ul class="failures">{listed}</ul>' if items else ""


_LEFT_OUT = "These trainings have no result. Tables and figures are of the others."
_NOTHING = "No training has a result."
_NOTE = """AUC: how often a positive row ranks above a negative one. Multi-AUC: the same over all label combinations, in the
order that the other tasks' labels refine. Higher is better for both. Log loss and errors: lower is better."""
_SEEDS_NOTE = """Differences are taken seed by seed, so that what a seed does to both methods cancels out. A mark says that a
difference is unlikely to come from the seeds alone; it does not say that it is large, nor that other data would show it. With
many methods some marks come by chance."""
