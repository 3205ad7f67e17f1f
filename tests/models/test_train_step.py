# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models import numpy_oracle as oracle
from tests.models.small_model import COUNTS, DEVIATION, DRAWS, MEAN, ROWS, run_step, small_batch, small_experiment, small_model


def arrays(variables):
    return {name: variable.numpy().astype(np.complex128) for name, variable in variables.items()}


def with_stars(batch):
    """The batch with numbers of stars between its labels."""
    stars = np.random.default_rng(5).normal(MEAN, DEVIATION, len(batch["labels"])).astype(np.float32)
    return batch | {"labels": np.insert(batch["labels"], 1, stars, axis=1)}


@pytest.mark.parametrize(
    ("levels", "students"),
    [
        pytest.param(1, oracle.BINARY, marks=pytest.mark.slow),
        pytest.param(2, oracle.BINARY, marks=pytest.mark.slow),
        (2, ("finish", "stars", "like")),
    ],
)
def test_loss_and_one_step_equal_the_numpy_implementation(levels, students):
    tasks = [task.model_dump(mode="json") for task in small_experiment().tasks]
    batch = small_batch()
    if "stars" in students:
        tasks.insert(1, {"name": "stars", "column": "stars", "kind": "regression"})
        batch = with_stars(batch)
    model, experiment = small_model(
        tasks=tasks, model={"experts": {"shared": 2, "per_task": 1, "units": [5], "levels": levels}, "towers": [6]}
    )
    model.calibration.calibrator.free_scale.assign([0.1, 0.9])
    model.calibration.calibrator.offset.assign([0.3, -0.2])
    settings, training = experiment.distillation, experiment.training
    variables = oracle.parameters_of(model)
    assert {v.ref() for v in variables.values()} == {v.ref() for v in model.trainable_variables}
    before = arrays(variables)
    free, offset = model.calibration.calibrator.free_scale.numpy(), model.calibration.calibrator.offset.numpy()
    scale = oracle.softplus(free)
    soft_labels, teacher = oracle.soft_labels_of(before, batch, scale, offset, settings, levels, students)

    every_loss = [*students, "finish/distillation", "like/distillation", "finish+", "like+"]
    actual = {name: tf.convert_to_tensor(part).numpy() for name, part in gradient_of(model, batch, every_loss).items()}

    logged = run_step(model, batch)

    def losses(p):
        return oracle.losses(p, batch, soft_labels, settings, COUNTS, levels, students, (MEAN, DEVIATION))

    terms = losses(before)
    for name, term in terms.items():
        assert float(logged[name]) == pytest.approx(term.real, abs=1e-5), name
    assert float(logged["loss"]) == pytest.approx(sum(terms.values()).real, abs=1e-5)

    def total(p):
        return sum(losses(p).values())

    for name, gradient in oracle.gradients(before, total).items():
        np.testing.assert_allclose(actual[name], gradient, atol=1e-6, err_msg=name)
        is_table = name in ("user", "author", "tags", "age")
        step = oracle.adagrad_step if is_table else oracle.adam_step
        rate = training.embedding_learning_rate if is_table else training.learning_rate
        expected = step(before[name].real, gradient, rate)
        after = variables[name].numpy()
        # Adam divides a gradient by its own size: of one that is rounding error only the bound of the step is defined.
        defined = is_table | (np.abs(gradient) > 1e-5) | (actual[name] == 0)
        np.testing.assert_allclose(after[defined], expected[defined], atol=1e-5, err_msg=name)
        assert np.all(np.abs(after - before[name].real) <= 1.001 * rate)

    error = oracle.sigmoid(scale * teacher + offset) - batch["labels"][:, [students.index(task) for task in oracle.BINARY]]
    slope = oracle.sigmoid(free) * np.mean(error * teacher, axis=0)
    rate = training.calibration_learning_rate
    np.testing.assert_allclose(model.calibration.calibrator.free_scale, oracle.adam_step(free, slope, rate), atol=1e-5)
    np.testing.assert_allclose(
        model.calibration.calibrator.offset, oracle.adam_step(offset, error.mean(axis=0), rate), atol=1e-5
    )


