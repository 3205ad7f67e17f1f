# SPDX-License-Identifier: Apache-2.0
"""What a comparison makes of the numbers, and the grids that it is asked for."""

import json
import re

import numpy as np
import pytest

from tests.comparison.fake_training import RATES, printed
from tests.comparison.given_comparison import given
from tf_crossdistil.comparison.comparison_table import Figures, comparison_document
from tf_crossdistil.comparison.settings import grid
from tf_crossdistil.errors import UsageError


def test_rows_are_no_metric(fake, run):
    metrics = comparison_document(Figures.of(run(["ple"], [0])))["methods"]["ple"]["tasks"]["finish"]
    assert set(metrics) == {"auc", "multi_auc", "log_loss"}


def test_figures_against_numpy(fake, run):
    comparison = run(["taug", "ple", "mmoe"], [0, 1, 2])
    taug, ple = np.array([0.72, 0.73, 0.74]), np.array([0.70, 0.72, 0.74])
    document = comparison_document(Figures.of(comparison))
    json.dumps(document, allow_nan=False)
    assert document["baseline"] == "ple"
    assert set(document["differences"]) == {"taug", "mmoe"}
    means = document["methods"]["taug"]["tasks"]["finish"]
    assert means["auc"] == {"seeds": 3, "mean": pytest.approx(taug.mean()), "deviation": pytest.approx(taug.std(ddof=1))}
    assert means["log_loss"] == {"seeds": 0, "mean": None, "deviation": None}
    found, difference = document["differences"]["taug"]["finish"]["auc"], taug - ple
    reach = 4.3027 * difference.std(ddof=1) / np.sqrt(3)
    assert found["mean"] == pytest.approx(difference.mean()) and found["deviation"] == pytest.approx(difference.std(ddof=1))
    assert found["interval"] == pytest.approx((difference.mean() - reach, difference.mean() + reach), abs=1e-6)
    # The third difference is 0 but for rounding.
    assert found["positive"] - int(difference[2] > 0) == 2
    text = printed(comparison)
    assert "0.7300±0.0100" in text and "+0.0100±0.0248 " in text
    # MMoE is 0.1 below with every seed.
    assert "-0.1000±0.0000*" in text


def test_the_first_method_is_the_baseline_where_ple_is_missing_and_one_seed_has_no_deviation(fake, run):
    comparison = run(["mmoe", "taug"], [0])
    assert comparison_document(Figures.of(comparison))["baseline"] == "mmoe"
    text = printed(comparison)
    assert "One seed (0): no deviation is known" in text
    assert "±" not in text and "+0.1200" in text


def test_grids_are_products_of_validated_values(config_file):
    settings = grid(config_file, [], [RATES, "model.towers=[8],[8,4]"])
    assert [list(setting.values.values()) for setting in settings] == [[r, t] for r in (0.001, 0.01) for t in ([8], [8, 4])]
    assert [setting.experiment.model.towers for setting in settings] == [[8], [8, 4]] * 2
    assert len({setting.folder for setting in settings}) == 4
    assert not any(set("[]*?/:") & set(setting.folder) for setting in settings)


@pytest.mark.parametrize(
    ("overrides", "tune", "fault"),
    [
        ([], ["training.learning_rat=1,2"], "did you mean 'learning_rate'"),
        ([], ["training.learning_rate"], "KEY=VALUE,VALUE"),
        ([], ["training.learning_rate="], "KEY=VALUE,VALUE"),
        ([], ["training.learning_rate=1,,2"], "KEY=VALUE,VALUE"),
        ([], ["=1,2"], "KEY=VALUE,VALUE"),
        ([], ["training.learning_rate=fast"], "learning_rate"),
        ([], ["training.learning_rate=0.001,1e-3"], "same values twice"),
        ([], ["training.dropout=1", "training.dropout=2"], "twice"),
        ([], ["training.seed=1,2"], "--seeds"),
        ([], ["model.backbone=ple,mmoe"], "--methods"),
        ([], ["model.mutual.features=none,ctfm"], "--tune cannot change model.mutual.features, which --methods gives"),
        (["training.seed=1"], [], "--set cannot change training.seed"),
        (["distillation.method=taug"], [], "--methods"),
    ],
)
def test_grids_that_cannot_be(config_file, overrides, tune, fault):
    with pytest.raises(UsageError, match=fault):
        grid(config_file, overrides, tune)


