# SPDX-License-Identifier: Apache-2.0
"""Mutual towers inside the network: who reads whom, where gradients stop, and what is served."""

import re
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from tests.export.asking import fingerprint, raw_inputs, variables_of
from tests.models.mutual_network import BOTH, COLUMNS, FEATURE, STUDENTS, TEACHERS, WITH_TEACHERS, made
from tests.models.small_model import (
    live_students,
    small_batch,
    small_experiment,
    small_metadata,
    small_model,
    small_rows,
    small_run,
)
from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.config import Mutual
from tf_crossdistil.errors import UsageError
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.export.version_one import VersionOneModel
from tf_crossdistil.models.mutual_learning import DISTILLATIONS, FEATURES
from tf_crossdistil.models.ranking_network import check_network


def copied(network, plain):
    """The plain network with the weights of the other."""
    for part in ("backbone", "towers", "encoders"):
        theirs, ours = getattr(network, part), getattr(plain, part)
        pairs = [(theirs, ours)] if part == "backbone" else [(theirs[name], ours[name]) for name in theirs]
        for their, our in pairs:
            our.set_weights(their.get_weights())
    return plain


def assert_same(logits, expected):
    assert list(logits) == list(expected)
    for task, values in expected.items():
        np.testing.assert_array_equal(logits[task], values, err_msg=task)


def test_the_registries_have_the_names_of_the_configuration():
    names = {field: get_args(Mutual.model_fields[field].annotation) for field in ("features", "distillation")}
    assert set(names["features"]) == FEATURES.keys()
    assert set(names["distillation"]) == DISTILLATIONS.keys()


@pytest.fixture(scope="module")
def full():
    """Everybody takes part."""
    return made(WITH_TEACHERS, "single", dropout=0.3)


@pytest.fixture(scope="module")
def plain():
    return made({}, "single", dropout=0.3)


def silenced(network):
    """CTFM's values and GKD's outputs at zero."""
    for group in network.features.groups.values():
        group.value.set_weights([np.zeros(weight.shape) for weight in group.value.weights])
    for group in network.distillation.groups.values():
        for output in group.output_of.values():
            output.set_weights([np.zeros(weight.shape) for weight in output.weights])
    return network


@pytest.mark.parametrize(
    "mutual",
    [
        WITH_TEACHERS,
        pytest.param({"features": "ctfm"}, marks=pytest.mark.slow),
        pytest.param({"distillation": "gkd"}, marks=pytest.mark.slow),
    ],
)
def test_with_zero_weights_the_network_is_the_plain_one(mutual):
    network = made(mutual, dropout=0.3)
    plain = copied(network, made({}, dropout=0.3))
    logits, expected = network(COLUMNS), plain(COLUMNS)
    tasks = [*STUDENTS, *TEACHERS] if mutual == WITH_TEACHERS else STUDENTS
    assert not any(np.allclose(logits[task], expected[task]) for task in tasks)
    assert_same(silenced(network)(COLUMNS), expected)
    # The masks of dropout are the same too.
    assert_same(network(COLUMNS, training=True), plain(COLUMNS, training=True))


def test_teachers_stay_out_unless_they_are_let_in(plain):
    network = made(BOTH, "single", dropout=0.3)
    logits, expected = network(COLUMNS), copied(network, plain)(COLUMNS)
    for task in TEACHERS:
        np.testing.assert_array_equal(logits[task], expected[task])
    assert network.features.groups.keys() == network.distillation.groups.keys() == {"students"}


def test_students_do_not_depend_on_what_is_of_teachers(full):
    before, outside = full(COLUMNS), full(COLUMNS, STUDENTS)
    assert_same(outside, {task: before[task] for task in STUDENTS})
    with tf.GradientTape() as tape:
        served = tf.add_n([tf.reduce_sum(logit) for logit in full(COLUMNS, STUDENTS).values()])
    variables = full.trainable_variables
    kept = [variable.numpy() for variable in variables]
    gradients = tape.gradient(served, variables)
    of_teachers = [variable for variable, gradient in zip(variables, gradients, strict=True) if gradient is None]
    assert {id(weight) for each in (full.features, full.distillation) for weight in each.groups["teachers"].weights} <= {
        id(variable) for variable in of_teachers
    }
    for variable in of_teachers:
        variable.assign(variable + 1)
    after = full(COLUMNS)
    for task in STUDENTS:
        np.testing.assert_array_equal(after[task], before[task])
    for task in TEACHERS:
        assert not np.allclose(after[task], before[task])
    for variable, values in zip(variables, kept, strict=True):
        variable.assign(values)