def gradient_of(model, batch, names):
    """The gradient of the named losses by every variable of the model, and by P and Q."""
    variables = oracle.parameters_of(model)
    calibration = {f"calibration/{variable.name}": variable for variable in model.calibration.calibrator.trainable_variables}
    with tf.GradientTape() as tape:
        terms = model.losses_by_name(batch, model(batch["features"], training=True), training=True)
        loss = tf.add_n([terms[name] for name in names])
    return tape.gradient(loss, variables | calibration, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def is_zero(gradient):
    return not np.any(tf.convert_to_tensor(gradient))


@pytest.mark.parametrize("levels", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_students_reach_no_teacher_variable_and_no_calibration(levels):
    model, _ = small_model(model={"experts": {"shared": 2, "per_task": 1, "units": [5], "levels": levels}, "towers": [6]})
    students = ["finish", "like", "finish/distillation", "like/distillation"]
    gradients = gradient_of(model, small_batch(), students)
    reached = {name for name, gradient in gradients.items() if not is_zero(gradient)}
    assert not {name for name in reached if name.startswith("calibration") or "+" in name}
    assert {"tower/finish/w", "tower/like/w", "expert/0/(shared)/0/w", "user"} <= reached


@pytest.mark.parametrize("levels", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_teachers_reach_no_student_tower_and_no_calibration(levels):
    model, _ = small_model(model={"experts": {"shared": 2, "per_task": 1, "units": [5], "levels": levels}, "towers": [6]})
    gradients = gradient_of(model, small_batch(), ["finish+", "like+"])
    reached = {name for name, gradient in gradients.items() if not is_zero(gradient)}
    towers = {"tower/finish/w", "tower/like/w", "logit/finish/w", "logit/like/w"}
    assert not {name for name in reached if name.startswith("calibration")} | (reached & towers)
    assert {"tower/finish+/w", "tower/like+/w", "expert/0/(shared)/0/w", "user"} <= reached


def test_calibration_moves_by_its_own_loss_only():
    """Whatever the other losses weigh, one step moves P and Q alike; and the model does not know them as variables."""
    moved = []
    for alpha, ranking_weight in ((0.0, 0.0), (1.0, 5.0)):
        model, _ = small_model(distillation={"alpha": alpha, "ranking_weight": ranking_weight})
        run_step(model, small_batch())
        moved.append([variable.numpy() for variable in model.calibration.calibrator.trainable_variables])
        known = {variable.ref() for variable in model.variables}
        assert not known & {variable.ref() for variable in model.calibration.calibrator.variables}
        assert len(model.optimizer.weights) == len(model.dense_variables) * 2 + len(model.embedding_variables) + 2
    np.testing.assert_array_equal(moved[0], moved[1])
    assert np.any(moved[0][0] != np.float32(np.log(np.e - 1)))


def test_ranking_weight_keeps_its_meaning_when_draws_or_rows_change():
    """The pulls of all natural and of all drawn rows on what they share do not depend on how many of either there are."""
    pulls = []
    for rows, draws in ((8, 8), (8, 16), (32, 16)):
        model, _ = small_model(training={"batch_size": rows, "strata_batch_size": draws})
        batch = small_batch(rows, draws)
        # Natural rows are all alike, and so are those of a tag, so that only the counts differ.
        batch["features"] = {name: np.full_like(values, 2) for name, values in batch["features"].items()}
        for values in batch["strata"].values():
            values[:] = np.repeat(np.arange(4) if values.ndim == 1 else np.arange(4)[:, None], draws, axis=0)
        batch["labels"] = np.ones_like(batch["labels"])
        shared = oracle.parameters_of(model)["expert/0/(shared)/0/w"]
        with tf.GradientTape(persistent=True) as tape:
            terms = model.losses_by_name(batch, model(batch["features"]))
        pulls.append([np.abs(tape.gradient(terms[name], shared)).sum() for name in ("finish", "finish+")])
    assert min(pulls[0]) > 0
    np.testing.assert_allclose(pulls, [pulls[0]] * 3, rtol=1e-4)


@pytest.mark.slow
def test_feature_interaction_and_own_regularisation_take_part():
    model, _ = small_model(model={"interaction": "cross"}, distillation={"method": "none"})
    batch = small_batch()
    plain = float(model.compute_loss(batch))
    next(iter(model.network.interactions.values())).add_loss(lambda: tf.constant(2.5))
    assert float(model.compute_loss(batch)) == pytest.approx(plain + 2.5, rel=1e-5)
    assert float(run_step(model, batch)["loss"]) == pytest.approx(plain + 2.5, rel=1e-5)


def test_gradients_of_tables_are_the_rows_that_a_batch_looked_up():
    """Whatever the vocabularies' sizes: a dense gradient of a table would cost as much as the table is large."""
    model, _ = small_model()
    batch = small_batch()
    with tf.GradientTape() as tape:
        loss = tf.add_n([*model.losses_by_name(batch, model(batch["features"], training=True), training=True).values()])
    tables = {name: oracle.parameters_of(model)[name] for name in ("user", "author", "tags", "age")}
    assert {table.ref() for table in tables.values()} == {table.ref() for table in model.embedding_variables}
    gradients = tape.gradient(loss, tables)
    features = {name: np.concatenate([batch["features"][name], batch["strata"][name]]) for name in batch["features"]}
    friends = features["friends"][features["friends"] > 0]
    looked_up: dict[str, Any] = {
        # The pooled ones look up id 0 for no row, once in each of the two forward passes.
        "user": [*features["user"], *friends, 0, 0],
        "author": features["author"],
        "tags": [*features["tags"][features["tags"] > 0], 0, 0],
        "age": np.searchsorted([1.5, 4.0], features["age"], side="right"),
    }
    for name, gradient in gradients.items():
        assert isinstance(gradient, tf.IndexedSlices), name
        assert sorted(gradient.indices.numpy()) == sorted(looked_up[name]), name


def test_a_step_applies_sparse_updates_to_tables_and_to_nothing_else():
    model, _ = small_model()
    graph = model.make_train_function().get_concrete_function(iter(tf.data.Dataset.from_tensors(small_batch()))).graph
    graphs = [graph, *[function.graph for function in graph._functions.values() if hasattr(function, "graph")]]
    updates = [op.type for g in graphs for op in g.get_operations() if "Apply" in op.type or op.type == "ResourceScatterAdd"]
    assert sum("SparseApplyAdagrad" in update for update in updates) == len(model.embedding_variables)
    assert not [update for update in updates if "Adagrad" in update and "Sparse" not in update]


def test_missing_labels_and_weights_equal_the_losses_of_the_counted_rows():
    """Rows without a label count nothing for that task; a weight of two counts as a row that comes twice."""
    model, _ = small_model(distillation={"alpha": 0.3, "margin": 0.2, "temperature": 1.5})
    batch = small_batch()
    batch["labels"][:3, 0] = np.nan
    batch["labels"][5, 1] = np.nan
    batch["weights"] = np.array([1, 2, 0, 0.5, 1, 3, 1, 1], np.float32)
    terms = model.losses_by_name(batch, model(batch["features"]))
    labels, weights = batch["labels"], batch["weights"]
    logits = {task: values.numpy() for task, values in model(batch["features"]).items()}
    calibrated = model.calibration(np.stack([logits["finish+"], logits["like+"]], axis=1)).numpy()
    calibration = 0.0
    for index, (task, scale) in enumerate({"finish": 1.0, "like": 0.5}.items()):
        known = ~np.isnan(labels[:, index])
        label, weight = labels[known, index], weights[known]
        sign = 2 * label - 1
        soft = oracle.sigmoid(sign * np.maximum(sign * calibrated[known, index], 0.2) / 1.5)
        hard = np.sum(weight * oracle.cross_entropy(label, logits[task][known])) / 8
        distilled = np.sum(weight * oracle.cross_entropy(soft, logits[task][known] / 1.5)) / 8
        assert float(terms[task]) == pytest.approx(scale * 0.7 * hard, rel=1e-5)
        assert float(terms[f"{task}/distillation"]) == pytest.approx(scale * 0.3 * distilled, rel=1e-5)
        calibration += np.sum(weight * oracle.cross_entropy(label, calibrated[known, index])) / 8
    logged = run_step(model, batch)
    assert float(logged["calibration"]) == pytest.approx(calibration, rel=1e-5)
    assert all(np.isfinite(value) for value in logged.values())
    assert all(np.isfinite(variable).all() for variable in model.variables)


def test_uncertainty_weighting_follows_its_equation():
    """Kendall et al. 2018: `exp(-s) L + s / 2` for each student, whatever the teachers do."""
    fixed, _ = small_model()
    learned, _ = small_model(training={"loss_weighting": "uncertainty", "batch_size": ROWS, "strata_batch_size": DRAWS})
    assert learned.loss_weighting.log_variance.ref() in {variable.ref() for variable in learned.dense_variables}
    for variable, other in zip(fixed.network.variables, learned.network.variables, strict=True):
        other.assign(variable)
    log_variance = np.array([0.4, -0.8])
    learned.loss_weighting.log_variance.assign(log_variance)
    batch = small_batch()
    plain = fixed.losses_by_name(batch, fixed(batch["features"]))
    weighted = learned.losses_by_name(batch, learned(batch["features"]))
    scale = {"finish": np.exp(-0.4), "like": np.exp(0.8)}
    for name, term in plain.items():
        expected = float(term) * (1.0 if name.endswith("+") else scale[name.split("/")[0]])
        assert float(weighted[name]) == pytest.approx(expected, rel=1e-5), name
    # The task weights are 1 and 0.5.
    total = sum(map(float, weighted.values())) + (log_variance[0] + 0.5 * log_variance[1]) / 2
    assert float(learned.compute_loss(batch)) == pytest.approx(total, rel=1e-5)
    with tf.GradientTape() as tape:
        loss = learned.compute_loss(batch)
    slope = tape.gradient(loss, learned.loss_weighting.log_variance)
    students = [
        float(weighted["finish"] + weighted["finish/distillation"]),
        float(weighted["like"] + weighted["like/distillation"]),
    ]
    np.testing.assert_allclose(slope, np.array([0.5, 0.25]) - students, rtol=1e-4)


def test_own_student_loss_takes_the_place_of_cross_entropy(tmp_path, monkeypatch):
    (tmp_path / "squared_loss.py").write_text(
        "import tensorflow as tf\n\ndef squared_error(labels, logits):\n    return (tf.sigmoid(logits) - labels) ** 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model, _ = small_model(training={"loss": "squared_loss:squared_error"}, distillation={"method": "none"})
    batch = small_batch()
    del batch["strata"]
    logits = model(batch["features"])
    terms = model.losses_by_name(batch, logits)
    expected = np.mean((oracle.sigmoid(logits["finish"].numpy()) - batch["labels"][:, 0]) ** 2)
    assert float(terms["finish"]) == pytest.approx(expected, rel=1e-5)
