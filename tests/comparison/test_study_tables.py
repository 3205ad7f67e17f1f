# SPDX-License-Identifier: Apache-2.0
"""Which tables a comparison gets, and what stands in their cells."""

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from tests.comparison.fake_comparison import make_comparison, make_sweep
from tests.comparison.given_comparison import given
from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.comparison.study_tables import ABLATIONS, study_tables
from tf_crossdistil.comparison.sweeps import SweepPoint

SINGLE, PLE, WHOLE = [0.70, 0.71, 0.69], [0.72, 0.74, 0.70], [0.75, 0.755, 0.743]


def binary(auc, multi_auc=None, log_loss=None):
    flat = [0.5] * len(auc)
    return {"finish": {"auc": auc, "multi_auc": multi_auc or flat, "log_loss": log_loss or flat}}


def tables_of(figures):
    return {table.name: table for table in study_tables(figures)}


def column(table, metric, role="students", task="finish"):
    """The cells of a column by method."""
    index = [(each.task, each.metric) for each in table.columns].index((task, metric))
    return {row.method: row.cells[index] for row in table.rows if row.role == role}


@pytest.fixture(scope="module")
def usual():
    students = {"single": binary(SINGLE), "ple": binary(PLE), "crossdistil": binary(WHOLE)}
    return given(students, "single", teachers={"crossdistil": binary([0.76, 0.761, 0.759])})


def test_results_have_means_deviations_differences_and_marks_of_the_paired_test(usual):
    table = tables_of(usual)["results"]
    assert [(each.task, each.metric) for each in table.columns] == [("finish", "auc"), ("finish", "multi_auc")]
    assert [(row.method, row.role) for row in table.rows] == [
        ("single", "students"),
        ("ple", "students"),
        ("crossdistil", "students"),
        ("crossdistil", "teachers"),
    ]
    cells = column(table, "auc")
    assert cells["single"].mean == pytest.approx(0.70) and cells["single"].deviation == pytest.approx(0.01)
    assert (cells["single"].difference, cells["single"].p_value, cells["single"].significance) == (None, None, "")
    assert cells["ple"].difference == pytest.approx(0.02)
    for method, values in (("ple", PLE), ("crossdistil", WHOLE)):
        assert cells[method].p_value == pytest.approx(stats.ttest_rel(values, SINGLE).pvalue)
    assert [cells[method].significance for method in ("ple", "crossdistil")] == ["", "**"]
    assert [cells[method].rank for method in ("single", "ple", "crossdistil")] == [None, 2, 1]


def test_teachers_stand_below_their_students_unranked_and_set_against_the_students_of_the_baseline(usual):
    table = tables_of(usual)["results"]
    teachers = column(table, "auc", "teachers")["crossdistil"]
    assert teachers.mean == pytest.approx(0.76) and teachers.rank is None
    assert teachers.difference == pytest.approx(0.06)
    assert teachers.p_value == pytest.approx(stats.ttest_rel([0.76, 0.761, 0.759], SINGLE).pvalue)
    assert any("Teachers" in note for note in table.notes)
    assert table.printed().rows[-1][0] == "crossdistil teachers"


def test_where_all_are_equal_nothing_is_best_and_rounding_does_not_make_a_difference(usual):
    assert {cell.rank for cell in column(tables_of(usual)["results"], "multi_auc").values()} == {None}
    # The mean of three equal numbers is not always the number.
    uneven = given({"a": binary([0.1] * 3), "b": binary([0.05, 0.1, 0.15]), "c": binary([0.05] * 3)}, "a")
    assert fmean([0.1] * 3) != fmean([0.05, 0.1, 0.15])
    assert [cell.rank for cell in column(tables_of(uneven)["results"], "auc").values()] == [1, 1, 2]


