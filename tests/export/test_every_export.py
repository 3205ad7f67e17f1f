"""Of every backbone and every method, what is exported is what the students read, and answers as the live model does."""

from functools import lru_cache

import numpy as np
import pytest
import tensorflow as tf

from tests.export.asking import example_inputs, fingerprint, raw_inputs, variables_of
from tests.models.small_model import OWN_BACKBONE, small_model, small_run
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.export.live_model import live_probabilities
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.export.version_one import VersionOneModel
from tf_crossdistil.models.methods import METHODS

# Tracing costs by the feature; others are in the shared export.
FEATURES = [
    {"name": "user", "kind": "categorical", "dim": 3},
    {"name": "duration", "kind": "numeric", "transform": "standardize"},
]
# By default every backbone with the teachers that share most.
CELLS = [
    pytest.param(
        backbone,
        method,
        id=f"{backbone}-{method}",
        marks=() if backbone in BACKBONES and method == "crossdistil" else pytest.mark.slow,
    )
    for backbone in [*BACKBONES, OWN_BACKBONE]
    for method in METHODS
]


def make_model(backbone, method):
    model, experiment = small_model(
        features=FEATURES,
        model={"backbone": backbone, "experts": {"shared": 1, "per_task": 1, "units": [5], "levels": 2}, "towers": [6]},
        distillation={"method": method},
        training={"loss_weighting": "uncertainty"},
    )
    model.calibration.calibrator.offset.assign([0.3, -0.7])
    return model, experiment


@lru_cache
def shapes_without_teachers(backbone):
    model, _ = make_model(backbone, "none")
    return sorted(tuple(variable.shape) for variable in model.network.variables)


def random_rows(count):
    """Known, unknown and missing users, with known and missing durations."""
    generator = np.random.default_rng(7)
    users = generator.choice(["u0", "u1", "u4", "stranger", "other", ""], count)
    durations = np.where(generator.random(count) < 0.2, np.nan, generator.normal(3, 5, count))
    return [{"user": str(user), "duration": float(value)} for user, value in zip(users, durations, strict=True)]


def students_variables(model):
    """What the students' logits have a gradient by."""
    with tf.GradientTape() as tape:
        logits = model({"user": np.array([1, 2, 3]), "duration": np.array([1.0, 2.0, 3.0], np.float32)})
        total = tf.add_n([tf.reduce_sum(logits[task]) for task in model.network.students])
    variables = model.network.trainable_variables
    gradients = tape.gradient(total, variables)
    return [variable for variable, gradient in zip(variables, gradients, strict=True) if gradient is not None]


@pytest.mark.parametrize(("backbone", "method"), CELLS)
def test_exported_students_are_the_live_ones_and_nothing_else(backbone, method, tmp_path):
    model, experiment = make_model(backbone, method)
    run = small_run(tmp_path, model, experiment)
    rows = random_rows(100)
    live = live_probabilities(run, rows, model)
    ServedModel(model.network, experiment, run.vocabularies).save(tmp_path / "1")
    with VersionOneModel(tmp_path / "1") as served:
        for signature, inputs in (("serving_default", raw_inputs), ("predict_examples", example_inputs)):
            answers = served(signature, inputs(experiment, rows))
            assert answers.keys() == live.keys()
            for task, probabilities in live.items():
                np.testing.assert_allclose(answers[task], probabilities, rtol=0, atol=1e-6)
                assert len(set(probabilities.tolist())) > 20
        kept = variables_of(served)
    expected = [variable.numpy() for variable in students_variables(model)]
    assert fingerprint(kept) == fingerprint(expected)
    assert sorted(array.shape for array in kept) == shapes_without_teachers(backbone)
    assert (len(kept) < len(model.network.variables)) == bool(model.network.teachers)
