# SPDX-License-Identifier: Apache-2.0
"""Saving, loading, cloning and exporting a model of every backbone and method."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.models.small_model import OWN_BACKBONE, small_batch, small_model, small_run
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.config import Experiment
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.methods import METHODS
from tf_crossdistil.models.run import Run

DEEP = ("ple", "cross_stitch", "mssm", "snr")
MODELS = [(backbone, depth) for backbone in [*BACKBONES, OWN_BACKBONE] for depth in ((1, 2) if backbone in DEEP else (1,))]
# Of each backbone the deepest, and with a cheap one every method.
DEFAULT = {(backbone, 2 if backbone in DEEP else 1, "crossdistil") for backbone, _ in MODELS}
DEFAULT |= {("shared_bottom", 1, method) for method in METHODS}


def pairs(default):
    """Every model with every method; slow, but for the default ones."""
    return pytest.mark.parametrize(
        "cell",
        [
            pytest.param(pair, id="-".join(map(str, pair)), marks=() if pair in default else pytest.mark.slow)
            for pair in [(backbone, depth, method) for backbone, depth in MODELS for method in METHODS]
        ],
        indirect=True,
        scope="module",
    )


# Tracing costs by the feature.
FEW_FEATURES = [
    {"name": "user", "kind": "categorical", "dim": 3},
    {"name": "duration", "kind": "numeric", "transform": "standardize"},
]
FEATURES = small_batch()["features"]
TASKS = [
    {"name": "finish", "column": "finish"},
    {"name": "stars", "column": "stars", "kind": "regression"},
    {"name": "like", "column": "like", "weight": 0.5},
]


@dataclass(frozen=True)
class Cell:
    """A model with random weights, and its run on disk."""

    backbone: str
    depth: int
    model: CrossDistilModel
    experiment: Experiment
    run: Run


def sections_of(backbone, depth, method):
    experts = {"shared": 2, "per_task": 1, "units": [8, 7][:depth], "levels": depth}
    return {
        "tasks": TASKS,
        "features": FEW_FEATURES,
        "model": {"backbone": backbone, "experts": experts, "towers": [8]},
        "distillation": {"method": method},
        "training": {"loss_weighting": "uncertainty"},
    }


@pytest.fixture(scope="module")
def cell(request, tmp_path_factory):
    backbone, depth, _ = request.param
    model, experiment = small_model(**sections_of(*request.param))
    model.calibration.calibrator.offset.assign([0.3, -0.7])
    return Cell(backbone, depth, model, experiment, small_run(tmp_path_factory.mktemp("cell"), model, experiment))


def outputs(model):
    """Logits by task, and the teachers' calibrated ones."""
    logits = model(FEATURES)
    calibrated = {"calibrated": model.calibrated(model.teacher_logits(logits))} if model.network.teachers else {}
    return {name: values.numpy() for name, values in (logits | calibrated).items()}


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(actual[name], values, err_msg=name)


@pairs(DEFAULT)
def test_a_checkpoint_read_from_disk_gives_the_same_logits(cell):
    assert_same(outputs(Run.open(cell.run.directory).load_best()), outputs(cell.model))


@pairs(DEFAULT)
def test_a_clone_with_the_weights_gives_the_same_logits(cell):
    config = json.loads(json.dumps(cell.model.get_config()))
    clone = type(cell.model).from_config(config)
    logits, untrained = cell.model(FEATURES), clone(FEATURES)
    assert not any(np.allclose(untrained[task], logits[task]) for task in logits)
    clone.set_weights(cell.model.get_weights())
    clone.calibration.calibrator.offset.assign(cell.model.calibration.calibrator.offset)
    assert_same(outputs(clone), outputs(cell.model))


def test_keras_clones_the_configuration_and_not_the_weights():
    model, experiment = small_model(features=FEW_FEATURES)
    clone = keras.models.clone_model(model)
    assert clone.experiment == experiment
    assert clone.metadata == model.metadata
    assert [variable.shape for variable in clone.variables] == [variable.shape for variable in model.variables]
    model.variables[0].assign_add(tf.ones_like(model.variables[0]))
    assert not np.allclose(clone.variables[0], model.variables[0])
