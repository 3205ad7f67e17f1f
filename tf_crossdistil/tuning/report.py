# SPDX-License-Identifier: Apache-2.0
"""What a search leaves for people and for the next command: files in its folder, and a table."""

from pathlib import Path

import yaml
from rich.table import Column, Table
from rich.text import Text

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.local_files import write_json
from tf_crossdistil.tuning.plots import PLOTS
from tf_crossdistil.tuning.results import SearchResult
from tf_crossdistil.tuning.space import Space, shown_value, with_values

BEST_FILE = "best.yaml"
_ROWS = 5


def write_report(result: SearchResult, space: Space, out: Path) -> None:
    """Writes `trials.json`, the plots, and, where a trial is complete, `best.yaml`: the whole configuration with its values.

    Raises:
        CrossDistilError: a file cannot be written.
    """
    write_json(out / "trials.json", result.document())
    try:
        if result.best is not None:
            content = with_values(space.experiment, result.best.set).model_dump(mode="json")
            (out / BEST_FILE).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        for name, plot in PLOTS.items():
            figure = plot(result)
            if figure is not None:
                figure.savefig(out / f"{name}.png", dpi=150, facecolor="white")
    except OSError as error:
        raise CrossDistilError(f"cannot write to {out}: {error.strerror}; make room there and tune again") from error


def best_trials(result: SearchResult) -> Table:
    """The best trials, the winner first and in bold."""
    metric = METRICS[result.tuning.metric]
    table = Table(
        "Trial",
        Column(metric.title, justify="right"),
        Column("Epochs", justify="right"),
        Column("Seconds", justify="right"),
        "Settings",
        show_edge=False,
        pad_edge=False,
        show_lines=True,
    )
    for place, trial in enumerate(result.ranked[:_ROWS]):
        settings = "\n".join(f"{key} {shown_value(value)}" for key, value in trial.set.items())
        cells = [str(trial.number), metric.text(trial.value), str(trial.epochs), f"{trial.seconds:.0f}", settings]
        table.add_row(*(Text(cell, style="" if place else "bold") for cell in cells))
    return table