def test_teachers_read_students(full):
    before, hidden = full(COLUMNS, TEACHERS), full.towers["finish"].hidden.dense[0].kernel
    hidden.assign(hidden + 1)
    after = full(COLUMNS, TEACHERS)
    hidden.assign(hidden - 1)
    assert not any(np.allclose(after[task], before[task]) for task in TEACHERS)


def captured(network, tasks):
    """The variables that a trace for these tasks reads."""
    function = tf.function(lambda columns: network(columns, tasks)).get_concrete_function(COLUMNS)
    return {variable.ref() for variable in function.variables}


def variables_in(*layers):
    return {variable.ref() for layer in layers for variable in layer.variables}


def test_nothing_is_computed_but_what_the_asked_tasks_read(full, plain):
    """Of one student all but the other's logit; of all of them, as exports ask, every student's tower; of teachers nothing."""
    backbones = [full.backbone.bottoms[task] for task in STUDENTS]
    encoders = [full.encoders[task] for task in STUDENTS]
    towers = [full.towers[task] for task in STUDENTS]
    attention, knowledge = (each.groups["students"] for each in (full.features, full.distillation))
    read = variables_in(*backbones, *encoders, *towers, attention, knowledge)
    assert captured(full, STUDENTS) == read
    of_the_other = [of["like"] for of in (knowledge.info_of, knowledge.gate_of, knowledge.output_of)]
    assert captured(full, ["finish"]) == read - variables_in(towers[1].logit, *of_the_other)
    np.testing.assert_allclose(full(COLUMNS, ["finish"])["finish"], full(COLUMNS)["finish"], rtol=1e-5)
    alone = variables_in(*(of["finish"] for of in (plain.backbone.bottoms, plain.encoders, plain.towers)))
    assert captured(plain, ["finish"]) == alone


