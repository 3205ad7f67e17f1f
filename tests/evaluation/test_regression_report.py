# SPDX-License-Identifier: Apache-2.0
"""Tables and plots of a model with regression tasks beside binary ones."""

import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tests.metrics.test_regression_metrics import EXPERIMENT, mixed_predictions
from tf_crossdistil.evaluation.record import Evaluation, Means, ValueMeans, means_by_task
from tf_crossdistil.evaluation.regression_plots import error_distributions, labels_over_predictions
from tf_crossdistil.evaluation.report import Report, write_report
from tf_crossdistil.evaluation.results import MethodResult, result_columns, result_tables, value_columns
from tf_crossdistil.evaluation.tables import result_table
from tf_crossdistil.metrics.bootstrap import bootstrap_intervals
from tf_crossdistil.metrics.summary import summarize


@pytest.fixture(scope="module")
def result():
    predictions = mixed_predictions()
    summary = summarize(EXPERIMENT, predictions, "test")
    summary["intervals"] = bootstrap_intervals(EXPERIMENT, predictions, 5)
    history = [{"epoch": epoch, "loss": 1 / epoch, "validation_rating_mse": 2 / epoch} for epoch in (1.0, 2.0)]
    return MethodResult("PLE", summary, predictions, history)


def axes_of(figure):
    assert figure is not None
    return figure.axes


@pytest.fixture(scope="module")
def better(result):
    closer = result.predictions.students.copy()
    closer[:, 0] = np.where(np.isnan(result.predictions.labels[:, 0]), closer[:, 0], result.predictions.labels[:, 0])
    predictions = replace(result.predictions, students=closer)
    return MethodResult("SNR", summarize(EXPERIMENT, predictions, "test"), predictions, [])


def test_regression_tasks_have_a_table_of_their_own(result, better):
    results = [(each.name, each.summary) for each in (result, better)]
    binary, regression = result_tables(results)
    assert [column.title for column in binary.columns] == ["PLE", "PLE teachers", "SNR", "SNR teachers", "best reachable"]
    assert [column.title for column in regression.columns] == ["PLE", "SNR"]
    assert {row.task for row in binary.rows} == {"click", "like"}
    titles = [(row.task, row.metric.title) for row in regression.rows]
    assert titles == [(task, title) for task in ("rating", "price") for title in ("MSE", "RMSE", "MAE", "R²")]
    # A perfect rating is best by all four, and the same price is best twice.
    assert [row.is_best for row in regression.rows] == [[False, True]] * 4 + [[True, True]] * 4
    assert (len(result_columns(results)), len(value_columns(results))) == (5, 2)


def test_the_terminal_shows_both_tables_with_intervals(result):
    console = Console(width=140)
    with console.capture() as capture:
        console.print(result_table([("PLE", result.summary)]))
    text = capture.get()
    assert text.index("Multi-AUC") < text.index("RMSE") and text.count("Metric") == 2 and "\n\n" in text
    value, (low, high) = (of["tasks"]["price"]["mae"] for of in (result.summary, result.summary["intervals"]))
    assert f"{value:.5f} [{low:.5f}, {high:.5f}]" in text


def test_binary_tasks_alone_have_one_table(result):
    summary = {**result.summary, "tasks": {task: result.summary["tasks"][task] for task in ("click", "like")}}
    assert len(result_tables([("PLE", summary)])) == 1


def test_the_page_has_the_plots_of_each_kind(result, tmp_path):
    two = {task: result.summary["tasks"][task] for task in ("rating", "click")}
    shown = replace(result, summary={**result.summary, "tasks": two})
    write_report(tmp_path / "report.html", Report("A mix", [shown], {}))
    page = (tmp_path / "report.html").read_text()
    assert re.findall("<h3>(.*?)</h3>", page) == [
        *["Training loss", "MSE of rating", "Labels and predictions of rating", "Errors of rating"],
        *["Reliability of click", "Scores of click"],
    ]
    assert page.count("<table>") == 2 and "RMSE, its root" in page
    assert f"<td class=best>{two['rating']['r2']:.4f} [" in page


def test_the_binned_plot_shows_mean_labels_over_mean_predictions(result):
    upper, lower = axes_of(labels_over_predictions([result], "price"))
    labels, values, weights = (
        column.astype(np.float64)
        for column in (result.predictions.labels[:, 2], result.predictions.students[:, 2], result.predictions.weights)
    )
    kept = ~np.isnan(labels)
    labels, values, weights = labels[kept], values[kept], weights[kept]
    x, y = upper.lines[0].get_data()
    assert len(x) == 20
    # Each bin has a twentieth of the weight: those means are the means of all rows, but for the weight of the rows at edges.
    assert np.mean(x) == pytest.approx(np.average(values, weights=weights), abs=5e-3)
    assert np.mean(y) == pytest.approx(np.average(labels, weights=weights), abs=1e-2)
    first = values <= np.sort(values)[np.searchsorted(np.cumsum(weights[np.argsort(values)]), weights.sum() / 20, "right") - 1]
    assert y[0] == pytest.approx(np.average(labels[first], weights=weights[first]), abs=1e-6)
    low, high = upper.collections[0].get_segments()[0][:, 1]
    spread = np.sqrt(np.average((labels[first] - y[0]) ** 2, weights=weights[first]))
    effective = weights[first].sum() ** 2 / (weights[first] ** 2).sum()
    assert (high - low) / 2 == pytest.approx(1.96 * spread / np.sqrt(effective), rel=1e-3)
    assert lower.get_ylabel() == "Weight of rows"


def test_errors_have_a_panel_a_method_around_zero(result, better):
    panels = axes_of(error_distributions([result, better], "price"))
    assert [axes.get_title(loc="left") for axes in panels] == ["PLE", "SNR"]
    area = sum(patch.get_width() * patch.get_height() for patch in panels[0].patches)
    assert area == pytest.approx(1, rel=1e-6)
    zero, mean = (line.get_xdata()[0] for line in panels[0].lines)
    # Values were drawn around the labels.
    assert zero == 0 and abs(mean) < 0.03


def test_what_cannot_be_drawn_is_left_out(result):
    constant = replace(result.predictions, students=np.full_like(result.predictions.students, 3))
    assert labels_over_predictions([replace(result, predictions=constant)], "rating") is not None
    broken = replace(result.predictions, students=np.full_like(result.predictions.students, np.nan))
    for plot in (labels_over_predictions, error_distributions):
        assert plot([replace(result, predictions=broken)], "rating") is None


def test_the_record_keeps_mean_label_and_value(result):
    predictions = result.predictions
    means = means_by_task(predictions)
    kept = ~np.isnan(predictions.labels[:, 2])
    expected = [
        np.average(columns[kept, 2], weights=predictions.weights[kept])
        for columns in (predictions.labels, predictions.students)
    ]
    assert isinstance(means["click"], Means) and isinstance(means["price"], ValueMeans)
    assert [means["price"].mean_label, means["price"].mean_prediction] == pytest.approx(expected)
    evaluation = Evaluation(split="test", data_run="1", epoch=1, checkpoint="x", summary={}, means=means)
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation
