# SPDX-License-Identifier: Apache-2.0
"""Of every backbone, method and kind of mutual towers, what is exported is what the students read, and answers as the live
model does.
"""

from functools import lru_cache
from itertools import cycle

import numpy as np
import pytest
import tensorflow as tf

from tests.export.asking import example_inputs, fingerprint, operations_of, raw_inputs, variables_of
from tests.export.mixed_model import FINISH, LABEL, LIKE, TASKS, mixed_model
from tests.models.small_model import OWN_BACKBONE, small_run
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.export.live_model import live_answers
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.export.version_one import VersionOneModel
from tf_crossdistil.models.methods import METHODS

# Teachers take part, which nothing that is served may show.
MUTUAL = {
    "ctfm": {"features": "ctfm", "teachers": True},
    "gkd": {"distillation": "gkd", "teachers": True},
    "both": {"features": "ctfm", "distillation": "gkd", "teachers": True},
    "plain": {},
}
# By default every backbone, with the teachers that share most, and with one kind of mutual towers after the other; but for two
# that differ from others in nothing that concerns an export.
QUICK = [
    (backbone, "crossdistil", mutual)
    for backbone, mutual in zip(BACKBONES, cycle(MUTUAL), strict=False)
    if backbone not in ("cross_stitch", "mssm")
]
EVERY = [
    (backbone, method, mutual)
    for backbone in [*BACKBONES, OWN_BACKBONE]
    for method in METHODS
    for mutual in MUTUAL
    if method == "crossdistil" or mutual == "plain"
]
CELLS = [pytest.param(*cell, id="-".join(cell), marks=() if cell in QUICK else pytest.mark.slow) for cell in EVERY]


def make_model(backbone, method, mutual):
    """With a regression task where there are both kinds of mutual towers."""
    model, experiment = mixed_model(
        tasks=TASKS if mutual == "both" else [FINISH, LIKE],
        model={
            "backbone": backbone,
            "experts": {"shared": 1, "per_task": 1, "units": [5], "levels": 2},
            "towers": [6],
            "dropout": 0.5,
            "mutual": MUTUAL[mutual],
        },
        distillation={"method": method},
        training={"loss_weighting": "uncertainty"},
    )
    model.calibration.calibrator.offset.assign([0.3, -0.7])
    return model, experiment


@lru_cache
def shapes_without_teachers(backbone, mutual):
    model, _ = make_model(backbone, "none", mutual)
    return sorted(tuple(variable.shape) for variable in model.network.variables)


def random_rows(count):
    """Known, unknown and missing users, with known and missing durations."""
    generator = np.random.default_rng(7)
    users = generator.choice(["u0", "u1", "u4", "stranger", "other", ""], count)
    durations = np.where(generator.random(count) < 0.2, np.nan, generator.normal(3, 5, count))
    return [{"user": str(user), "duration": float(value)} for user, value in zip(users, durations, strict=True)]


def gradients_of(model, tasks):
    """The network's variables that the tasks' logits have a gradient by."""
    with tf.GradientTape() as tape:
        logits = model({"user": np.array([1, 2, 3]), "duration": np.array([1.0, 2.0, 3.0], np.float32)})
        total = tf.add_n([tf.reduce_sum(logits[task]) for task in tasks])
    variables = model.network.trainable_variables
    gradients = tape.gradient(total, variables)
    return [variable for variable, gradient in zip(variables, gradients, strict=True) if gradient is not None]


@pytest.mark.parametrize(("backbone", "method", "mutual"), CELLS)
def test_exported_students_are_the_live_ones_and_nothing_else(backbone, method, mutual, tmp_path):
    model, experiment = make_model(backbone, method, mutual)
    run = small_run(tmp_path, model, experiment)
    rows = random_rows(100)
    live = live_answers(run, rows, model)
    ServedModel(model, run.vocabularies).save(tmp_path / "1")
    with VersionOneModel(tmp_path / "1") as served:
        for signature, inputs in (("serving_default", raw_inputs), ("predict_examples", example_inputs)):
            answers, again = (served(signature, inputs(experiment, rows)) for _ in range(2))
            assert answers.keys() == live.keys()
            for task, expected in live.items():
                atol = 1e-6 * (LABEL.deviation if task == "seconds" else 1)
                np.testing.assert_allclose(answers[task], expected, rtol=1e-6, atol=atol)
                assert len(set(expected.tolist())) > 20
                np.testing.assert_array_equal(answers[task], again[task])
        kept = variables_of(served)
    # Neither dropout nor gates draw anything; and what they count and are seeded by is not kept.
    assert [name for name in operations_of(tmp_path / "1") if "Random" in name or "Assign" in name] == ["AssignVariableOp"]
    students = [variable.numpy() for variable in gradients_of(model, model.network.students)]
    assert fingerprint(kept) == fingerprint(students)
    assert sorted(array.shape for array in kept) == shapes_without_teachers(backbone, mutual)
    assert (len(kept) < len(model.network.variables)) == bool(model.network.teachers)


@pytest.mark.parametrize(("mutual", "others"), [("plain", set()), ("gkd", {"like"})])
def test_to_answer_for_one_task_global_knowledge_needs_the_towers_of_all_students(mutual, others):
    """So an export of a model with it holds every student's tower, which no loss of the task moves, and no teacher's."""
    model, _ = make_model("shared_bottom", "crossdistil", mutual)
    network, row = model.network, {"user": np.array([1]), "duration": np.array([2.0], np.float32)}
    traced = tf.function(lambda: network(row, tasks=["finish"])["finish"]).get_concrete_function()
    read = {variable.ref() for variable in traced.variables}
    needed = {task for task, tower in network.towers.items() if {each.ref() for each in tower.variables} & read}
    assert needed == {"finish"} | others
    moved = {variable.ref() for variable in gradients_of(model, ["finish"])}
    assert not any(variable.ref() in moved for variable in network.towers["like"].variables)
