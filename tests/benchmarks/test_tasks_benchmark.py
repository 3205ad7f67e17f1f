# SPDX-License-Identifier: Apache-2.0
import json
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf

from benchmarks import tasks
from benchmarks.task_steps import TaskSteps, funnel_data, multiplications, tasks_experiment
from benchmarks.tasks import COUNTED, multiplication_numbers, step_numbers
from benchmarks.training_steps import trainable
from tf_crossdistil.data.strata import strata

TASKS = (2, 4, 8, 16)
WIDTH, EXPERTS, UNITS, TOWER = 160, 4, 64, 32


def plain_and(variant, extra):
    """Numbers of both networks, of which the second one's are so much more."""
    return {("plain", count): 100 for count in TASKS} | {(variant, count): 100 + extra(count) for count in TASKS}


@pytest.mark.parametrize(("extra", "growth"), [(lambda count: 3 * count, 2), (lambda count: 5 * count**2, 4)])
def test_growth_of_the_extra_time(extra, growth):
    result = step_numbers(plain_and("ctfm", extra), TASKS)
    assert result["step_milliseconds_ctfm_8"] == 1000 * (100 + extra(8))
    assert result["step_ctfm_over_plain_8"] == (100 + extra(8)) / 100
    assert [result[f"extra_growth_ctfm_{count}"] for count in TASKS[1:]] == pytest.approx([growth] * 3)
    assert "extra_growth_ctfm_2" not in result and "step_plain_over_plain_2" not in result


def test_multiplications_are_divided_into_those_of_tasks_and_those_of_pairs():
    counts = plain_and("ctfm", lambda count: 7 * count + 2 * count**2)
    counts |= plain_and("gkd", lambda count: 30 * count**2) | plain_and("both", lambda count: 11 * count)
    result = multiplication_numbers(counts, TASKS)
    assert (result["multiplications_plain_4"], result["multiplications_ctfm_4"]) == (100, 7 * 4 + 2 * 16)
    assert [(result[f"multiplications_a_task_{v}"], result[f"multiplications_a_pair_{v}"]) for v in COUNTED] == [
        (7, 2),
        (0, 30),
        (11, 0),
    ]


class OneOperation:
    """A network of the column `a`."""

    students = ("a",)

    def __init__(self, operation):
        self.operation = operation

    def __call__(self, columns, tasks):
        return self.operation(tf.cast(columns["a"], tf.float32))


def model_of(operation):
    """A stand-in for a model whose network is one operation."""
    return SimpleNamespace(network=OneOperation(operation), experiment=SimpleNamespace(features=[SimpleNamespace(name="a")]))


@pytest.mark.parametrize(
    ("operation", "count"),
    [
        (lambda row: tf.ones([2, 3]) @ tf.ones([3, 5]) + row, 2 * 3 * 5),
        (lambda row: tf.matmul(tf.ones([3, 2]), tf.ones([5, 3]), transpose_a=True, transpose_b=True) + row, 2 * 3 * 5),
        (lambda row: tf.matmul(tf.ones([7, 2, 3]), tf.ones([7, 3, 5])) + row, 7 * 2 * 3 * 5),
        (lambda row: tf.einsum("btd,bsd->bts", tf.ones([7, 2, 3]), tf.ones([7, 5, 3])) + row, 7 * 2 * 5 * 3),
        (lambda row: tf.ones([3, 1]) * tf.ones([1, 4]) + row, 12),
        (lambda row: tf.nn.relu(row + 1.0), 0),
    ],
)
def test_multiplications_of_operations(operation, count):
    assert multiplications(model_of(operation)) == count


@pytest.mark.parametrize(
    "hidden", [tf.function(lambda row: row * row), lambda row: tf.map_fn(lambda value: value * value, row)]
)
def test_operations_that_hide_multiplications_are_refused(hidden):
    with pytest.raises(ValueError, match="are not counted"):
        multiplications(model_of(hidden))


def test_multiplications_of_the_networks():
    """By hand: MMoE's experts, gates, mixtures and towers; then the equations of CTFM and GKD with one head."""
    count = 3
    plain, both = (
        multiplications(trainable(experiment, funnel_data(experiment)))
        for experiment in (tasks_experiment(count, variant, "mmoe", 8) for variant in ("plain", "both"))
    )
    assert plain == EXPERTS * WIDTH * UNITS + count * (EXPERTS * (WIDTH + UNITS) + UNITS * TOWER + TOWER)
    # Queries, keys and values; the attention matrix, and what it mixes.
    ctfm = count * 3 * UNITS**2 + count**2 * 2 * UNITS
    # What is read of all towers; the gate, what it lets through, and its share of the logit.
    gkd = count**2 * TOWER**2 + count * (2 * TOWER**2 + 2 * TOWER)
    assert both - plain == ctfm + gkd


def test_strata_are_those_of_a_funnel():
    assert strata(funnel_data(tasks_experiment(4, "crossdistil", "mmoe", 8)).metadata) == [
        *("0000", "1000", "1100", "1110", "1111")
    ]


@pytest.mark.slow
def test_steps_train():
    steps = TaskSteps(tasks_experiment(2, "crossdistil_both", "shared_bottom", 64))
    before = [variable.numpy() for variable in steps.model.trainable_variables]
    assert steps.seconds() > 0
    moved = [(old != new.numpy()).any() for old, new in zip(before, steps.model.trainable_variables, strict=True)]
    assert all(moved)


@pytest.mark.slow
def test_tasks_are_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.sched_setaffinity", lambda process, cores: None)
    path = tmp_path / "result.json"
    options = ["--tasks", "2", "4", "--batch-size=64", "--turns=1", "--backbone=shared_bottom", f"--json={path}"]
    monkeypatch.setattr(sys, "argv", [tasks.__name__, *options])
    tasks.main()
    result = json.loads(path.read_text())
    assert result.keys() >= {"step_both_over_plain_4", "extra_growth_crossdistil_both_4", "multiplications_a_pair_gkd"}
    assert all(result[f"multiplications_{variant}_4"] > result[f"multiplications_{variant}_2"] > 0 for variant in COUNTED)
    shown = capsys.readouterr().out
    assert f"{result['multiplications_plain_4']:,.0f}" in shown
    assert f"{result['step_milliseconds_both_4']:.1f}" in shown