def test_of_losses_and_errors_less_is_better():
    whole, without = binary(WHOLE, log_loss=[0.5, 0.51, 0.49]), binary(PLE, log_loss=[0.6, 0.62, 0.59])
    price = {"price": {"mse": [4.0, 4.0, 4.2], "rmse": [2.0, 2.0, 2.1], "mae": [1.0, 1.0, 1.1], "r2": [0.5, 0.5, 0.4]}}
    cheap = {"price": {"mse": [1.0, 1.0, 1.3], "rmse": [1.0, 1.0, 1.1], "mae": [0.5, 0.6, 0.5], "r2": [0.7, 0.7, 0.8]}}
    figures = given({"crossdistil": whole | price, "without_calibration": without | cheap}, "crossdistil")
    tables = tables_of(figures)
    losses = column(tables["ablations"], "log_loss")
    assert [cell.rank for cell in losses.values()] == [1, 2]
    assert losses["without_calibration"].difference == pytest.approx(np.mean([0.1, 0.11, 0.1]))
    for metric in ("mse", "rmse", "mae", "r2"):
        assert [cell.rank for cell in column(tables["values"], metric, task="price").values()] == [2, 1]
    assert any("Less is better for MSE, RMSE and MAE." in note for note in tables["values"].notes)
    assert any("Less is better for Log loss." in note for note in tables["ablations"].notes)
    # It is no table of values, and values have no Multi-AUC.
    assert {each.task for each in tables["results"].columns} == {"finish"}


def test_the_ablations_are_those_of_the_paper():
    assert sorted(ABLATIONS) == sorted(
        ["without_auxiliary_ranking", "without_calibration", "without_correction", "kd_same_task", "kd_cross_task"]
    )


def test_ablations_are_set_against_crossdistil_with_the_same_suffixes():
    methods = ["single", "kd_same_task", "crossdistil", "crossdistil+gkd", "without_correction+gkd", "kd_cross_task+ctfm"]
    figures = given({method: binary([value, value + 0.01]) for value, method in enumerate(methods)}, "single")
    tables = tables_of(figures)
    assert [*tables] == ["results", "ablations", "ablations-gkd", "differences", "suffix-differences"]
    assert [row.method for row in tables["ablations"].rows] == ["crossdistil", "kd_same_task"]
    assert [row.method for row in tables["ablations-gkd"].rows] == ["crossdistil+gkd", "without_correction+gkd"]
    assert tables["ablations-gkd"].reference == "crossdistil+gkd"
    assert column(tables["ablations-gkd"], "auc")["without_correction+gkd"].difference == pytest.approx(1)
    # What has no CrossDistil beside it would be in no table otherwise.
    assert [row.method for row in tables["results"].rows] == ["single", "crossdistil", "crossdistil+gkd", "kd_cross_task+ctfm"]


def test_without_both_crossdistil_and_an_ablation_there_is_no_such_table():
    for methods in (["single", "crossdistil"], ["single", "without_calibration"]):
        figures = given({method: binary(SINGLE) for method in methods}, "single")
        assert [*tables_of(figures)] == ["results", "differences"]
        assert [row.method for row in tables_of(figures)["results"].rows] == methods
    failed = given({"single": binary(SINGLE), "crossdistil": {}, "kd_same_task": binary(PLE)}, "single")
    assert [*tables_of(failed)] == ["results", "differences"]


def test_an_ablation_that_is_the_baseline_is_among_the_results():
    figures = given({"crossdistil": binary(WHOLE), "kd_same_task": binary(PLE)}, "kd_same_task")
    cells = column(tables_of(figures)["results"], "auc")
    assert cells["crossdistil"].difference == pytest.approx(np.mean(WHOLE) - np.mean(PLE))
    assert cells["kd_same_task"].difference is None


def test_one_seed_has_neither_deviations_nor_marks_and_a_note_says_so():
    table = tables_of(given({"single": binary([0.7]), "ple": binary([0.8])}, "single"))["results"]
    cell = column(table, "auc")["ple"]
    assert (cell.deviation, cell.significance, cell.p_value, cell.rank) == (None, "", None, 1)
    assert cell.difference == pytest.approx(0.1)
    assert table.notes[0] == "One seed (0): no deviation is known, and no difference can be tested."
    assert not any("t-test" in note for note in table.notes)


