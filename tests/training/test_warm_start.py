"""Warm start: what goes on from a former run, what starts anew, and runs that nobody can go on from."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.models.small_model import AGES, AUTHORS, small_batch, small_experiment, small_metadata
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.metrics.summary import summarize
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.models.run import Run, build
from tf_crossdistil.schema import METADATA_FILE, SAMPLE_FILE, Manifest, PreparedData, Vocabulary
from tf_crossdistil.training import carried_rows as rows_module
from tf_crossdistil.training.optimizers import composite_optimizer
from tf_crossdistil.training.pretrained import assign_pretrained
from tf_crossdistil.training.warm_start import check_warm_start, warm_start

YESTERDAY = {"user": ["u0", "u1", "日本", "u3", "u4"], "tags": ["a", "b", "c"]}
TODAY = {"user": ["new", "u4", "日本", "u0", "newer", "u1"], "tags": ["c", "d", "a", "e"]}
FRESH_ACCUMULATOR = np.float32(1e-5)
UNCERTAINTY = {"training": small_experiment().training.model_dump() | {"loss_weighting": "uncertainty"}}
SINGLE = {"model": {"backbone": "single", "towers": [4]}}
TEACHERLESS = {"distillation": {"method": "none"}}


def prepared_data(folder, experiment, vocabularies, boundaries=AGES):
    """What a run needs of a prepared data set, with these values in its vocabularies."""
    (folder / "vocabulary").mkdir(parents=True)
    oov = {feature.name: getattr(feature, "oov_buckets", 0) for feature in experiment.features}
    known = {}
    for owner, values in vocabularies.items():
        text = "".join(f"{value}\n" for value in values).encode()
        (folder / "vocabulary" / f"{owner}.txt").write_bytes(text)
        digest = hashlib.sha256(text).hexdigest()
        known[owner] = Vocabulary(size=len(values), ids=1 + len(values) + oov[owner], sha256=digest)
    metadata = small_metadata(experiment)
    numeric = metadata.numeric | {"age": metadata.numeric["age"].model_copy(update={"boundaries": boundaries})}
    metadata = metadata.model_copy(update={"vocabularies": known, "numeric": numeric})
    (folder / METADATA_FILE).write_text(metadata.model_dump_json(), encoding="utf-8")
    (folder / SAMPLE_FILE).write_text("", encoding="utf-8")
    return PreparedData(folder, metadata, Manifest(files=[]))


def fresh_model(experiment, data, seed):
    keras.utils.set_random_seed(seed)
    model = CrossDistilModel(experiment, data.metadata)
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, experiment.training))
    return model


def former_run(folder, experiment=None, steps=1):
    """A run whose best epoch is a model of a few steps, with everything that a checkpoint holds."""
    experiment = experiment or small_experiment()
    data = prepared_data(folder / "yesterday", experiment, YESTERDAY)
    model = fresh_model(experiment, data, seed=1)
    for step in range(steps):
        model.train_step(batch_for(experiment, step))
    run = Run.create(folder / "former", experiment, data)
    objects = tf.train.Checkpoint(
        network=model.network,
        calibration=model.calibration.calibrator,
        loss_weighting=model.loss_weighting,
        optimizer=model.optimizer,
        calibration_optimizer=model.calibration.optimizer,
    )
    tf.train.CheckpointManager(objects, str(run.checkpoints / "best"), max_to_keep=1).save()
    return run, model, data


def batch_for(experiment, seed):
    batch = small_batch(seed=seed)
    return {key: batch[key] for key in ("features", "labels")} if experiment.distillation.method == "none" else batch


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """A former run, its model and its data."""
    return former_run(tmp_path_factory.mktemp("former"), steps=2)


@pytest.fixture(scope="module")
def today(tmp_path_factory):
    return prepared_data(tmp_path_factory.mktemp("today") / "data", small_experiment(), TODAY)


def optimizers_of(model):
    """Adagrad of the tables, and Adam of everything else."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return inner.optimizers


