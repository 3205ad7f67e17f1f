# SPDX-License-Identifier: Apache-2.0
"""Regression tasks beside binary ones: losses, weights, missing labels, what layers add, and what is predicted."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.models import numpy_oracle as oracle
from tests.models.small_model import DEVIATION, DRAWS, MEAN, ROWS, small_batch, small_model
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.crossdistil import CrossDistilModel

FEW_FEATURES = [
    {"name": "user", "kind": "categorical", "dim": 3},
    {"name": "duration", "kind": "numeric", "transform": "standardize"},
]
FINISH, LIKE = {"name": "finish", "column": "finish"}, {"name": "like", "column": "like", "optional": True}
STARS = {"name": "stars", "column": "stars", "kind": "regression", "weight": 3}
SECONDS = {"name": "seconds", "column": "seconds", "kind": "regression", "optional": True}
PLACES = {"first": [STARS, FINISH, LIKE], "between": [FINISH, STARS, LIKE], "last": [FINISH, LIKE, STARS]}
SHARED_BOTTOM = {"backbone": "shared_bottom", "experts": {"units": [5]}, "towers": [4]}
LABELS = {
    "finish": np.array([1, 0, 1, 0, 1, 1, 0, 0], np.float32),
    "like": np.array([0, 0, 1, np.nan, 1, 0, 1, 0], np.float32),
    "stars": np.array([21, 7.5, -3, 40, 0, 20, 33, np.nan], np.float32),
    "seconds": np.array([np.nan, 1, 2, 3, np.nan, 5, 6, 7], np.float32),
}
WEIGHTS = np.array([1, 2, 0, 0.5, 1, 3, 1, 1], np.float32)


def mixed_model(tasks, **sections):
    settings = {"features": FEW_FEATURES, "model": SHARED_BOTTOM, "distillation": {"alpha": 0.3}}
    return small_model(tasks=tasks, eagerly=True, **settings | sections)[0]


def mixed_batch(tasks, **changes):
    labels = LABELS | changes
    columns = [labels[task["name"]] for task in tasks]
    return small_batch() | {"labels": np.stack(columns, axis=1), "weights": WEIGHTS}


def take_weights(model, other):
    """Gives the model what another one has for the same tasks, whatever their order."""
    for name, tower in model.network.towers.items():
        tower.set_weights(other.network.towers[name].get_weights())
    for part in ("backbone", "encoders"):
        sources = tf.nest.flatten(getattr(other.network, part)), tf.nest.flatten(getattr(model.network, part))
        for source, target in zip(*sources, strict=True):
            target.set_weights(source.get_weights())


@pytest.fixture(scope="module")
def by_place():
    """The same model with its regression task at each place."""
    models = {place: mixed_model(tasks) for place, tasks in PLACES.items()}
    for model in models.values():
        take_weights(model, models["first"])
        model.calibration.calibrator.offset.assign([0.3, -0.7])
    return models


@pytest.mark.parametrize("place", PLACES)
def test_losses_are_those_of_each_tasks_own_column_wherever_it_stands(by_place, place):
    model, batch = by_place[place], mixed_batch(PLACES[place])
    logits = {name: values.numpy() for name, values in model(batch["features"]).items()}
    assert logits.keys() == {"finish", "like", "stars", "finish+", "like+"}
    losses = model.losses_by_name(batch, model(batch["features"]))
    stars = np.nan_to_num(WEIGHTS * ((LABELS["stars"] - MEAN) / DEVIATION - logits["stars"]) ** 2)
    # It has no soft labels to share its weight with.
    assert float(losses["stars"]) == pytest.approx(3 * stars.mean(), rel=1e-5)
    for number, task in enumerate(["finish", "like"]):
        labels, weights = np.nan_to_num(LABELS[task]), WEIGHTS * ~np.isnan(LABELS[task])
        hard = (weights * oracle.cross_entropy(labels, logits[task])).mean()
        assert float(losses[task]) == pytest.approx(0.7 * hard, rel=1e-5)
        teacher = np.log1p(np.e - 1) * logits[f"{task}+"] + [0.3, -0.7][number]
        sign = 2 * labels - 1
        soft = oracle.cross_entropy(oracle.sigmoid(sign * np.maximum(sign * teacher, 0)), logits[task])
        assert float(losses[f"{task}/distillation"]) == pytest.approx(0.3 * (weights * soft).mean(), rel=1e-4)
    first = by_place["first"]
    expected = first.losses_by_name(mixed_batch(PLACES["first"]), first(batch["features"]))
    for teacher in ("finish+", "like+"):
        assert float(losses[teacher]) == pytest.approx(float(expected[teacher]), rel=1e-6)


@pytest.mark.parametrize(
    "method", ["crossdistil", *(pytest.param(m, marks=pytest.mark.slow) for m in ("kd_cross_task", "none"))]
)
def test_masked_labels_change_nothing_and_no_gradient_is_undefined(method):
    """Neither a number that is missing nor one that no weight is given to; and a batch may have none."""
    tasks = [SECONDS, FINISH, LIKE, STARS]
    model = mixed_model(tasks, distillation={"method": method})
    # What no float32 can hold squared is masked all the same.
    model.task_outputs._scales["seconds"] = (3e22, 1e-3)
    batch = mixed_batch(tasks, seconds=np.full(ROWS, np.nan, np.float32))
    with tf.GradientTape(persistent=True) as tape:
        losses = model.losses_by_name(batch, model(batch["features"]))
        loss = tf.add_n(list(losses.values()))
    assert float(losses["seconds"]) == 0 and np.isfinite(loss)
    for gradient in tape.gradient(loss, model.trainable_variables, unconnected_gradients="zero"):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()
    own = model.network.towers["seconds"].trainable_variables
    assert not any(np.any(gradient) for gradient in tape.gradient(losses["seconds"], own))
    # The number of the row without weight is another one.
    changed = mixed_batch(tasks, seconds=batch["labels"][:, 0], stars=np.where(WEIGHTS == 0, 31, LABELS["stars"]))
    np.testing.assert_array_equal(model.losses_by_name(changed, model(batch["features"]))["stars"], losses["stars"])


def test_one_step_moves_the_regression_towards_its_labels_and_calibrates_teachers_only():
    tasks = PLACES["between"]
    model, batch = mixed_model(tasks, training={"learning_rate": 0.1, "strata_batch_size": DRAWS}), mixed_batch(tasks)
    before = {task: [v.numpy() for v in tower.weights] for task, tower in model.network.towers.items()}
    losses = [model.train_step(batch) for _ in range(6)]
    for task, tower in model.network.towers.items():
        assert any(np.any(now != was) for now, was in zip(tower.weights, before[task], strict=True)), task
    assert [variable.shape for variable in model.calibration.calibrator.trainable_variables] == [[2], [2]]
    assert set(losses[0]) == {"loss", "finish", "stars", "like", "calibration", "finish+", "like+"} | {
        "finish/distillation",
        "like/distillation",
    }
    assert all(np.isfinite(value) for value in losses[-1].values())
    # Means since the beginning.
    assert losses[-1]["stars"] < 0.85 * losses[0]["stars"]


def test_uncertainty_halves_the_squared_error():
    """Kendall et al. 2018: `exp(-s) L / 2 + s / 2` of a regression (Eq. 7), `exp(-s) L + s / 2` of a binary task (Eq. 10)."""
    tasks, none = PLACES["between"], {"distillation": {"method": "none"}}
    fixed = mixed_model(tasks, **none)
    learned = mixed_model(tasks, training={"loss_weighting": "uncertainty", "batch_size": ROWS}, **none)
    take_weights(learned, fixed)
    learned.loss_weighting.log_variance.assign([0.4, -0.8, 1.1])
    batch = mixed_batch(tasks)
    plain, weighted = (model.losses_by_name(batch, model(batch["features"])) for model in (fixed, learned))
    for task, factor in (("finish", np.exp(-0.4)), ("stars", np.exp(0.8) / 2), ("like", np.exp(-1.1))):
        assert float(weighted[task]) == pytest.approx(float(plain[task]) * factor, rel=1e-5)
    total = sum(map(float, weighted.values())) + (0.4 - 3 * 0.8 + 1.1) / 2
    assert float(learned.compute_loss(batch)) == pytest.approx(total, rel=1e-5)


def test_layers_own_losses_are_logged_and_count_once():
    """Those of the call on natural rows, whatever the teachers' call on the strata makes of them."""
    model = mixed_model(PLACES["last"])
    batch = mixed_batch(PLACES["last"])
    plain = float(model.compute_loss(batch))
    penalty = tf.Variable(2.5)
    model.network.backbone.add_loss(lambda: 2 * penalty)
    assert float(model.compute_loss(batch)) == pytest.approx(plain + 5, rel=1e-6)
    logged = model.train_step(batch)
    assert float(logged["regularisation"]) == 5
    assert float(logged["loss"]) == pytest.approx(plain + 5, rel=1e-6)


