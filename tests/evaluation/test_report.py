# SPDX-License-Identifier: Apache-2.0
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tests.evaluation.html_page import Page
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.evaluation.plots import learning_curves, reliability_diagram, score_distributions
from tf_crossdistil.evaluation.report import Report, write_report
from tf_crossdistil.evaluation.results import BINARY_METRICS, METRICS, Column, MethodResult, result_columns, result_rows
from tf_crossdistil.evaluation.tables import result_table
from tf_crossdistil.metrics.bootstrap import bootstrap_intervals
from tf_crossdistil.metrics.exact import calibration_bins
from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.metrics.summary import summarize

EXPERIMENT = Experiment.model_validate(
    {
        "name": "test",
        "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
        "features": [{"name": "uid", "kind": "categorical"}],
        "split": {"by": "hash", "key": ["uid"]},
    }
)


def make_result(name, noise=1.0):
    generator = np.random.default_rng(0)
    logits = generator.normal([-0.5, -3.0], 1.0, (3000, 2))
    truth = 1 / (1 + np.exp(-logits))
    predictions = Predictions(
        tasks=["finish", "like"],
        labels=(generator.random(truth.shape) < truth).astype(np.float32),
        students=(1 / (1 + np.exp(-logits - noise * generator.standard_normal(truth.shape)))).astype(np.float32),
        teachers=(1 / (1 + np.exp(-logits - noise / 2 * generator.standard_normal(truth.shape)))).astype(np.float32),
        truth=truth.astype(np.float32),
    )
    numbers = ["loss", "validation_log_loss"]
    numbers += [f"validation_{task}_{metric}" for task in ("finish", "like") for metric in ("auc", "multi_auc")]
    history = [{"epoch": float(epoch)} | dict.fromkeys(numbers, noise + 1 / epoch) for epoch in (1, 2, 3)]
    return MethodResult(name, summarize(EXPERIMENT, predictions, "test"), predictions, history)


@pytest.fixture(scope="module")
def results():
    return [make_result("PLE", noise=1.5), make_result("CrossDistil", noise=0.5)]


def axes_of(figure):
    assert figure is not None
    return figure.axes


def written(tmp_path, report):
    path = tmp_path / "report.html"
    write_report(path, report)
    assert list(tmp_path.iterdir()) == [path]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def content(results, tmp_path_factory):
    """A page, which takes a second to draw."""
    return written(tmp_path_factory.mktemp("page"), Report("A demo", results, {"Rows": "3,000"}))


def test_page_is_well_formed_and_has_every_plot(content):
    page = Page(content)
    titles = ["Training loss", "Validation log loss"]
    titles += [f"{metric} of {task}" for task in ("finish", "like") for metric in ("AUC", "Multi-AUC")]
    titles += [f"{plot} of {task}" for task in ("finish", "like") for plot in ("Reliability", "Scores")]
    assert page.plots == titles
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
    for text in ("A demo", "Rows", "3,000", "PLE", "CrossDistil", "best reachable"):
        assert text in page.text


def test_page_needs_nothing_else(content):
    page = Page(content)
    references = [value for name in ("src", "href", "xlink:href", "srcset", "data") for value in page.attributes(name)]
    references += re.findall(r"url\(([^)]*)\)", content)
    assert references
    assert all(reference.startswith("#") for reference in references)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}
    assert "@import" not in content


def test_ids_are_unique_and_references_lead_somewhere(content):
    page = Page(content)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {reference.removeprefix("#") for reference in page.attributes("xlink:href")} <= set(ids)


def test_every_text_is_escaped(tmp_path, results):
    evil = "<script>alert('&\"$')</script>"
    page = Page(written(tmp_path, Report(evil, [replace(results[0], name=evil)], {evil: evil})))
    assert "script" not in {tag for tag, _ in page.elements}
    # Title and heading, the two columns of the table, name and text of the fact.
    assert page.text.count(evil) == 6


def test_table_of_the_page_marks_the_best(content, results):
    for task in ("finish", "like"):
        best, worse = (result.summary["tasks"][task]["auc"] for result in reversed(results))
        teacher = results[0].summary["teachers"][task]["auc"]
        assert f"<td>{worse:.4f}</td><td class=reference>{teacher:.4f}</td><td class=best>{best:.4f}</td>" in content