def tables_of(model, name):
    for encoder in model.network.encoders.values():
        yield (encoder.encoders["age"].table if name == "age" else encoder.tables[name]).embeddings


def accumulator(model, table):
    return optimizers_of(model)[0].get_slot(table, "accumulator").numpy()


def expected_rows(name, former_table, fresh_table, oov_buckets=1):
    """The rows of today's table, joined by what is written in both vocabularies."""
    was = {value: row for row, value in enumerate(["", *YESTERDAY[name]])}
    expected = np.array(fresh_table)
    for row, value in enumerate(["", *TODAY[name]]):
        if value in was:
            expected[row] = former_table[was[value]]
    if oov_buckets:
        expected[-oov_buckets:] = former_table[-oov_buckets:]
    return expected


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


@pytest.mark.parametrize("sections", [UNCERTAINTY, SINGLE], ids=["uncertainty", "a table for each task"])
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


def changed(name, **settings):
    """The small experiment with one feature changed."""
    features = [feature.model_dump(mode="json") for feature in small_experiment().features]
    return small_experiment(features=[feature | (settings if feature["name"] == name else {}) for feature in features])


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


def test_precision_may_change(former, today):
    run, was, _ = former
    model = fresh_model(small_experiment(training={"precision": "mixed_float16"}), today, seed=2)
    warm_start(model, run, today)
    (table,), (former_table,) = tables_of(model, "tags"), tables_of(was, "tags")
    fresh = np.full(table.shape, FRESH_ACCUMULATOR)
    np.testing.assert_array_equal(accumulator(model, table), expected_rows("tags", accumulator(was, former_table), fresh))


WITHOUT_AGE = [feature.model_dump(mode="json") for feature in small_experiment().features[:-1]]
DIFFERENT: dict[str, tuple[Experiment, str]] = {
    "tasks": (
        small_experiment(tasks=[{"name": "finish", "column": "f"}, {"name": "share", "column": "s"}]),
        r"the list of tasks is \['finish', 'share'\], there it is \['finish', 'like'\]",
    ),
    "fewer features": (small_experiment(features=WITHOUT_AGE), "the list of features is .*'friends'], there it is .*'age']"),
    "kind": (
        small_experiment(features=[*WITHOUT_AGE, {"name": "age", "kind": "categorical"}]),
        "features.age.kind is categorical, there it is numeric",
    ),
    "width": (changed("user", dim=4), "features.user.dim is 4, there it is 3"),
    "pooling": (changed("tags", pooling="sum"), "features.tags.pooling is sum, there it is mean"),
    "backbone": (small_experiment(model={"backbone": "mmoe"}), "model.backbone is mmoe, there it is ple"),
    "calibrator": (
        small_experiment(distillation={"calibration": "temperature"}),
        "distillation.calibration is temperature, there it is platt",
    ),
}