def test_errors_of_regression_tasks_are_in_their_own_tables_with_five_digits(fake, run):
    fake.further_tasks = lambda auc: {"price": {"rows": 9, "mse": 1e6 * auc, "rmse": auc, "mae": 20 * auc, "r2": -auc}}
    comparison = run(["ple", "taug"], [0, 1])
    document = comparison_document(Figures.of(comparison))
    means = document["methods"]["taug"]["tasks"]["price"]
    assert list(means) == ["mse", "rmse", "mae", "r2"] and means["mse"]["mean"] == pytest.approx(725_000)
    difference = document["differences"]["taug"]["price"]["mse"]
    assert (difference["mean"], difference["positive"]) == (pytest.approx(15_000), 2)
    text = printed(comparison)
    taug = next(line for line in text.splitlines() if "725,000" in line)
    assert "725,000±7,071" in taug and "0.72500±0.00707" in taug and "14.500±0.141" in taug and "-0.7250±0.0071" in taug
    assert "+15,000±63,531 " in text
    # In a heading of the values, in their note and in a heading of the differences.
    assert text.count("RMSE") == 3 and "Regression tasks by method" in text


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_narrow_screen_no_name_and_no_star_is_lost(width):
    students = {}
    for shift, name in enumerate(["ple", "taug", "ple+ctfm+gkd", "mmoe", "mmoe+ctfm+gkd"]):
        auc = np.array([0.70, 0.72, 0.74]) + 0.01 * shift
        price = {"mse": list(1e30 * auc), "rmse": list(1e15 * auc), "mae": list(auc / 1e9), "r2": list(auc)}
        students[name] = {"finish": {metric: list(auc) for metric in ("auc", "multi_auc", "log_loss")}, "price": price}
    comparison = given(students, "ple").comparison
    whole, text = printed(comparison, 1000), printed(comparison, width)
    assert "…" not in text and all(len(line) <= width for line in text.splitlines())
    assert "7.3000e+29±2.0000e+28" in text
    for table in text.split("Method ")[1:]:
        # The baseline, and what is compared with itself without suffixes, are not in each.
        assert "mmoe+ctfm+gkd" in {line.split("│")[0].strip() for line in table.splitlines()}
    # Each mean and each difference is there once, whatever the number of tables.
    cells = [re.findall(r"[-+]?[0-9][^\s│]*±[^\s│]*|\([-+][^\s│]*", each) for each in (whole, text)]
    assert sorted(cells[0]) == sorted(cells[1]) and any(cell.endswith("*") for cell in cells[0])


def test_teachers_are_in_the_document_by_method_where_there_are_any():
    students = {"ple": {"finish": {"auc": [0.7, 0.8]}}, "taug": {"finish": {"auc": [0.7, 0.9]}}}
    figures = given(students, "ple", teachers={"taug": {"finish": {"auc": [0.8, 0.9], "multi_auc": [None, 0.75]}}})
    assert figures.teachers == {"ple": {}, "taug": {"finish": {"auc": {0: 0.8, 1: 0.9}, "multi_auc": {1: 0.75}}}}
    document = comparison_document(figures)
    assert document["teachers"] == {
        "taug": {
            "finish": {
                "auc": {"seeds": 2, "mean": pytest.approx(0.85), "deviation": pytest.approx(0.1 / np.sqrt(2))},
                "multi_auc": {"seeds": 1, "mean": 0.75, "deviation": None},
            }
        }
    }
    assert document["methods"]["taug"]["tasks"]["finish"]["auc"]["mean"] == pytest.approx(0.8)


def test_the_tables_of_studies_come_before_the_differences():
    students = {name: {"finish": {"auc": auc}} for name, auc in {"ple": [0.7, 0.8], "taug": [0.7, 0.9]}.items()}
    text = printed(given(students, "ple").comparison)
    places = [text.index(title) for title in ("AUC and Multi-AUC by method", "two-sided paired t-test", "Differences to ple")]
    assert places == sorted(places)
    assert "Metrics" not in text
