# SPDX-License-Identifier: Apache-2.0
"""Two, three and five tasks: one step of training with every backbone, and the export of what was trained."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from tests.export.asking import load_signature
from tests.models.small_model import live_students, small_batch, small_model, small_rows, small_run
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.export.publish import export
from tf_crossdistil.models.ranking_network import teacher_name

ROWS, DRAWS = 16, 8
FIVE = ["click", "finish", "like", "share", "buy"]

OFTEN_SLOW = pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=() if name == "ple" else pytest.mark.slow) for name in BACKBONES]
)


def few_features(backbone="ple"):
    return {
        "features": [
            {"name": "user", "kind": "categorical", "dim": 2},
            {"name": "duration", "kind": "numeric", "transform": "standardize"},
        ],
        "model": {"backbone": backbone, "experts": {"shared": 2, "per_task": 1, "units": [8], "levels": 1}, "towers": [8]},
        "training": {"batch_size": ROWS, "strata_batch_size": DRAWS},
    }


def tasks_named(names):
    return [{"name": name, "column": name} for name in names]


def every_tag(tasks):
    """Training rows of every tag, no two alike."""
    return {tag: 40 + 7 * number for number, tag in enumerate(map("".join, product("01", repeat=tasks)))}


def trained_one_step(counts, batch, **sections):
    """The model after one step of `fit`, its values before, and its losses."""
    model, experiment = small_model(counts=counts, eagerly=True, **sections)
    before = [variable.numpy() for variable in model.trainable_variables]
    fitted = model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    return model, experiment, before, {name: values[0] for name, values in fitted.history.items()}


def unmoved(model, before):
    """Names of the variables that the step left as they were."""
    pairs = zip(model.trainable_variables, before, strict=True)
    return [variable.name for variable, values in pairs if np.array_equal(variable.numpy(), values)]


def loss_names(names, backbone="ple"):
    own = {"regularisation"} if backbone in ("mssm", "snr") else set()
    return {*names, *(f"{name}/distillation" for name in names), *map(teacher_name, names), "loss", "calibration"} | own


@pytest.mark.parametrize(
    ("backbone", "count"),
    [
        pytest.param(backbone, count, marks=() if count == 2 or (backbone, count) == ("ple", 5) else pytest.mark.slow)
        for backbone in BACKBONES
        for count in (2, 3, 5)
    ],
)
def test_one_step_moves_every_student_and_teacher(backbone, count):
    names = FIVE[:count]
    batch = small_batch(ROWS, DRAWS, tags=2**count, tasks=count)
    model, _, before, losses = trained_one_step(every_tag(count), batch, tasks=tasks_named(names), **few_features(backbone))
    assert losses.keys() == loss_names(names, backbone)
    assert all(np.isfinite(value) and value > 0 for value in losses.values()), losses
    assert len(model.network.towers) == 2 * count
    assert unmoved(model, before) == []


@OFTEN_SLOW
@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5])
def test_every_student_is_exported(backbone, count, tmp_path):
    names = FIVE[:count]
    model, experiment = small_model(counts=every_tag(count), tasks=tasks_named(names), **few_features(backbone))
    run = small_run(tmp_path, model, experiment)
    answers = load_signature(export(run, tmp_path / "small").directory)(**raw_columns(experiment, small_rows()))
    live = live_students(model, run)
    assert answers.keys() == live.keys() == set(names)
    for name in names:
        np.testing.assert_allclose(answers[name], live[name], rtol=0, atol=1e-6)
    assert len({values.tobytes() for values in live.values()}) == count


def test_auxiliary_tasks_of_different_numbers():
    """Each teacher's loss has one term more for each auxiliary task and label; without any, the bipartite one is left."""
    auxiliary = {"click": FIVE[1:], "finish": ["click", "buy"], "like": ["share"], "share": []}
    batch = small_batch(ROWS, DRAWS, tags=32, tasks=5)
    counts = every_tag(5)
    model, _, before, losses = trained_one_step(
        counts, batch, tasks=tasks_named(FIVE), **few_features(), distillation={"auxiliary": auxiliary}
    )
    assert unmoved(model, before) == []
    lengths = {name: len(auxiliary.get(name, FIVE[1:])) for name in FIVE}
    for index, name in enumerate(FIVE):
        # Every term's weights sum to 1 when beta is.
        assert model._pair_weights[index].sum() == pytest.approx(1 + 2 * lengths[name], rel=1e-5)
        assert np.isfinite(losses[teacher_name(name)])
    above, below = np.nonzero(model._pair_weights[FIVE.index("share")])
    tags = sorted(counts)
    assert {tags[tag][3] for tag in above} == {"1"} and {tags[tag][3] for tag in below} == {"0"}


def nested_tags():
    """A click before a cart before a purchase: four of the eight tags."""
    return {"000": 500, "100": 100, "110": 40, "111": 20}


@OFTEN_SLOW
def test_nested_tasks_train_without_the_strata_that_cannot_be(backbone):
    names = ["click", "cart", "buy"]
    batch = small_batch(ROWS, DRAWS, tags=4, tasks=3)
    batch["labels"] = np.cumprod(batch["labels"], axis=1)
    model, _, before, losses = trained_one_step(nested_tags(), batch, tasks=tasks_named(names), **few_features(backbone))
    assert losses.keys() == loss_names(names, backbone)
    assert all(np.isfinite(value) and value > 0 for value in losses.values()), losses
    assert unmoved(model, before) == []


def test_labels_that_are_missing_and_weights_leave_every_loss_finite():
    """A purchase has a label among clicks only, `like` is unknown here and there, and one row of the batch has no weight."""
    names = ["click", "buy", "like"]
    settings = [{}, {"given": "click"}, {"optional": True}]
    tasks = [task | extra for task, extra in zip(tasks_named(names), settings, strict=True)]
    counts = {"0x0": 300, "0x1": 40, "0xx": 50, "100": 90, "101": 30, "110": 20, "111": 10, "11x": 5}
    batch = small_batch(ROWS, DRAWS, tags=len(counts), tasks=3)
    labels = batch["labels"]
    labels[labels[:, 0] == 0, 1] = np.nan
    labels[::3, 2] = np.nan
    batch["weights"] = np.linspace(0, 2, ROWS, dtype=np.float32)
    assert 0 < np.isnan(labels[:, 1]).sum() < ROWS
    model, _, before, losses = trained_one_step(counts, batch, tasks=tasks, **few_features())
    assert losses.keys() == loss_names(names)
    assert all(np.isfinite(value) and value > 0 for value in losses.values()), losses
    assert unmoved(model, before) == []


def test_a_task_without_a_label_in_the_batch_costs_nothing_there():
    names = ["click", "buy"]
    batch = small_batch(ROWS, DRAWS, tags=4, tasks=2)
    batch["labels"][:, 1] = np.nan
    _, _, _, losses = trained_one_step(every_tag(2), batch, tasks=tasks_named(names), **few_features())
    assert losses["buy"] == losses["buy/distillation"] == 0
    assert all(np.isfinite(value) for value in losses.values())
    assert losses["click"] > 0 and losses["buy+"] > 0
