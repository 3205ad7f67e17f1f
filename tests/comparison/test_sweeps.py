# SPDX-License-Identifier: Apache-2.0
"""Sweeps of a comparison: which cells they train, what they take from the comparison itself, what is refused."""

import pytest

from tests.comparison.fake_training import SMALL
from tf_crossdistil.comparison.settings import grid
from tf_crossdistil.comparison.sweep_plan import sweep_plan
from tf_crossdistil.comparison.sweeps import SweepPoint, in_order, sweep_document
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.run import Run

MARGINS = "distillation.margin=-4,0,4"


@pytest.fixture
def sweep(run, config_file):
    """Runs a comparison of PLE and TAUG with a sweep."""

    def sweep(texts=(MARGINS,), methods=("taug",), seeds=(), tune=(), of=("ple", "taug"), with_seeds=(0, 1)):
        settings = grid(config_file, SMALL, list(tune))
        plan = sweep_plan(config_file, SMALL, list(texts), settings, methods, seeds, list(with_seeds))
        return run(list(of), list(with_seeds), tune, sweeps=plan)

    return sweep


def test_each_value_is_trained_and_the_configured_one_taken_from_the_comparison(fake, sweep, tmp_path):
    (margins,) = sweep().sweeps
    assert (margins.key, margins.configured) == ("distillation.margin", 0.0)
    found = [(point.method, point.value, [result.seed for result in point.results]) for point in margins.points]
    assert found == [("taug", -4.0, [0, 1]), ("taug", 0.0, [0, 1]), ("taug", 4.0, [0, 1])]
    # Two methods with two seeds, and two further values with two seeds.
    assert len(fake.trained) == 8
    trained = Run.open(tmp_path / "out/cells/taug/distillation.margin=4.0/seed=1").experiment
    assert (trained.distillation.method, trained.distillation.margin, trained.training.seed) == ("taug", 4.0, 1)


def test_what_a_file_says_of_a_sweep(fake, sweep):
    document = sweep_document(sweep().sweeps[0])
    assert (document["key"], document["configured"]) == ("distillation.margin", 0.0)
    assert [(point["method"], point["value"], point["seeds"]) for point in document["points"]] == [
        ("taug", value, [0, 1]) for value in (-4.0, 0.0, 4.0)
    ]
    # 0.72 and 0.73.
    auc = {"seeds": 2, "mean": pytest.approx(0.725), "deviation": pytest.approx(0.01 / 2**0.5)}
    assert document["points"][0]["tasks"] == {
        "finish": {
            "auc": auc,
            "multi_auc": {"seeds": 2, "mean": 0.5, "deviation": 0.0},
            "log_loss": {"seeds": 0, "mean": None, "deviation": None},
        }
    }
    assert document["points"][0]["teachers"] == {}


def test_a_second_call_trains_nothing_and_results_hold_no_swept_cell(fake, sweep):
    sweep()
    again = sweep()
    assert len(fake.trained) == 8
    assert [(result.method, result.seed) for result in again.results] == [("ple", 0), ("ple", 1), ("taug", 0), ("taug", 1)]
    assert [len(point.results) for point in again.sweeps[0].points] == [2, 2, 2]


def test_methods_and_seeds_of_a_sweep(fake, sweep):
    comparison = sweep(["training.label_exchange.like=0.5"], ["ple", "taug"], [1])
    (exchange,) = comparison.sweeps
    found = [(point.method, point.value, [result.seed for result in point.results]) for point in exchange.points]
    assert found == [("ple", None, [1]), ("ple", 0.5, [1]), ("taug", None, [1]), ("taug", 0.5, [1])]
    assert exchange.configured is None


def test_a_failed_value_is_missing_and_has_no_results(fake, sweep):
    fake.fail[("taug", 0.001, 1)] = CrossDistilError("the disk is full")
    comparison = sweep()
    assert comparison.missing == [("taug", 1)] * 3
    assert [len(point.results) for point in comparison.sweeps[0].points] == [1, 1, 1]


def test_the_configurations_own_method_is_swept_by_default(fake, sweep):
    with pytest.raises(UsageError, match=r"--sweep-methods: crossdistil is not among --methods.*ple, taug"):
        sweep(methods=())


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"methods": ["mmoe"]}, "--sweep-methods: mmoe is not among --methods"),
        ({"methods": ["mmeo"]}, "did you mean 'mmoe'"),
        ({"seeds": [7]}, "--sweep-seeds: 7 is not among --seeds"),
        ({"texts": [MARGINS, MARGINS]}, "--sweep has 'distillation.margin' twice"),
        ({"texts": ["distillation.margin"]}, "--sweep needs KEY=VALUE"),
        ({"texts": ["training.seed=1,2"]}, "--sweep cannot change training.seed, which --seeds gives"),
        ({"texts": ["distillation.margin=1,1.0"]}, "--sweep has the same values twice"),
        ({"texts": ["distillation.margn=1"]}, "did you mean 'margin'"),
        ({"tune": ["training.learning_rate=0.001,0.01"]}, "--sweep goes from one setting"),
    ],
)
def test_what_cannot_be_swept_is_told_before_anything_is_trained(fake, sweep, arguments, fault):
    with pytest.raises(UsageError, match=fault):
        sweep(**arguments)
    assert fake.trained == []


def test_points_are_in_the_order_of_their_values():
    def values(*given):
        return [point.value for point in in_order([SweepPoint("ple", value, []) for value in given])]

    assert values(0.5, 0.1, None, 10) == [None, 0.1, 0.5, 10]
    assert values("b", "a") == ["b", "a"]