@pytest.mark.slow
def test_same_input_gives_the_same_page(tmp_path, content, results):
    assert written(tmp_path, Report("A demo", results, {"Rows": "3,000"})) == content


def test_methods_without_history_or_with_nan_still_give_a_page(tmp_path, results):
    broken = replace(results[0].predictions, students=np.full((3000, 2), np.nan, np.float32))
    diverged = MethodResult("diverged", summarize(EXPERIMENT, broken, "test"), broken, [])
    page = Page(written(tmp_path, Report("A demo", [diverged], {})))
    assert "svg" not in {tag for tag, _ in page.elements}
    assert "n/a" in page.text
    both = Page(written(tmp_path, Report("A demo", [diverged, results[1]], {})))
    assert sum(tag == "svg" for tag, _ in both.elements) == 10


def test_unwritable_path_is_one_clear_error(tmp_path, results):
    (tmp_path / "file").touch()
    nothing = replace(results[0], summary={**results[0].summary, "tasks": {}}, history=[])
    with pytest.raises(CrossDistilError, match="cannot write"):
        write_report(tmp_path / "file" / "report.html", Report("A demo", [nothing], {}))


def test_learning_curves_draw_the_history(results):
    axes = axes_of(learning_curves(results, "loss", "Loss"))[0]
    assert [line.get_label() for line in axes.lines] == ["PLE", "CrossDistil"]
    assert axes.lines[0].get_ydata() == pytest.approx([2.5, 2.0, 1.5 + 1 / 3])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Epoch", "Loss")
    assert len({line.get_color() for line in axes.lines}) == 2


