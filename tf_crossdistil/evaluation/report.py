# SPDX-License-Identifier: Apache-2.0
"""The report page: one HTML file that needs nothing else."""

from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from tf_crossdistil.evaluation.page import Plot, Section, note, scroll_box, write_page
from tf_crossdistil.evaluation.plots import learning_curves, reliability_diagram, score_distributions
from tf_crossdistil.evaluation.regression_plots import error_distributions, labels_over_predictions
from tf_crossdistil.evaluation.results import METRICS, MethodResult, ResultTable, result_tables


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        title: heading of the page.
        methods: at least one, all measured on the same rows; their order fixes their colours.
        facts: what a reader should know of data and training, each under its name.
    """

    title: str
    methods: list[MethodResult]
    facts: dict[str, str]

    @property
    def tasks(self) -> list[str]:
        """The tasks that every method was measured on."""
        return list(self.methods[0].summary["tasks"])

    @property
    def regression(self) -> list[str]:
        """The regression tasks among them."""
        return [task for task in self.tasks if task in self.methods[0].predictions.regression]


def write_report(path: Path, report: Report) -> None:
    """Writes a self-contained page: facts, result table and plots, without scripts or external resources.

    Args:
        path: of the page, usually `report.html`; it appears when it is complete.
        report: what to show.

    Raises:
        CrossDistilError: the file cannot be written.
    """
    tables = result_tables([(method.name, method.summary) for method in report.methods])
    notes = [_NOTE, *([_REGRESSION_NOTE] if report.regression else [])]
    sections = [
        Section("Results", "".join([*map(_table, tables), *map(note, notes)])),
        Section("Learning curves", plots=_learning_plots(report)),
    ]
    for task in report.tasks:
        plots = _regression_plots if task in report.regression else _task_plots
        sections.append(Section(f"Task {task}", plots=plots(report, task)))
    write_page(path, report.title, report.facts, sections)


def _learning_plots(report: Report) -> list[Plot]:
    def curves(title: str, caption: str, key: str, label: str) -> Plot:
        return Plot(title, caption, learning_curves(report.methods, key, label))

    plots = [
        curves("Training loss", "Methods sum different terms: compare the shapes, not the heights.", "loss", "Loss"),
        curves("Validation log loss", "Mean over the binary tasks; lower is better.", "validation_log_loss", "Log loss (nats)"),
    ]
    for task in report.tasks:
        for key in ("mse",) if task in report.regression else ("auc", "multi_auc"):
            title, better = METRICS[key].title, "higher" if METRICS[key].higher_is_better else "lower"
            caption = f"On the validation split; {better} is better."
            plots.append(curves(f"{title} of {task}", caption, f"validation_{task}_{key}", title))
    return plots


def _task_plots(report: Report, task: str) -> list[Plot]:
    return [
        Plot(
            f"Reliability of {task}",
            "Twenty bins of equal mass with 95 % intervals; on the dashed line a prediction means what it says. "
            "Below, how many rows were predicted what.",
            reliability_diagram(report.methods, task),
        ),
        Plot(
            f"Scores of {task}",
            "Each class has area 1; the less the two overlap, the higher the AUC.",
            score_distributions(report.methods, task),
        ),
    ]


def _regression_plots(report: Report, task: str) -> list[Plot]:
    return [
        Plot(
            f"Labels and predictions of {task}",
            "Twenty bins of equal mass with 95 % intervals of the mean label; on the dashed line predictions are right on "
            "average. Below, how many rows were predicted what.",
            labels_over_predictions(report.methods, task),
        ),
        Plot(
            f"Errors of {task}",
            "Each has area 1; the narrower and the nearer to zero, the better. The outermost hundredth is not shown.",
            error_distributions(report.methods, task),
        ),
    ]


def _table(shown: ResultTable) -> str:
    columns = shown.columns
    groups = []
    for task, task_rows in groupby(shown.rows, key=lambda row: row.task):
        lines = [f'<tr><th colspan="{1 + len(columns)}" scope="rowgroup"><span>{escape(task)}</span></th></tr>']
        for row in task_rows:
            cells = "".join(
                f"<td{' class=best' if is_best else '' if column.competes else ' class=reference'}>{cell}</td>"
                for column, cell, is_best in zip(columns, row.cells, row.is_best, strict=True)
            )
            lines.append(f'<tr><th class="name" scope="row">{row.metric.title}</th>{cells}</tr>')
        groups.append(f"<tbody>{''.join(lines)}</tbody>")
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in columns)
    table = f'<table><thead><tr><td class="name"></td>{head}</tr></thead>{"".join(groups)}</table>'
    return scroll_box(f"Metrics of {', '.join(dict.fromkeys(row.task for row in shown.rows))}", table)


_NOTE = """AUC: how often a positive row ranks above a negative one. Multi-AUC: the same over all label combinations,
in the order that the other tasks' labels refine. GAUC: AUC within each group, such as a user. Normalised entropy: log loss
over that of always predicting the share of positives. ECE: how far predicted probabilities are from observed shares.
Calibration ratio: the sum of predictions over the sum of positives. Higher is better for the AUCs, lower for log loss,
normalised entropy and ECE, and a calibration ratio is best at 1. The best method of each row is bold; its teachers stand
beside it. Brackets, where shown, are 95 % intervals of the bootstrap. Best reachable, where shown, is what the true
probabilities score on these rows; for Multi-AUC the best of their simple combinations."""
_REGRESSION_NOTE = """MSE: the mean of squared errors, in the square of the label's units. RMSE, its root, and MAE, the mean of
absolute errors, are in the label's units. R²: the share of the label's variance that predictions explain, 0 for a model that
always says the mean. Lower is better but for R²."""