def test_what_a_layer_adds_in_training_only_is_logged_too():
    """A backbone of the user's own may call `add_loss` under `if training`, and in a lower precision."""
    model = mixed_model(PLACES["last"])
    batch = mixed_batch(PLACES["last"])
    assert "regularisation" not in model.train_step(batch)
    backbone, plain_call = model.network.backbone, model.network.backbone.call

    def call(inputs, tasks, training=False):
        if training:
            backbone.add_loss(tf.constant(0.5, tf.float16))
        return plain_call(inputs, tasks, training=training)

    backbone.call = call
    assert float(model.train_step(batch)["regularisation"]) == 0.5


def test_the_penalty_of_open_gates_is_that_of_all_gates():
    experts = {"shared": 1, "units": [4], "l0_penalty": 0.25}
    model = mixed_model(PLACES["between"], model={"backbone": "mssm", "experts": experts, "towers": [4]})
    gates = [variable for variable in model.network.trainable_variables if "log_alpha" in variable.name]
    expected = 0.25 * sum(np.sum(1 / (1 + np.exp(-(gate.numpy() - np.log(1 / 3))))) for gate in gates)
    assert {gate.ref() for gate in gates} and expected > 0
    assert float(model.train_step(mixed_batch(PLACES["between"]))["regularisation"]) == pytest.approx(expected, rel=1e-5)


def test_auxiliary_tasks_are_binary():
    with pytest.raises(UsageError, match="'finish' has none"):
        mixed_model([FINISH, STARS], distillation={"method": "kd_cross_task"}, counts={"0": 60, "1": 40})
    model = mixed_model([STARS, FINISH], counts={"0": 60, "1": 40})
    assert [weights.shape for weights in model._pair_weights] == [(2, 2)]


def test_configurations_and_weights_make_the_same_model_again(by_place):
    model = by_place["first"]
    clone = CrossDistilModel.from_config(json.loads(json.dumps(model.get_config())))
    clone.set_weights(model.get_weights())
    features = small_batch()["features"]
    for task, output in model(features).items():
        np.testing.assert_array_equal(clone(features)[task], output)
