# SPDX-License-Identifier: Apache-2.0
"""Every backbone against an independent forward pass, and the rule that students do not depend on teachers."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.backbones.registry import BACKBONES, find_backbone
from tf_crossdistil.config import Experts, Model
from tf_crossdistil.errors import UsageError

STUDENTS, TEACHERS = ["a", "b", "c"], ["a+", "b+", "c+"]
TASKS = [*STUDENTS, *TEACHERS]
ASKED = [STUDENTS, ["b+", "a"], *(pytest.param(asked, marks=pytest.mark.slow) for asked in (["a"], TEACHERS))]
# With two levels there is one that is the last and one that is not.
DEPTHS = [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]


def deep(depth):
    """Settings with so many layers, in PLE as many extraction levels too."""
    return Model(experts=Experts(shared=3, per_task=2, units=[6, 5, 4][:depth], levels=depth))


SETTINGS = deep(3)


def made(name, settings=SETTINGS):
    tf.keras.utils.set_random_seed(0)
    backbone = find_backbone(name)(STUDENTS, TEACHERS, settings)
    rows = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    inputs = rows if backbone.shares_embeddings else {task: rows + number for number, task in enumerate(TASKS)}
    outputs = backbone(inputs, tasks=TASKS)
    generator = np.random.default_rng(2)
    for variable in backbone.trainable_variables:
        variable.assign(generator.normal(size=variable.shape, scale=0.5))
    return backbone, inputs, outputs


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def perceptron(layer, x):
    for dense in layer.dense:
        kernel, bias = (variable.numpy() for variable in dense.variables)
        x = np.maximum(x @ kernel + bias, 0)
    return x


def gate(layer, x):
    kernel, *bias = (variable.numpy() for variable in layer.variables)
    return softmax(x @ kernel + sum(bias))


def mixture(weights, experts):
    return np.einsum("re,eru->ru", weights, np.stack(experts))


def single(backbone, x):
    return {task: perceptron(backbone.bottoms[task], x[task]) for task in TASKS}


def shared_bottom(backbone, x):
    return {task: perceptron(backbone.bottom, x) for task in TASKS}


def cross_stitch(backbone, x):
    states = dict.fromkeys(TASKS, x)
    for depth, unit in enumerate(backbone.units):
        hidden = {task: perceptron(backbone.layers_of[task][depth], states[task]) for task in TASKS}
        states = {}
        for task in TASKS:
            reads = STUDENTS if task in STUDENTS else TASKS
            states[task] = sum(w * hidden[other] for w, other in zip(unit.weights_of[task].numpy(), reads, strict=True))
    return states


def mmoe(backbone, x):
    experts = [perceptron(expert, x) for expert in backbone.experts]
    return {task: mixture(gate(backbone.gates[task], x), experts) for task in TASKS}


def ple(backbone, x):
    shared = "(shared)"
    states = dict.fromkeys([*TASKS, shared], x)
    for level in backbone.levels:
        outputs = {owner: [perceptron(expert, states[owner]) for expert in level.experts[owner]] for owner in states}
        fed = {task: outputs[task] + outputs[shared] for task in TASKS}
        if level is not backbone.levels[-1]:
            fed[shared] = [expert for task in STUDENTS for expert in outputs[task]] + outputs[shared]
        states = {owner: mixture(gate(level.gates[owner], states[owner]), experts) for owner, experts in fed.items()}
    return states


def open_gates(log_alpha):
    return np.clip(4 / (1 + np.exp(-log_alpha)) - 1, 0, 1)


def routed(backbone, x, reads, sizes):
    """Node by node and connection by connection; `reads` and numbers of nodes, `sizes`, by owner."""
    states = {owner: [perceptron(expert, x) for expert in backbone.experts.get(owner, [])] for owner in reads}
    for number, level in enumerate(backbone.levels):
        last = number == len(backbone.levels) - 1
        following = {}
        for owner, size in (dict.fromkeys(TASKS, 1) if last else sizes).items():
            read = [state for other in reads[owner] for state in states[other]]
            kernel, gates = level[owner].kernel.numpy(), open_gates(level[owner].gates.log_alpha.numpy())
            following[owner] = [
                sum((read[i] @ kernel[i, :, node]) * gates[i, 0, node] for i in range(len(read))) for node in range(size)
            ]
        states = following
    return {task: states[task][0] for task in TASKS}


def mssm(backbone, x):
    reads = {"(shared)": [*STUDENTS, "(shared)"]} | {task: [task, "(shared)"] for task in TASKS}
    return routed(backbone, x, reads, {"(shared)": 3} | dict.fromkeys(TASKS, 2))


def snr(backbone, x):
    return routed(backbone, x, {owner: ["(shared)"] for owner in ["(shared)", *TASKS]}, {"(shared)": 3})


ORACLES = {
    "single": single,
    "shared_bottom": shared_bottom,
    "cross_stitch": cross_stitch,
    "mmoe": mmoe,
    "ple": ple,
    "mssm": mssm,
    "snr": snr,
}


def test_every_backbone_has_an_oracle():
    assert ORACLES.keys() == BACKBONES.keys()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_forward_pass(name, depth):
    backbone, inputs, first = made(name, deep(depth))
    expected = ORACLES[name](backbone, inputs)
    outputs = backbone(inputs, tasks=TASKS)
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], expected[task], rtol=2e-5, atol=1e-6)
        assert not np.allclose(outputs[task], first[task])


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_tasks_alone_are_what_they_are_among_all(name, asked):
    backbone, inputs, _ = made(name)
    everything, alone = backbone(inputs, tasks=TASKS), backbone(inputs, tasks=asked)
    assert sorted(alone) == sorted(asked)
    for task in asked:
        np.testing.assert_array_equal(alone[task], everything[task])


@pytest.mark.parametrize("name", BACKBONES)
def test_students_do_not_depend_on_what_teachers_own(name):
    backbone, inputs, _ = made(name)
    with tf.GradientTape(persistent=True) as tape:
        outputs = backbone(inputs, tasks=TASKS)
        students = tf.add_n([tf.reduce_sum(outputs[task] ** 2) for task in STUDENTS])
        teachers = tf.add_n([tf.reduce_sum(outputs[task] ** 2) for task in TEACHERS])
    variables = backbone.trainable_variables
    of_students, of_teachers = (
        [gradient is not None for gradient in tape.gradient(loss, variables)] for loss in (students, teachers)
    )
    assert all(student or teacher for student, teacher in zip(of_students, of_teachers, strict=True))
    before = {task: outputs[task].numpy() for task in STUDENTS}
    for variable, served in zip(variables, of_students, strict=True):
        if not served:
            variable.assign(variable + 1)
    after = backbone(inputs, tasks=STUDENTS)
    for task in STUDENTS:
        np.testing.assert_array_equal(after[task], before[task])
    if name != "shared_bottom":
        assert not all(of_students)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_students_reach_what_a_backbone_without_teachers_has_and_nothing_else(name, depth):
    backbone, inputs, _ = made(name, deep(depth))
    alone = find_backbone(name)(STUDENTS, [], deep(depth))
    alone(inputs, tasks=STUDENTS)
    with tf.GradientTape() as tape:
        outputs = backbone(inputs, tasks=TASKS)
        served = tf.add_n([tf.reduce_sum(outputs[task]) for task in STUDENTS])
    gradients = tape.gradient(served, backbone.trainable_variables)
    reached = [v for v, gradient in zip(backbone.trainable_variables, gradients, strict=True) if gradient is not None]
    assert sorted(tuple(v.shape) for v in reached) == sorted(tuple(v.shape) for v in alone.trainable_variables)
    own = len(backbone.trainable_variables) - len(reached)
    # A perceptron has a kernel and a bias a layer, a task of PLE two of them and a gate a level; routed nodes have a kernel
    # and gates, in MSSM at each level beside two perceptrons.
    layers = 2 * depth
    of_teacher = {
        "single": layers,
        "shared_bottom": 0,
        "cross_stitch": layers + depth,
        "mmoe": 1,
        "ple": (2 * layers + 2) * depth,
        "mssm": 2 * layers + 2 * depth,
        "snr": 2,
    }
    assert own == of_teacher[name] * len(TEACHERS)


def test_cross_stitch_starts_with_most_of_its_own():
    backbone = find_backbone("cross_stitch")(STUDENTS, TEACHERS, SETTINGS)
    backbone(tf.zeros([1, 4]), tasks=TASKS)
    np.testing.assert_allclose(backbone.units[0].weights_of["b"], [0.05, 0.9, 0.05])
    np.testing.assert_allclose(backbone.units[0].weights_of["a+"], [0.02, 0.02, 0.02, 0.9, 0.02, 0.02])


def test_a_backbone_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "our_backbones.py").write_text(
        "from tf_crossdistil.backbones.base import Backbone\n"
        "class Nothing(Backbone):\n"
        "    def call(self, inputs, tasks, training=False):\n"
        "        return dict.fromkeys(tasks, inputs)\n"
        "something = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert issubclass(find_backbone("our_backbones:Nothing"), Backbone)
    with pytest.raises(UsageError, match="is no subclass"):
        find_backbone("our_backbones:something")
    with pytest.raises(UsageError, match="cannot be imported"):
        find_backbone("our_backbones:Missing")
    sys.modules.pop("our_backbones")


@pytest.mark.parametrize("name", ["no_such_module:Thing", ":Thing", "x y:"])
def test_a_backbone_that_cannot_be_imported(name):
    with pytest.raises(UsageError, match="cannot be imported"):
        find_backbone(name)


def test_a_backbone_that_does_not_exist():
    with pytest.raises(UsageError, match="'mmeo'; did you mean 'mmoe'"):
        find_backbone("mmeo")