def test_differences_are_over_common_seeds_only_and_notes_say_who_has_fewer():
    students = {"single": binary(SINGLE), "ple": binary([0.8, 0.9]), "mmoe": {}}
    table = tables_of(given(students, "single", first_seeds={"ple": 2}))["results"]
    cells = column(table, "auc")
    # Only seed 2 is common, so that nothing can be tested.
    assert cells["ple"].difference == pytest.approx(0.8 - 0.69)
    assert (cells["ple"].p_value, cells["ple"].seeds, cells["ple"].mean) == (None, 2, pytest.approx(0.85))
    assert (cells["mmoe"].mean, cells["mmoe"].difference, cells["mmoe"].rank) == (None, None, None)
    assert table.notes[:3] == [
        "Mean ± standard deviation over 3 seeds (0, 1, 2).",
        "With other seeds, and so not ranked: ple (2, 3), mmoe (none); differences are over the seeds that both have.",
        "n/a: no seed gives a value.",
    ]


def test_only_methods_with_all_seeds_are_ranked_against_each_other():
    students = {"single": binary(SINGLE), "ple": binary(PLE), "taug": binary([0.9, 0.9]), "mmoe": binary([0.8, None, 0.9])}
    table = tables_of(given(students, "single"))["results"]
    assert [cell.rank for cell in column(table, "auc").values()] == [2, 1, None, None]
    assert any("not ranked: taug (0, 1);" in note for note in table.notes)
    assert any("a seed gives no value" in note for note in table.notes)


def sweep_values(sweep, role, task, metric):
    """By value and seed, `[values, seeds]`."""
    return np.array([[result.summary[role][task][metric] for result in point.results] for point in sweep.points])


def test_a_sweep_has_a_table_of_its_values_set_against_the_configured_one():
    sweep = make_sweep("distillation.margin", 1.0, [0.0, 1.0, 2.0], lambda value: -0.01 * value)
    table = tables_of(Figures.of(make_comparison(["single"], sweeps=[sweep], costs={})))["sweep-margin"]
    assert [(each.task, each.metric) for each in table.columns] == [
        ("mean over the tasks", "multi_auc"),
        *((task, metric) for task in ("finish", "like") for metric in ("auc", "multi_auc", "log_loss")),
    ]
    rows = {row.title: row for row in table.rows}
    assert [*rows] == [f"crossdistil{role}, {value}" for role in ("", " teachers") for value in (0.0, 1.0, 2.0)]
    for role, title in (("tasks", ""), ("teachers", " teachers")):
        for place, (task, metric) in enumerate([("finish", "auc"), ("finish", "multi_auc"), ("finish", "log_loss")], 1):
            found = sweep_values(sweep, role, task, metric)
            cell = rows[f"crossdistil{title}, 2.0"].cells[place]
            assert (cell.mean, cell.deviation) == (pytest.approx(found[2].mean()), pytest.approx(found[2].std(ddof=1)))
            assert cell.difference == pytest.approx((found[2] - found[1]).mean())
            assert cell.p_value == pytest.approx(stats.ttest_rel(found[2], found[1]).pvalue)
            assert rows[f"crossdistil{title}, 1.0"].cells[place].difference is None
        both = (sweep_values(sweep, role, "finish", "multi_auc") + sweep_values(sweep, role, "like", "multi_auc")) / 2
        assert rows[f"crossdistil{title}, 0.0"].cells[0].mean == pytest.approx(both[0].mean())
    assert {cell.rank for row in table.rows[3:] for cell in row.cells} == {None}
    assert (
        "In brackets: the mean difference to the configured margin 1.0, of teachers to its teachers, seed by seed."
        in table.notes
    )
    record = table.records()[0]
    assert (record["key"], record["value"], record["method"]) == ("distillation.margin", "0.0", "crossdistil")
    assert table.printed().heading == "Method, margin"


