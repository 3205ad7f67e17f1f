# SPDX-License-Identifier: Apache-2.0
"""What a comparison leaves in its folder beside the cells.

OUT/results.json      one object a method and seed
OUT/comparison.json   means, deviations and differences of every metric
OUT/costs.json        what training a method costs
OUT/tables/           each table as .md, .csv, .tex and .json
OUT/figures/          each figure as .svg
OUT/report.html       all of it on one page
"""

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

import tf_crossdistil
from tf_crossdistil.comparison.comparison_plots import write_figures
from tf_crossdistil.comparison.comparison_report import write_comparison_report
from tf_crossdistil.comparison.comparison_table import Figures, comparison_document
from tf_crossdistil.comparison.study_tables import study_tables
from tf_crossdistil.comparison.table_files import FORMATS, write_tables
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.local_files import write_json
from tf_crossdistil.schema import PreparedData


def write_comparison(out: Path, figures: Figures, experiment: Experiment, data: PreparedData, command: str) -> None:
    """Writes everything but the cells; tables and figures of former calls are removed first.

    Args:
        out: the folder of the comparison.
        figures: what it found.
        experiment: its configuration.
        data: what was trained on.
        command: how it was called.

    Raises:
        CrossDistilError: a file cannot be written or removed.
    """
    comparison, tables = figures.comparison, study_tables(figures)
    write_json(out / "results.json", [result.document() for result in comparison.results])
    write_json(out / "comparison.json", comparison_document(figures))
    _remove(out / "tables", FORMATS)
    write_tables(out / "tables", tables)
    _remove(out / "figures", [".svg"])
    write_figures(out / "figures", comparison)
    write_comparison_report(out / "report.html", figures, tables, _facts(figures, experiment, data) | {"Command": command})


def _remove(folder: Path, suffixes: Iterable[str]) -> None:
    """What a former call wrote and this one perhaps does not."""
    try:
        for path in [path for suffix in suffixes for path in folder.glob(f"*{suffix}")]:
            path.unlink()
    except OSError as error:
        raise CrossDistilError(f"cannot remove {error.filename}: {error.strerror}; remove it, and compare again") from error


def _facts(figures: Figures, experiment: Experiment, data: PreparedData) -> dict[str, str]:
    training = experiment.training
    stopping = training.early_stopping
    seeds = sorted({result.seed for result in figures.comparison.results})
    length = f"{training.epochs} epoch{'s' * (training.epochs != 1)}"
    # The first epoch is the best so far, and after the last nothing is left to stop.
    if stopping is not None and 1 + stopping.patience < training.epochs:
        length = f"at most {length}, fewer after {stopping.patience} without better validation {stopping.metric}"
    return {
        "Experiment": experiment.name,
        "Data": f"run {data.metadata.run}",
        "Rows": ", ".join(f"{split} {data.rows(split):,}" for split in data.metadata.counts),
        "Seeds": ", ".join(map(str, seeds)),
        "Training": f"{length}; batches of {training.batch_size:,} rows",
        "Compared with": figures.baseline,
        "Versions": f"tf_crossdistil {tf_crossdistil.__version__}, TensorFlow {tf.__version__}",
    }