def test_fifteen_methods_can_be_told_apart(results):
    many = [replace(results[0], name=f"method {number}") for number in range(15)]
    lines = axes_of(learning_curves(many, "loss", "Loss"))[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 15
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 15


def test_learning_curves_leave_out_what_no_method_has(results):
    assert learning_curves(results, "validation_unknown", "Unknown") is None


def test_reliability_diagram_shows_bins_and_counts(results):
    upper, lower = axes_of(reliability_diagram(results, "like"))
    predictions = results[0].predictions
    bins = calibration_bins(predictions.labels[:, 1], predictions.students[:, 1])
    assert upper.lines[0].get_xdata() == pytest.approx(bins.predicted)
    assert upper.lines[0].get_ydata() == pytest.approx(bins.observed)
    for segment, observed in zip(upper.collections[0].get_segments(), bins.observed, strict=True):
        assert segment[0, 1] - 1e-12 <= observed <= segment[1, 1] + 1e-12
    # The outline of a histogram passes through each count twice. The axis may cut off a thin end of high scores.
    counts = lower.patches[0].get_xy()[1:-1:2, 1]
    inside = predictions.students[:, 1] <= upper.get_xlim()[1]
    assert counts.sum() == inside.sum() > 2900


def test_score_distributions_have_a_panel_a_method(results):
    panels = axes_of(score_distributions(results, "finish"))
    assert [panel.get_title(loc="left") for panel in panels] == ["PLE", "CrossDistil"]
    for panel in panels:
        widths = [patch.get_width() for patch in panel.patches]
        heights = [patch.get_height() for patch in panel.patches]
        assert np.dot(widths, heights) == pytest.approx(2, rel=1e-6)


def printed(table, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_result_table_in_eighty_columns(results):
    plain = (f"[b]{results[0].name}", {**results[0].summary, "teachers": {}})
    text = printed(result_table([plain, (results[1].name, results[1].summary)]))
    assert "[b]PLE" in text
    assert all(metric.title in text for metric in BINARY_METRICS.values() if metric.title != "GAUC")
    for shown in (results[0].summary["tasks"], results[1].summary["tasks"], results[1].summary["teachers"]):
        for values in shown.values():
            assert all(f"{values[key]:.4f}" in text for key in BINARY_METRICS if key != "gauc")
    assert f"{results[0].summary['best']['like']['multi_auc']:.4f}" in text


def test_grouped_auc_has_a_row_where_it_was_measured(results):
    predictions = replace(results[0].predictions, groups=np.arange(3000) % 7)
    summary = summarize(EXPERIMENT, predictions, "test")
    titles = [row.metric.title for row in result_rows(result_columns([("PLE", summary)]))]
    assert titles == [metric.title for metric in BINARY_METRICS.values()] * 2
    assert f"{summary['tasks']['like']['gauc']:.4f}" in printed(result_table([("PLE", summary)]))


def test_intervals_stand_beside_their_values(results, tmp_path):
    intervals = bootstrap_intervals(EXPERIMENT, results[0].predictions, 5)
    summary = {**results[0].summary, "intervals": intervals}
    text = printed(result_table([("PLE", summary)]), width=120)
    page = written(tmp_path, Report("A demo", [replace(results[0], summary=summary, history=[])], {}))
    for role in ("tasks", "teachers"):
        value, (low, high) = summary[role]["like"]["auc"], intervals[role]["like"]["auc"]
        assert f"{value:.4f} [{low:.4f}, {high:.4f}]" in text
        assert f"{value:.4f} [{low:.4f}, {high:.4f}]</td>" in page


def test_tables_without_truth_or_teachers_have_no_column_for_them(results):
    summary = {key: value for key, value in results[0].summary.items() if key != "best"}
    assert len(result_columns([("PLE", {**summary, "teachers": {}})])) == 1
    assert len(result_columns([("PLE", summary)])) == 2
    assert len(result_columns([("PLE", results[0].summary)])) == 3


@pytest.mark.parametrize(
    "metric, values, best",
    [
        ("auc", [0.7, None, 0.8], [False, False, True]),
        ("log_loss", [0.7, None, 0.8], [True, False, False]),
        ("calibration_ratio", [0.7, 1.4, 1.2], [False, False, True]),
        ("mse", [700.0, None, 800.0], [True, False, False]),
        ("r2", [0.1, None, -0.2], [True, False, False]),
    ],
)
def test_best_depends_on_the_metric(metric, values, best):
    def column(value, competes=True):
        return Column("PLE", competes, {"like": dict.fromkeys(METRICS) | {metric: value}}, {})

    perfect = column(0.0 if metric == "log_loss" else 1.0, competes=False)
    rows = result_rows([*map(column, values), perfect])
    (row,) = [row for row in rows if row.metric is METRICS[metric]]
    assert row.is_best == [*best, False]


def test_plots_leave_out_rows_without_a_label_and_count_weights(results):
    original = results[0].predictions
    labels = original.labels.copy()
    labels[:1000, 1] = np.nan
    weights = np.linspace(0.1, 2, 3000, dtype=np.float32)
    masked = replace(results[0], predictions=replace(original, labels=labels, weights=weights))
    upper, lower = axes_of(reliability_diagram([masked], "like"))
    bins = calibration_bins(labels[1000:, 1], original.students[1000:, 1], weights[1000:])
    assert upper.lines[0].get_ydata() == pytest.approx(bins.observed)
    assert lower.get_ylabel() == "Weight of rows"
    counts = lower.patches[0].get_xy()[1:-1:2, 1]
    inside = original.students[1000:, 1] <= upper.get_xlim()[1]
    assert counts.sum() == pytest.approx(weights[1000:][inside].sum(), rel=1e-4)
    (panel,) = axes_of(score_distributions([masked], "like"))
    assert np.dot([p.get_width() for p in panel.patches], [p.get_height() for p in panel.patches]) == pytest.approx(2)
    everything = replace(original, labels=np.full_like(labels, np.nan))
    assert reliability_diagram([replace(masked, predictions=everything)], "like") is None


def test_fewer_effective_rows_give_wider_intervals():
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 2, 4000), generator.random(4000)
    equal = calibration_bins(labels, scores)
    assert equal.rows.tolist() == equal.weights.tolist() == [200] * 20
    assert calibration_bins(labels, scores, np.full(4000, 3.0)).rows.tolist() == pytest.approx([200] * 20)
    uneven = calibration_bins(labels, scores, np.where(np.arange(4000) % 100 == 0, 1000.0, 1.0))
    assert max(uneven.rows) < 20


def test_import_loads_no_tensorflow_and_no_display():
    code = (
        "import sys, tf_crossdistil.evaluation.report, tf_crossdistil.evaluation.tables; "
        "sys.exit(bool({'tensorflow', 'matplotlib.pyplot', 'tkinter'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
