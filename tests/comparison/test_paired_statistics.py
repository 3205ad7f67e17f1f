# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from tf_crossdistil.comparison.paired_statistics import differences, estimate, t_quantile_95

# Printed tables of Student's t, two-sided 95 %.
TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 9: 2.262, 10: 2.228, 29: 2.045, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize(("degrees", "quantile"), TABLE.items())
def test_quantiles_are_those_of_the_printed_table(degrees, quantile):
    assert t_quantile_95(degrees) == pytest.approx(quantile, abs=5.1e-4)


def test_many_degrees_approach_the_normal_quantile():
    assert t_quantile_95(20_000) == pytest.approx(1.95996, abs=5e-4)


def test_an_estimate_by_hand():
    values = [0.01, 0.03, 0.02, 0.06]
    found = estimate(values)
    reach = TABLE[3] * np.std(values, ddof=1) / 2
    assert (found.seeds, found.mean) == (4, pytest.approx(0.03))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert found.interval == pytest.approx((0.03 - reach, 0.03 + reach), abs=1e-5)
    assert not found.excludes_zero


@pytest.mark.parametrize(("values", "expected"), [([0.1, 0.11], True), ([-0.1, -0.11], True), ([-1.0, 1.0], False)])
def test_an_interval_on_one_side_of_zero_excludes_it(values, expected):
    assert estimate(values).excludes_zero is expected


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    samples = np.random.default_rng(0).normal(0.3, 2.0, (4000, 3))
    covered = sum(low <= 0.3 <= high for low, high in (estimate(list(sample)).interval or (1, 0) for sample in samples))
    # Three standard errors of a share of 0.95 among 4,000.
    assert covered / 4000 == pytest.approx(0.95, abs=0.0104)


@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 30, 31])
@pytest.mark.parametrize("shift", [0.0, 0.3, 30.0])
def test_p_values_are_those_of_the_paired_t_test_of_scipy(seeds, shift):
    ours, others = np.random.default_rng(seeds).normal([[shift], [0.0]], 1.0, (2, seeds))
    expected = stats.ttest_rel(ours, others).pvalue
    found = estimate(list(ours - others))
    assert found.p_value == pytest.approx(expected, rel=1e-9, abs=1e-14)
    assert found.excludes_zero is bool(expected < 0.05)


@pytest.mark.parametrize(("values", "expected"), [([0.25] * 3, 0.0), ([-0.25] * 2, 0.0), ([0.0] * 3, 1.0)])
def test_equal_differences_are_no_chance_unless_they_are_0(values, expected):
    found = estimate(values)
    assert (found.deviation, found.p_value) == (0.0, expected)
    assert found.excludes_zero is (expected == 0)


def test_differences_are_of_seeds_that_both_have_and_rounding_is_none():
    values, baseline = {3: 0.1 + 0.2, 0: 0.5, 2: 0.7, 5: 0.9}, {0: 0.25, 3: 0.3, 2: 0.7 + 1e-9, 4: 0.1}
    assert values[3] != baseline[3]
    assert differences(values, baseline) == [0.0, 0.25, pytest.approx(-1e-9)]
    # Large numbers have larger errors, such as those of squares.
    assert differences({0: 1e9 + 1e-6}, {0: 1e9}) == [0.0]
    assert estimate(differences({0: 0.1 + 0.2, 1: 0.3}, {0: 0.3, 1: 0.1 + 0.2})).p_value == 1


def test_one_seed_has_no_deviation_and_none_has_no_mean():
    one, none = estimate([0.5]), estimate([])
    assert (one.seeds, one.mean, one.deviation, one.interval, one.excludes_zero, one.p_value) == (
        1,
        0.5,
        None,
        None,
        False,
        None,
    )
    assert (none.seeds, none.mean, none.deviation, none.interval, none.p_value) == (0, None, None, None, None)