@pytest.mark.parametrize(("experiment", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_networks_that_differ_are_refused(former, today, experiment, message):
    run, _, _ = former
    if message.startswith("model."):
        run = dataclasses.replace(run, experiment=small_experiment(model={"backbone": "ple"}))
    with pytest.raises(UsageError, match=f"cannot go on from .*former: {message}; make it the same, or train") as raised:
        check_warm_start(run, experiment, today)
    assert "\n" not in str(raised.value)


def test_a_weight_of_another_shape_is_named(former, today):
    run, _, _ = former
    model = fresh_model(small_experiment(model={"backbone": "ple", "towers": [5]}), today, seed=2)
    with pytest.raises(UsageError, match=r"its weight '.*kernel:0' has shape \[.*\], but the new network needs \["):
        warm_start(model, run, today)


def damaged(former, folder):
    shutil.copytree(former[0].directory, folder / "former")
    return Run.open(folder / "former")


@pytest.mark.parametrize("files", ["*.index", "*.data*"])
def test_damaged_checkpoints_are_refused_before_anything_is_written(former, today, tmp_path, files):
    run = damaged(former, tmp_path)
    (file,) = (run.checkpoints / "best").glob(files)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CrossDistilError, match=r"the checkpoint .* is damaged, so no run can go on from it; ") as raised:
        check_warm_start(run, small_experiment(), today)
    assert "\n" not in str(raised.value)


def test_runs_without_an_epoch_or_their_vocabulary_are_refused(former, today, tmp_path):
    run = damaged(former, tmp_path)
    file = run.vocabularies / "user.txt"
    file.write_text("\n".join(reversed(YESTERDAY["user"])) + "\n", encoding="utf-8")
    with pytest.raises(CrossDistilError, match=r"user.txt is not the vocabulary that its run was trained with"):
        check_warm_start(run, small_experiment(), today)
    file.unlink()
    with pytest.raises(CrossDistilError, match=r"cannot read .*user.txt: No such file or directory; restore"):
        check_warm_start(run, small_experiment(), today)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(CrossDistilError, match="has no finished epoch yet"):
        check_warm_start(run, small_experiment(), today)


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


SMALL = {
    "name": "days",
    "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
    "features": [
        {"name": "user", "kind": "categorical", "min_count": 2, "oov_buckets": 2, "dim": 4},
        {"name": "seconds", "kind": "numeric", "transform": "bucketize", "buckets": 3},
    ],
    "split": {"by": "hash", "key": ["row"]},
    "model": {"backbone": "shared_bottom", "experts": {"units": [4]}, "towers": [4]},
    "training": {"batch_size": 256, "strata_batch_size": 8, "epochs": 1, "early_stopping": None},
}


@pytest.mark.slow
def test_from_one_day_to_the_next_by_the_command_line(tmp_path):
    (tmp_path / "days.yaml").write_text(json.dumps(SMALL), encoding="utf-8")

    def crossdistil(*arguments, code=0):
        command = [sys.executable, "-m", "tf_crossdistil.cli.main", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr

    for day, first in (("yesterday", 0), ("today", 15)):
        generator = np.random.default_rng(first)
        rows = [
            (f"user {first + generator.zipf(1.5) % 40}", generator.lognormal(), row, *generator.integers(0, 2, 2))
            for row in range(2000)
        ]
        text = "".join(f"{','.join(map(str, row))}\n" for row in [("user", "seconds", "row", "finish", "like"), *rows])
        (tmp_path / f"{day}.csv").write_text(text, encoding="utf-8")
        crossdistil("prepare", "days.yaml", "--input", f"{day}.csv", "--output", f"prepared/{day}")
    crossdistil("train", "days.yaml", "--data", "prepared/yesterday", "--run", "yesterday")
    start = ["train", "days.yaml", "--data", "prepared/today", "--run", "today", "--warm-start"]
    # So slow that float32 shows no step.
    slow = ["--set", "training.learning_rate=1e-15", "--set", "training.embedding_learning_rate=1e-15"]
    told = crossdistil(*start, "yesterday", *slow)
    runs = [Run.open(tmp_path / day) for day in ("yesterday", "today")]
    (was,), (now,) = (tables_of(run.load_best(), "user") for run in runs)
    ids = [
        {value: number for number, value in enumerate((run.vocabularies / "user.txt").read_text().splitlines(), start=1)}
        for run in runs
    ]
    both = sorted(ids[0].keys() & ids[1].keys())
    assert 5 < len(both) < len(ids[1])
    np.testing.assert_array_equal(now.numpy()[[ids[1][user] for user in both]], was.numpy()[[ids[0][user] for user in both]])
    np.testing.assert_array_equal(now.numpy()[[0, -2, -1]], was.numpy()[[0, -2, -1]])
    total, carried = len(ids[1]) + 3, len(both) + 3
    assert f"feature 'user': {carried} of {total} ids go on from yesterday; {total - carried} start anew" in told
    assert "feature 'seconds': 3 of 3 ids go on from yesterday\n" in told
    shutil.rmtree(tmp_path / "today")
    told = crossdistil(*start, "yesterday", "--set", "model.backbone=mmoe", code=2)
    assert "error: cannot go on from yesterday: model.backbone is mmoe, there it is shared_bottom; " in told
    assert not (tmp_path / "today").exists()
