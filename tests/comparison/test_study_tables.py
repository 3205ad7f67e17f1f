# SPDX-License-Identifier: Apache-2.0
"""Which tables a comparison gets, and what stands in their cells."""

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from tests.comparison.given_comparison import given
from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.comparison.study_tables import ABLATIONS, study_tables

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
    uneven = given({"a": binary([0.1, 0.1, 0.1]), "b": binary([0.1]), "c": binary([0.05])}, "a")
    assert np.mean([0.1, 0.1, 0.1]) != 0.1
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
    assert any("less is better for MSE, RMSE and MAE" in note for note in tables["values"].notes)
    assert any("less is better for Log loss" in note for note in tables["ablations"].notes)
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
    assert [*tables] == ["results", "ablations", "ablations-gkd"]
    assert [row.method for row in tables["ablations"].rows] == ["crossdistil", "kd_same_task"]
    assert [row.method for row in tables["ablations-gkd"].rows] == ["crossdistil+gkd", "without_correction+gkd"]
    assert tables["ablations-gkd"].reference == "crossdistil+gkd"
    assert column(tables["ablations-gkd"], "auc")["without_correction+gkd"].difference == pytest.approx(1)
    # What has no CrossDistil beside it would be in no table otherwise.
    assert [row.method for row in tables["results"].rows] == ["single", "crossdistil", "crossdistil+gkd", "kd_cross_task+ctfm"]


def test_without_both_crossdistil_and_an_ablation_there_is_no_such_table():
    for methods in (["single", "crossdistil"], ["single", "without_calibration"]):
        figures = given({method: binary(SINGLE) for method in methods}, "single")
        assert [*tables_of(figures)] == ["results"]
        assert [row.method for row in tables_of(figures)["results"].rows] == methods
    failed = given({"single": binary(SINGLE), "crossdistil": {}, "kd_same_task": binary(PLE)}, "single")
    assert [*tables_of(failed)] == ["results"]


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
        "Mean ± standard deviation over 4 seeds (0, 1, 2, 3).",
        "With fewer seeds: single 3, ple 2, mmoe 0; differences are over the seeds that both methods have.",
        "n/a: no seed gives a value.",
    ]


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