@pytest.mark.parametrize("count", [1, 8])
def test_any_number_of_tasks_takes_part(count):
    """Every variable has a gradient by some task, but for the choice among one; a logit has one by its own tower only."""
    names = [f"task_{number}" for number in range(count)]
    network = made(BOTH, method="none", tasks=names)
    with tf.GradientTape(persistent=True) as tape:
        logits = network(COLUMNS)
        total = tf.add_n([tf.reduce_sum(logit**2) for logit in logits.values()])
    assert list(logits) == names
    gradients = tape.gradient(total, network.trainable_variables)
    still = {
        variable.ref()
        for variable, gradient in zip(network.trainable_variables, gradients, strict=True)
        if not np.any(tf.convert_to_tensor(gradient))
    }
    attention = network.features.groups["students"]
    choice = {attention.vectors.ref()} | variables_in(attention.query, attention.key)
    assert still == (choice if count == 1 else set())
    kernels = {name: network.towers[name].hidden.dense[0].kernel for name in names}
    own = tape.gradient(logits[names[0]], kernels, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert [name for name, gradient in own.items() if np.any(gradient)] == names[:1]


@pytest.mark.slow
def test_the_export_has_every_students_tower_and_no_teacher(tmp_path):
    sections = {"backbone": "mmoe", "experts": {"units": [5]}, "towers": [6], "mutual": WITH_TEACHERS}
    model, experiment = small_model(features=FEATURE, model=sections)
    run = small_run(tmp_path, model, experiment)
    network, inputs = model.network, raw_inputs(experiment, small_rows())
    ServedModel(model, run.vocabularies).save(tmp_path / "1")
    with VersionOneModel(tmp_path / "1") as served:
        answers, kept = served("serving_default", inputs), variables_of(served)
    live = live_students(model, run)
    assert answers.keys() == live.keys() == set(STUDENTS)
    for task, probabilities in live.items():
        np.testing.assert_allclose(answers[task], probabilities, rtol=0, atol=1e-6)
    towers = [network.towers[task] for task in STUDENTS]
    groups = [each.groups["students"] for each in (network.features, network.distillation)]
    shared = [*network.encoders.values(), *network.backbone.experts, *(network.backbone.gates[task] for task in STUDENTS)]
    expected = [variable.numpy() for layer in (*shared, *towers, *groups) for variable in layer.variables]
    # Of a tower two layers, of CTFM three and the tasks' vectors, of GKD three a task, with no bias in one.
    assert len(expected) == 1 + 2 * 2 + 2 + 2 * 4 + 7 + 2 * 5
    assert fingerprint(kept) == fingerprint(expected)


class Widening(Backbone):
    """Each task's representation is one wider than the one before it."""

    def call(self, inputs, tasks, training=False):
        every = [*self.students, *self.teachers]
        return {task: tf.tile(inputs[:, :1], [1, 2 + every.index(task)]) for task in tasks}


class WideTeachers(Backbone):
    """The students have one width and the teachers another."""

    def call(self, inputs, tasks, training=False):
        return {task: tf.tile(inputs[:, :1], [1, 2 + self.teachers.count(task)]) for task in tasks}


def checked(backbone, **mutual):
    model = {"backbone": f"{__name__}:{backbone.__name__}", "mutual": mutual, "towers": []}
    experiment = small_experiment(model=model, features=FEATURE)
    check_network(experiment, small_metadata(experiment))


@pytest.mark.parametrize(
    ("backbone", "teachers", "widths"),
    [(Widening, False, "finish 2, like 3"), (WideTeachers, True, "finish 2, like 2, finish+ 3, like+ 3")],
)
def test_attention_between_different_widths_is_refused_before_a_run(backbone, teachers, widths):
    expected = (
        f"model.mutual.features: ctfm needs representations of one width from the backbone; received the widths: {widths}; "
    )
    with pytest.raises(UsageError, match="^" + re.escape(expected)):
        checked(backbone, features="ctfm", teachers=teachers)


def test_widths_of_tasks_that_do_not_meet_are_no_matter():
    checked(Widening, distillation="gkd", teachers=True)
    checked(WideTeachers, features="ctfm")


def test_global_knowledge_of_different_widths():
    network = made({"distillation": "gkd", "teachers": True}, f"{__name__}:Widening", towers=[])
    units = {task: gate.units for group in network.distillation.groups.values() for task, gate in group.gate_of.items()}
    assert units == {"finish": 2, "like": 3, "finish+": 4, "like+": 5}
    assert all(logit.shape == (8,) for logit in network(COLUMNS).values())


@pytest.mark.parametrize(
    ("precision", "xla"),
    [("mixed_bfloat16", False), pytest.param("mixed_float16", True, marks=pytest.mark.slow)],
)
def test_mixed_precision_and_compiled_give_what_float32_gives(precision, xla):
    exact, mixed = made(BOTH, method="none"), made(BOTH, method="none", precision=precision, xla=xla)
    expected = exact(COLUMNS)
    # Only what is trained is compiled.
    for task, logit in mixed(COLUMNS, training=xla).items():
        assert logit.dtype == tf.float32
        np.testing.assert_allclose(logit, expected[task], rtol=0.05, atol=0.05)
    assert {variable.dtype for variable in mixed.variables} == {tf.float32}


@pytest.mark.parametrize("method", ["crossdistil", pytest.param("kd_same_task", marks=pytest.mark.slow)])
def test_a_step_moves_everything(method):
    model, _ = small_model(
        eagerly=True,
        features=FEATURE,
        model={"backbone": "shared_bottom", "experts": {"units": [8]}, "towers": [8], "mutual": WITH_TEACHERS},
        distillation={"method": method},
    )
    before = [variable.numpy() for variable in model.trainable_variables]
    losses = model.fit(tf.data.Dataset.from_tensors(small_batch()), verbose=0).history
    assert all(np.isfinite(values[0]) for values in losses.values())
    moved = [not np.array_equal(variable, was) for variable, was in zip(model.trainable_variables, before, strict=True)]
    assert all(moved)
