# SPDX-License-Identifier: Apache-2.0
"""Warm start: what goes on from a former run, and what starts anew."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_model import AUTHORS, small_batch, small_experiment
from tests.training.former_runs import (
    FRESH_ACCUMULATOR,
    TODAY,
    YESTERDAY,
    accumulator,
    changed,
    expected_rows,
    former_run,
    fresh_model,
    optimizers_of,
    prepared_data,
    tables_of,
)
from tf_crossdistil.metrics.summary import summarize
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.training import carried_rows as rows_module
from tf_crossdistil.training.pretrained import assign_pretrained
from tf_crossdistil.training.warm_start import check_warm_start, warm_start

UNCERTAINTY = {"training": small_experiment().training.model_dump() | {"loss_weighting": "uncertainty"}}
SINGLE = {"model": {"backbone": "single", "towers": [4]}}
TEACHERLESS = {"distillation": {"method": "none"}}


def test_rows_go_to_the_ids_of_their_values_and_so_do_their_accumulators(former, today, monkeypatch):
    monkeypatch.setattr(rows_module, "_BLOCK", 2)
    run, was, _ = former
    model = fresh_model(small_experiment(), today, seed=2)
    untouched = fresh_model(small_experiment(), today, seed=2)
    lines = warm_start(model, run, today)
    for name in ("user", "tags"):
        (table,), (former_table,), (fresh,) = (tables_of(each, name) for each in (model, was, untouched))
        np.testing.assert_array_equal(table, expected_rows(name, former_table.numpy(), fresh.numpy()))
        fresh_accumulator = np.full(table.shape, FRESH_ACCUMULATOR)
        expected = expected_rows(name, accumulator(was, former_table), fresh_accumulator)
        assert (expected > FRESH_ACCUMULATOR).any(axis=1).sum() > 2
        np.testing.assert_array_equal(accumulator(model, table), expected)
    for name in ("author", "age"):
        (table,), (former_table,) = tables_of(model, name), tables_of(was, name)
        np.testing.assert_array_equal(table, former_table)
        np.testing.assert_array_equal(accumulator(model, table), accumulator(was, former_table))
    assert lines == [
        f"feature 'user': 6 of 8 ids go on from {run.directory}; 2 start anew",
        f"feature 'author': 4 of 4 ids go on from {run.directory}",
        f"feature 'tags': 4 of 6 ids go on from {run.directory}; 2 start anew",
        f"feature 'age': 3 of 3 ids go on from {run.directory}",
    ]


def test_dense_weights_calibration_and_the_state_of_their_optimizers_go_on(former, today):
    run, was, _ = former
    model = fresh_model(small_experiment(), today, seed=2)
    warm_start(model, run, today)
    pairs = list(zip(model.dense_variables, was.dense_variables, strict=True))
    adam, former_adam = optimizers_of(model)[1], optimizers_of(was)[1]
    assert len(pairs) > 20
    for variable, known in pairs:
        np.testing.assert_array_equal(variable, known)
        for slot in ("m", "v"):
            np.testing.assert_array_equal(adam.get_slot(variable, slot), former_adam.get_slot(known, slot))
    ours, theirs = model.calibration, was.calibration
    for variable, known in zip(ours.calibrator.variables, theirs.calibrator.variables, strict=True):
        np.testing.assert_array_equal(variable, known)
        np.testing.assert_array_equal(ours.optimizer.get_slot(variable, "v"), theirs.optimizer.get_slot(known, "v"))
    for optimizer in (*optimizers_of(model), ours.optimizer):
        assert optimizer.iterations.numpy() == 2


@pytest.mark.parametrize(
    "sections", [UNCERTAINTY, pytest.param(SINGLE, marks=pytest.mark.slow)], ids=["uncertainty", "a table for each task"]
)
def test_with_the_same_data_the_next_step_is_the_former_runs_next_step(tmp_path, sections):
    experiment = small_experiment(**sections)
    run, was, data = former_run(tmp_path, experiment)
    model = fresh_model(experiment, data, seed=2)
    warm_start(model, run, data)
    features = small_batch(seed=9)["features"]
    for each, logits in model(features).items():
        np.testing.assert_array_equal(logits, was(features)[each])
    for each in (model, was):
        each.train_step(small_batch(seed=7))
    variables = [[*each.trainable_variables, *each.calibration.calibrator.variables] for each in (model, was)]
    for ours, theirs in zip(*variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_learning_rates_come_from_the_new_configuration_and_random_state_starts_anew(tmp_path):
    dropout = {"model": small_experiment().model.model_dump() | {"dropout": 0.5}}
    run, _, data = former_run(tmp_path, small_experiment(**dropout))
    experiment = small_experiment(**dropout, training={"learning_rate": 0.5, "embedding_learning_rate": 0.25})
    model, untouched = fresh_model(experiment, data, seed=2), fresh_model(experiment, data, seed=2)
    check_warm_start(run, experiment, data)
    warm_start(model, run, data)
    assert [optimizer.learning_rate.numpy() for optimizer in optimizers_of(model)] == [0.25, 0.5]

    def integers(each):
        path = tf.train.Checkpoint(network=each.network).write(str(tmp_path / "network"))
        reader = tf.train.load_checkpoint(path)
        tensors = {key: reader.get_tensor(key) for key, dtype in reader.get_variable_to_dtype_map().items() if dtype.is_integer}
        return {key: value.tolist() for key, value in tensors.items()}

    assert integers(model) == integers(untouched) != {}


@pytest.mark.slow
def test_teachers_start_anew_where_the_former_run_had_none(tmp_path, today):
    run, was, _ = former_run(tmp_path, small_experiment(**TEACHERLESS))
    experiment = small_experiment()
    check_warm_start(run, experiment, today)
    model, untouched = fresh_model(experiment, today, seed=2), fresh_model(experiment, today, seed=2)
    lines = warm_start(model, run, today)
    assert lines[-1] == (
        f"16 weights start anew, which {run.directory} lacks: distillation.method is crossdistil, there it is none"
    )
    for task in ("finish", "like"):
        for ours, theirs in zip(model.network.towers[task].weights, was.network.towers[task].weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        teachers = (each.network.towers[f"{task}+"].weights for each in (model, untouched))
        for ours, theirs in zip(*teachers, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    pairs = zip(model.calibration.calibrator.variables, untouched.calibration.calibrator.variables, strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)
    model.train_step(small_batch())


def test_students_go_on_without_teachers(former, today):
    run, was, _ = former
    experiment = small_experiment(**TEACHERLESS)
    check_warm_start(run, experiment, today)
    model = fresh_model(experiment, today, seed=2)
    lines = warm_start(model, run, today)
    assert len(lines) == 4
    features = small_batch(seed=9)["features"] | {"user": np.full(8, TODAY["user"].index("u4") + 1)}
    features["friends"] = np.zeros_like(features["friends"])
    features["tags"] = np.where(features["tags"] > 0, TODAY["tags"].index("a") + 1, 0)
    before = features | {"user": np.full(8, YESTERDAY["user"].index("u4") + 1)}
    before["tags"] = np.where(features["tags"] > 0, YESTERDAY["tags"].index("a") + 1, 0)
    for task in ("finish", "like"):
        np.testing.assert_array_equal(model(features)[task], was(before)[task])


@pytest.mark.slow
def test_other_numbers_of_buckets_start_those_rows_anew_with_a_warning(former, tmp_path):
    run, was, _ = former
    for name, settings, oov, line in [
        (
            "author",
            {"buckets": AUTHORS + 1},
            1,
            "feature 'author': 0 of 5 ids go on from {}; 5 start anew; warning: these are few",
        ),
        ("user", {"oov_buckets": 3}, 3, "feature 'user': 5 of 10 ids go on from {}; 5 start anew"),
    ]:
        experiment = changed(name, **settings)
        data = prepared_data(tmp_path / name, experiment, TODAY)
        check_warm_start(run, experiment, data)
        model, untouched = fresh_model(experiment, data, seed=2), fresh_model(experiment, data, seed=2)
        lines = warm_start(model, run, data)
        assert any(found.startswith(line.format(run.directory)) for found in lines)
        (table,), (fresh,), (former_table,) = (tables_of(each, name) for each in (model, untouched, was))
        expected = fresh.numpy() if name == "author" else expected_rows(name, former_table.numpy(), fresh.numpy(), 0)
        np.testing.assert_array_equal(table, expected)
        np.testing.assert_array_equal(accumulator(model, table)[-oov:], np.full([oov, table.shape[1]], FRESH_ACCUMULATOR))


def test_numbers_that_moved_are_told(former, tmp_path):
    run, was, _ = former
    data = prepared_data(tmp_path / "moved", small_experiment(), TODAY, boundaries=[2.0, 4.0])
    moved = data.metadata.numeric["duration"].model_copy(update={"mean": 2.5})
    metadata = data.metadata.model_copy(update={"numeric": data.metadata.numeric | {"duration": moved}})
    data = dataclasses.replace(data, metadata=metadata)
    model = fresh_model(small_experiment(), data, seed=2)
    lines = warm_start(model, run, data)
    assert lines[-2] == (
        "feature 'duration': mean 2 and deviation 4 became 2.5 and 4; warning: the network takes up its numbers on the former "
        "scale"
    )
    assert lines[-1] == "feature 'age': its boundaries moved; each bucket goes on from the one at its place"
    (table,), (former_table,) = tables_of(model, "age"), tables_of(was, "age")
    np.testing.assert_array_equal(table, former_table)


def test_rows_that_go_on_win_over_pretrained_files_which_win_over_chance(former, tmp_path):
    run, was, _ = former
    np.save(tmp_path / "vectors.npy", np.full([8, 3], 7.0))
    experiment = changed("user", pretrained={"file": str(tmp_path / "vectors.npy")})
    data = prepared_data(tmp_path / "data", experiment, TODAY)
    check_warm_start(run, experiment, data)
    model = fresh_model(experiment, data, seed=2)
    assign_pretrained(model.network, experiment, data)
    warm_start(model, run, data)
    (table,), (former_table,) = tables_of(model, "user"), tables_of(was, "user")
    np.testing.assert_array_equal(table, expected_rows("user", former_table.numpy(), np.full([8, 3], 7.0)))


@pytest.mark.slow
def test_precision_may_change(former, today):
    run, was, _ = former
    model = fresh_model(small_experiment(training={"precision": "mixed_float16"}), today, seed=2)
    warm_start(model, run, today)
    (table,), (former_table,) = tables_of(model, "tags"), tables_of(was, "tags")
    fresh = np.full(table.shape, FRESH_ACCUMULATOR)
    np.testing.assert_array_equal(accumulator(model, table), expected_rows("tags", accumulator(was, former_table), fresh))


@pytest.mark.slow
def test_a_run_that_kept_no_state_of_its_optimizers_is_a_warning(tmp_path, today):
    run, _, _ = former_run(tmp_path, steps=0)
    model = fresh_model(small_experiment(), today, seed=2)
    assert warm_start(model, run, today)[-1] == (
        f"warning: {run.directory} kept no state of its optimizers, so that the first steps are large"
    )


def test_with_the_same_data_the_former_metrics_come_out(trained, shared_experiment, prepared):
    check_warm_start(trained, shared_experiment, prepared)
    model = fresh_model(shared_experiment, prepared, seed=2)
    lines = warm_start(model, trained, prepared)
    assert len(lines) == 6
    assert not any("anew" in line or "warning" in line for line in lines)
    summaries = [
        summarize(shared_experiment, SplitPredictor(each, shared_experiment)(prepared, "test"), "test")
        for each in (model, trained.load_best())
    ]
    assert summaries[0] == summaries[1]