def test_exchanged_labels_are_set_against_none_and_a_value_that_failed_stays_as_a_row():
    sweep = make_sweep(
        "training.label_exchange.like", None, [None, 0.5], lambda share: -0.1 * (share or 0), ("ple", "crossdistil")
    )
    sweep = replace(sweep, points=[*sweep.points, SweepPoint("ple", 0.9, [])])
    table = tables_of(Figures.of(make_comparison(["single"], sweeps=[sweep], costs={})))["label-exchange"]
    rows = {row.title: row for row in table.rows}
    expected = ["ple, 0", "ple, 0.5", "ple, 0.9", "crossdistil, 0", "crossdistil, 0.5"]
    assert [*rows] == [*expected, "crossdistil teachers, 0", "crossdistil teachers, 0.5"]
    found = sweep_values(replace(sweep, points=sweep.points[:2]), "tasks", "finish", "auc")
    assert rows["ple, 0.5"].cells[0].difference == pytest.approx((found[1] - found[0]).mean())
    assert rows["ple, 0.9"].cells[0].mean is None and any("ple, 0.9 (none)" in note for note in table.notes)


def test_differences_have_every_method_and_their_intervals():
    students = {name: binary(auc, log_loss=SINGLE) for name, auc in {"single": SINGLE, "crossdistil": WHOLE}.items()}
    students["kd_same_task"] = binary(PLE, log_loss=PLE)
    table = tables_of(given(students, "single"))["differences"]
    records = {(record["method"], record["metric"]): record for record in table.records()}
    assert {method for method, _ in records} == {"crossdistil", "kd_same_task"}
    record, change = records["kd_same_task", "log_loss"], np.subtract(PLE, SINGLE)
    low, high = stats.t.interval(0.95, 2, change.mean(), stats.sem(change))
    assert (record["difference"], record["low"], record["high"]) == pytest.approx((change.mean(), low, high))
    shown = dict(table.printed().rows)
    assert shown["crossdistil"][0].value + shown["crossdistil"][0].remark == "+0.0493±0.0100*"
    assert shown["kd_same_task"][0].remark == ""


def test_a_baseline_without_results_leaves_all_without_difference():
    table = tables_of(given({"single": {}, "ple": binary(PLE)}, "single"))["results"]
    assert column(table, "auc")["ple"].difference is None
    assert "single has no results, so that there are no differences to it." in table.notes


def test_a_metric_that_some_seeds_do_not_define_has_the_others():
    students = {"single": binary(SINGLE), "ple": binary([0.8, None, 0.9])}
    cell = column(tables_of(given(students, "single"))["results"], "auc")["ple"]
    assert cell.seeds == 2 and cell.mean == pytest.approx(0.85)
    assert cell.difference == pytest.approx(np.mean([0.1, 0.21]))


def test_costs_are_relative_to_the_baseline():
    costs = {"crossdistil": Cost(18.0, 300, 100, 900.0), "single": Cost(12.0, 200, 100, 800.0)}
    students = {"single": binary(SINGLE), "crossdistil": binary(WHOLE), "ple": binary(PLE)}
    table = tables_of(given(students, "single", costs=costs))["costs"]
    rows = {record["method"]: record for record in table.records()}
    assert [*rows] == ["single", "crossdistil"]
    ratios = [rows["crossdistil"][f"{name}_ratio"] for name in ("step_milliseconds", "parameters", "served_parameters")]
    assert ratios == [1.5, 1.5, 1.0] and rows["crossdistil"]["memory_mebibytes"] == 900.0
    shown = dict(table.printed().rows)
    texts = [cell.value + cell.remark for cell in shown["crossdistil"]]
    assert texts == ["18.0 (1.50x)", "300 (1.50x)", "100 (1.00x)", "900 (1.12x)"]
    assert [cell.remark for cell in shown["single"]] == [""] * 4
    del costs["single"]
    alone = tables_of(given(students, "single", costs=costs))["costs"]
    assert alone.records()[0]["parameters_ratio"] is None
    assert "single has no measured cost, so that nothing is relative to it." in alone.notes


def test_without_any_result_there_is_no_table():
    assert study_tables(given({"single": {}}, "single")) == []
