# SPDX-License-Identifier: Apache-2.0
"""Figures of a comparison against the numbers that they show."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.comparison.fake_comparison import METHODS, SEEDS, make_comparison, make_result, make_sweep
from tf_crossdistil.comparison.comparison_plots import (
    comparison_plots,
    cost_plot,
    exchange_drop,
    loss_curves,
    sweep_plot,
    write_figures,
)
from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.comparison.sweeps import SweepPoint
from tf_crossdistil.errors import CrossDistilError

EXCHANGE = "training.label_exchange.like"


def comparison_with(*sweeps, methods=METHODS):
    return make_comparison(methods, sweeps=list(sweeps))


def axes_of(plot):
    assert plot.figure is not None
    return plot.figure.axes


def titles(plot):
    return [axes.get_title(loc="left") for axes in axes_of(plot)]


def what_points_are(plot):
    return plot.figure.get_supxlabel()


def legend(plot):
    return [text.get_text() for text in plot.figure.legends[0].get_texts()]


def drawn(axes):
    """Places, means and deviations of each line with error bars."""
    return [
        (line.get_xdata(), line.get_ydata(), np.array([np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]))
        for line, _, (bars,) in axes.containers
    ]


def values(sweep, role, task, metric="multi_auc"):
    """By value and seed, `[values, seeds]`."""
    return np.array([[result.summary[role][task][metric] for result in point.results] for point in sweep.points])


def test_a_sweep_shows_means_and_deviations_of_students_and_teachers():
    sweep = make_sweep("distillation.margin", 1.0, [-4.0, 0.0, 1.0, 4.0], lambda value: -0.001 * value)
    plot = sweep_plot(comparison_with(sweep), sweep)
    assert titles(plot) == ["Mean over the tasks", "finish", "like"]
    assert legend(plot) == ["crossdistil", "crossdistil teachers", "configured value"]
    for axes, tasks in zip(axes_of(plot), (["finish", "like"], ["finish"], ["like"]), strict=True):
        assert axes.get_ylabel() == "Multi-AUC"
        for (places, means, deviations), role in zip(drawn(axes), ("tasks", "teachers"), strict=True):
            expected = np.mean([values(sweep, role, task) for task in tasks], axis=0)
            assert places.tolist() == [-4, 0, 1, 4]
            assert means == pytest.approx(expected.mean(axis=1))
            assert deviations == pytest.approx(expected.std(axis=1, ddof=1))
        students, teachers = (container[0] for container in axes.containers)
        assert (students.get_linestyle(), teachers.get_linestyle()) == ("-", "--")
        assert students.get_color() == teachers.get_color()
        # Drawn aside, so that no bar hides another.
        at_place = [line.get_transform().transform((1, 0.7))[0] for line in (students, teachers)]
        assert 3 < at_place[1] - at_place[0] < 12
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [1]
    assert axes_of(plot)[-1].get_xlabel() == "distillation.margin"
    assert what_points_are(plot) == "Points: mean over 3 seeds; bars: standard deviation."


def test_values_that_are_no_numbers_are_categories():
    sweep = make_sweep("model.towers", [64], [[64], [64, 32], None], tasks={"like": 0.8})
    plot = sweep_plot(comparison_with(sweep), sweep)
    (axes,) = axes_of(plot)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["[64]", "[64, 32]", "null"]
    assert drawn(axes)[0][0].tolist() == [0, 1, 2]
    # One task has no mean over the tasks beside it.
    assert titles(plot) == ["like"]


def test_wide_ranges_of_positive_values_are_logarithmic():
    wide = make_sweep("training.learning_rate", 0.001, [0.0001, 0.001, 0.01])
    narrow = make_sweep("distillation.beta1", 0.5, [0.0, 0.5, 100.0])
    scales = [axes_of(sweep_plot(comparison_with(sweep), sweep))[-1].get_xscale() for sweep in (wide, narrow)]
    assert scales == ["log", "linear"]


def test_what_cannot_be_drawn_has_no_figure():
    one = make_sweep("distillation.margin", 1.0, [1.0])
    failed = replace(one, points=[*one.points, SweepPoint("crossdistil", 2.0, [])])
    undefined = make_sweep("distillation.margin", 1.0, [0.0, 1.0])
    for point in undefined.points:
        for result in point.results:
            for task in ("finish", "like"):
                result.summary["tasks"][task]["multi_auc"] = result.summary["teachers"][task]["multi_auc"] = None
    for sweep in (one, failed, undefined):
        assert sweep_plot(comparison_with(sweep), sweep).figure is None
    single = make_sweep(EXCHANGE, None, [None])
    assert exchange_drop(comparison_with(single), single).figure is None
    without = make_comparison(["single"], sweeps=[], costs={})
    for result in without.results:
        del result.history[1:]
    assert loss_curves(without).figure is None and cost_plot(without).figure is None
    assert all(plot.needs for plot in comparison_plots(without).values())


def test_undefined_values_leave_out_their_seed_and_the_figure_says_so():
    sweep = make_sweep("distillation.margin", 1.0, [0.0, 1.0])
    kept = values(sweep, "tasks", "finish")[0, 1:]
    sweep.points[0].results[0].summary["tasks"]["finish"]["multi_auc"] = None
    plot = sweep_plot(comparison_with(sweep), sweep)
    mean, finish, like = (drawn(axes)[0] for axes in axes_of(plot))
    assert finish[1][0] == pytest.approx(kept.mean())
    # A mean over other tasks would be another number.
    assert mean[1][0] == pytest.approx((kept.mean() + values(sweep, "tasks", "like")[0, 1:].mean()) / 2)
    assert like[1][0] == pytest.approx(values(sweep, "tasks", "like")[0].mean())
    assert "mean over 2 to 3 seeds" in what_points_are(plot)


def losses(comparison, method, key):
    """By epoch and seed."""
    return np.array([[e[key] for e in r.history] for r in comparison.results if r.method == method]).T


def test_loss_curves_show_error_correction_where_both_were_trained():
    comparison = make_comparison(sweeps=[])
    plot = loss_curves(comparison)
    assert plot.title == "Test loss over the epochs" and "with and without error correction" in plot.caption
    assert plot.caption.endswith("No epoch was chosen by these rows.")
    assert legend(plot) == ["crossdistil", "without_correction"]
    for axes, key in zip(axes_of(plot), ("test_log_loss", "test_finish_log_loss", "test_like_log_loss"), strict=True):
        assert axes.get_ylabel() == "Log loss (nats)"
        for (epochs, means, deviations), method in zip(drawn(axes), legend(plot), strict=True):
            expected = losses(comparison, method, key)
            assert epochs.tolist() == [1, 2, 3, 4]
            assert means == pytest.approx(expected.mean(axis=1)) and deviations == pytest.approx(expected.std(axis=1, ddof=1))


def test_loss_curves_go_as_far_as_every_seed_and_show_all_methods_where_the_two_are_missing():
    comparison = make_comparison(["ple", "crossdistil", "taug"], sweeps=[])
    del comparison.results[0].history[3:]
    # Trained before the split was watched: it has no say in the curve.
    comparison.results[1].history[:] = [{"epoch": 1, "seconds": 2.0, "test_log_loss": None}]
    plot = loss_curves(comparison)
    assert legend(plot) == ["ple", "crossdistil", "taug"]
    ple, *others = drawn(axes_of(plot)[0])
    assert [len(places) for places, _, _ in (ple, *others)] == [3, 4, 4]
    first, third = (comparison.results[index].history[0]["test_log_loss"] for index in (0, 2))
    assert ple[1][0] == pytest.approx((first + third) / 2)
    assert "mean over 2 to 3 seeds" in what_points_are(plot)


def test_loss_curves_are_of_the_compared_split_and_one_seed_has_no_bars():
    comparison = make_comparison(["crossdistil", "without_correction"], sweeps=[])
    results = [make_result(method, 0, split="validation") for method in comparison.methods]
    plot = loss_curves(replace(comparison, results=results))
    assert plot.title == "Validation loss over the epochs" and "chosen" not in plot.caption
    axes = axes_of(plot)[0]
    assert axes.containers[0][0].get_ydata() == pytest.approx([e["validation_log_loss"] for e in results[0].history])
    assert not any(segment.size for segment in axes.containers[0][2][0].get_segments())
    assert what_points_are(plot) == "One seed: no deviation is known."


def test_exchanged_labels_are_set_against_the_same_seed():
    sweep = make_sweep(EXCHANGE, None, [None, 0.1, 0.9], lambda share: -0.05 * (share or 0), methods=("ple", "crossdistil"))
    # A seed without the configured point has nothing to be set against.
    sweep.points[0].results.pop()
    plot = exchange_drop(comparison_with(sweep), sweep)
    assert titles(plot) == [
        *["AUC of finish", "Multi-AUC of finish"],
        *["AUC of like, the exchanged task", "Multi-AUC of like, the exchanged task"],
    ]
    assert legend(plot) == ["ple", "crossdistil", "crossdistil teachers"]
    assert axes_of(plot)[-1].get_xlabel() == "Positives of like exchanged (%)"
    places = [(task, metric) for task in ("finish", "like") for metric in ("auc", "multi_auc")]
    ple, crossdistil = (replace(sweep, points=[p for p in sweep.points if p.method == m]) for m in ("ple", "crossdistil"))
    for axes, (task, metric) in zip(axes_of(plot), places, strict=True):
        of_ple, students, teachers = drawn(axes)
        for (shares, means, deviations), role in ((students, "tasks"), (teachers, "teachers")):
            found = values(crossdistil, role, task, metric)
            assert shares.tolist() == [0, 10, 90]
            assert means == pytest.approx((found - found[0]).mean(axis=1))
            assert deviations == pytest.approx((found - found[0]).std(axis=1, ddof=1))
        both = [[result.summary["tasks"][task][metric] for result in point.results[:2]] for point in ple.points]
        assert of_ple[1][2] == pytest.approx(np.subtract(both[2], both[0]).mean())


def test_costs_have_a_bar_a_method():
    costs = {"ple": Cost(12.5, 2_000_000, 1_500_000, 800), "single": Cost(10, 1_000_000, 1_000_000, 700)}
    step, parameters, memory = axes_of(cost_plot(make_comparison(["single", "ple", "taug"], sweeps=[], costs=costs)))
    assert [label.get_text() for label in step.get_yticklabels()] == ["single", "ple"]
    assert [bar.get_width() for bar in step.patches] == [10, 12.5]
    assert [bar.get_width() for bar in parameters.patches] == [1_000_000, 2_000_000, 1_000_000, 1_500_000]
    assert [bar.get_width() for bar in memory.patches] == [700, 800]
    assert [axes.get_xlabel() for axes in (step, parameters, memory)] == [
        *["Time of a training step (ms)", "Parameters", "Memory (MiB)"]
    ]


def test_long_names_are_broken_after_their_signs_and_have_room():
    long = "my_package.my_module:MyBackbone+ctfm+gkd"
    axes = axes_of(cost_plot(make_comparison(["single", long, "ple"], [0], sweeps=[])))[0]
    first, broken, last = (label.get_text() for label in axes.get_yticklabels())
    assert (first, last) == ("single", "ple") and broken.replace("\n", "") == long
    lines = broken.split("\n")
    assert len(lines) == 2 and max(map(len, lines)) <= 27 and lines[0][-1] in "_.:+"
    assert np.diff(axes.get_yticks()).tolist() == [1.5, 1.5]


def small_sweeps():
    """Sweeps of one task, whose keys end alike, and exchanged labels."""
    keys = ["distillation.alpha", "model.dropout", "distillation.dropout", EXCHANGE]
    return [make_sweep(key, 0.0, [0.0, 0.5], tasks={"like": 0.8}) for key in keys]


def test_figures_are_whole_files_with_stable_names_and_bytes(tmp_path):
    comparison = make_comparison(["single", "crossdistil"], SEEDS[:2], {"like": 0.8}, small_sweeps())
    folder = tmp_path / "out" / "figures"
    write_figures(folder, comparison)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert set(first) == {
        *["sweep-alpha.svg", "sweep-model-dropout.svg", "sweep-distillation-dropout.svg"],
        *["loss-curves.svg", "label-exchange.svg", "costs.svg"],
    }
    for content in first.values():
        root = ElementTree.fromstring(content)
        assert root.tag.endswith("svg") and root.get("role") == "img" and root.get("aria-label")
        background = next(element for element in root.iter() if element.tag.endswith("path"))
        assert "fill: #ffffff" in str(background.get("style"))
        assert b"currentColor" not in content and b"<dc:date>" not in content
    write_figures(folder, replace(comparison, sweeps=comparison.sweeps[:1], costs={}))
    assert (folder / "sweep-alpha.svg").read_bytes() == first["sweep-alpha.svg"]


def test_exchanges_of_several_tasks_have_a_file_each():
    sweeps = [make_sweep(f"training.label_exchange.{task}", None, [None, 0.5], tasks={"like": 0.8}) for task in ("like", "a/b")]
    assert list(comparison_plots(comparison_with(*sweeps))) == [
        *["loss-curves", "label-exchange-like", "label-exchange-a-b", "costs"]
    ]


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CrossDistilError, match="cannot write"):
        write_figures(tmp_path / "file", make_comparison(["single"], [0], {"like": 0.8}, []))
