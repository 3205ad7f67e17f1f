# SPDX-License-Identifier: Apache-2.0
"""What a comparison leaves in its folder beside the cells.

OUT/results.json      one object a method and seed
OUT/comparison.json   means, deviations and differences of every metric
OUT/costs.json        what training a method costs
OUT/tables/           each table as .md, .csv, .tex and .json
OUT/figures/          each figure as .svg
OUT/report.html       all of it on one page
"""

from pathlib import Path

import tensorflow as tf

import tf_crossdistil
from tf_crossdistil.comparison.comparison_plots import write_figures
from tf_crossdistil.comparison.comparison_report import write_comparison_report
from tf_crossdistil.comparison.comparison_table import Figures, comparison_document
from tf_crossdistil.comparison.study_tables import study_tables
from tf_crossdistil.comparison.table_files import write_tables
from tf_crossdistil.config import Experiment
from tf_crossdistil.local_files import write_json
from tf_crossdistil.schema import PreparedData


def write_comparison(out: Path, figures: Figures, experiment: Experiment, data: PreparedData) -> None:
    """Writes everything but the cells.

    Raises:
        CrossDistilError: a file cannot be written.
    """
    comparison, tables = figures.comparison, study_tables(figures)
    write_json(out / "results.json", [result.document() for result in comparison.results])
    write_json(out / "comparison.json", comparison_document(figures))
    write_tables(out / "tables", tables)
    write_figures(out / "figures", comparison)
    write_comparison_report(out / "report.html", figures, tables, _facts(figures, experiment, data))


def _facts(figures: Figures, experiment: Experiment, data: PreparedData) -> dict[str, str]:
    training = experiment.training
    stopping = training.early_stopping
    seeds = sorted({result.seed for result in figures.comparison.results})
    patience = "" if stopping is None else f", fewer after {stopping.patience} without better validation {stopping.metric}"
    return {
        "Experiment": experiment.name,
        "Data": f"run {data.metadata.run}",
        "Rows": ", ".join(f"{split} {data.rows(split):,}" for split in data.metadata.counts),
        "Seeds": ", ".join(map(str, seeds)),
        "Training": f"at most {training.epochs} epochs{patience}; batches of {training.batch_size:,} rows",
        "Compared with": figures.baseline,
        "Versions": f"tf_crossdistil {tf_crossdistil.__version__}, TensorFlow {tf.__version__}",
    }
