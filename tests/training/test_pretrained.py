# SPDX-License-Identifier: Apache-2.0
"""Pretrained tables: whose row lands where, what stays frozen, and files that do not fit."""

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fingerprint import fingerprint64
from tests.models.small_model import AUTHORS, TAGS, USERS, small_batch, small_experiment, small_metadata, small_model
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.ranking_network import EVERY_TASK
from tf_crossdistil.models.run import weights_checkpoint
from tf_crossdistil.schema import Manifest, PreparedData
from tf_crossdistil.training import pretrained as module
from tf_crossdistil.training.pretrained import assign_pretrained, check_pretrained

VOCABULARY = ["u1", "日本", "7", "x y", "-1"]
GENERATOR = np.random.default_rng(0)


def data_in(folder):
    """A prepared data set with nothing but a vocabulary."""
    (folder / "vocabulary").mkdir(exist_ok=True)
    (folder / "vocabulary" / "user.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "vocabulary" / "tags.txt").write_text("a\nb\nc\n", encoding="utf-8")
    return PreparedData(folder, small_metadata(small_experiment()), Manifest(files=[]))


def experiment_with(features=None, **sections):
    """The small experiment, with further options for some of its features."""
    content = [feature.model_dump(mode="json") for feature in small_experiment().features]
    return {"features": [feature | (features or {}).get(feature["name"], {}) for feature in content], **sections}


def write(folder, vectors, values=None, name="t"):
    np.save(folder / f"{name}.npy", vectors)
    if values is None:
        return {"file": str(folder / f"{name}.npy")}
    (folder / f"{name}.txt").write_text("".join(f"{value}\n" for value in values), encoding="utf-8")
    return {"file": str(folder / f"{name}.npy"), "values": str(folder / f"{name}.txt")}


def table_of(model, name):
    return model.network.encoders[EVERY_TASK].tables[name].embeddings


def test_rows_go_to_the_ids_of_their_values_and_others_stay(tmp_path):
    values = ["-1", "stranger", "  日本 ", "", "u1"]
    vectors = GENERATOR.normal(size=(5, 3))
    sections = experiment_with({"user": {"pretrained": write(tmp_path, vectors, values)}})
    model, experiment = small_model(**sections)
    before = table_of(model, "user").numpy()
    lines = assign_pretrained(model.network, experiment, data_in(tmp_path))
    expected = before.copy()
    for value, vector in zip(values, vectors, strict=True):
        if value == "":
            expected[0] = vector
        elif value.strip() in VOCABULARY:
            expected[VOCABULARY.index(value.strip()) + 1] = vector
    np.testing.assert_array_equal(table_of(model, "user").numpy(), expected.astype(np.float32))
    assert lines == ["feature 'user': 4 of 7 ids start pretrained"]


@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])), min_size=1, unique=True))
def test_hashed_values_go_to_their_bucket_and_the_first_of_a_bucket_stays(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("hashed")
    vectors = GENERATOR.normal(size=(len(values), 2)).astype(np.float32)
    sections = experiment_with({"author": {"pretrained": write(folder, vectors, values)}})
    experiment = small_experiment(**sections)
    (table,) = module._read(experiment, data_in(folder))
    received = dict(zip(table.ids.tolist(), np.concatenate([block for _, block in table.blocks()]).tolist(), strict=True))
    buckets = (fingerprint64(pa.array(values)) % np.uint64(AUTHORS)).tolist()
    expected = dict(zip(reversed(buckets), reversed(vectors.tolist()), strict=True))
    assert received == expected


@pytest.mark.parametrize("order", ["C", "F"])
def test_without_values_row_n_is_id_n_block_by_block(tmp_path, monkeypatch, order):
    monkeypatch.setattr(module, "_BLOCK", 3)
    shapes = {"user": (USERS, 3), "author": (AUTHORS, 2), "tags": (TAGS, 2)}
    vectors = {name: np.asarray(GENERATOR.normal(size=shape), ">f8", order=order) for name, shape in shapes.items()}
    sections = experiment_with({name: {"pretrained": write(tmp_path, rows, name=name)} for name, rows in vectors.items()})
    model, experiment = small_model(**sections)
    lines = assign_pretrained(model.network, experiment, data_in(tmp_path))
    for name, rows in vectors.items():
        np.testing.assert_array_equal(table_of(model, name).numpy(), rows.astype(np.float32))
    assert lines[2] == "feature 'tags': 5 of 5 ids start pretrained"


SOME = [*VOCABULARY, ""]


@pytest.mark.parametrize(
    ("values", "frozen", "warning"),
    [
        (SOME[:3], True, "; warning: 4 stay at random, frozen by 'trainable: false'; check that 'values'"),
        (SOME[:4], True, None),
        (SOME[:1], False, None),
    ],
)
def test_few_pretrained_ids_are_a_warning(tmp_path, values, frozen, warning):
    vectors = GENERATOR.normal(size=(len(values), 3))
    feature = {"pretrained": write(tmp_path, vectors, values) | {"trainable": not frozen}}
    model, experiment = small_model(**experiment_with({"user": feature}))
    (line,) = assign_pretrained(model.network, experiment, data_in(tmp_path))
    start = f"feature 'user': {len(values)} of 7 ids start pretrained"
    assert line.startswith(start + (warning or ""))
    assert warning or line == start


@pytest.mark.parametrize(("buckets", "warns"), [(10, False), (11, True)])
def test_fewer_than_a_tenth_of_a_trained_table_is_a_warning(tmp_path, buckets, warns):
    author = {"name": "author", "kind": "hashed", "buckets": buckets, "dim": 2}
    pretrained = write(tmp_path, np.ones((1, 2)), ["someone"])
    model, experiment = small_model(features=[author | {"pretrained": pretrained}])
    (line,) = assign_pretrained(model.network, experiment, data_in(tmp_path))
    assert ("warning: 10 start at random" in line) == warns


def test_a_frozen_table_is_read_and_never_trained(tmp_path):
    vectors = GENERATOR.normal(size=(USERS, 3)).astype(np.float32)
    frozen = write(tmp_path, vectors) | {"trainable": False}
    plain = {"backbone": "single"}
    sections = experiment_with({"user": {"pretrained": frozen}}, model=plain, distillation={"method": "none"})
    model, experiment = small_model(**sections)
    assign_pretrained(model.network, experiment, data_in(tmp_path))
    tables = [encoder.tables["user"].embeddings for encoder in model.network.encoders.values()]
    assert len(tables) == 2
    assert not {table.ref() for table in tables} & {v.ref() for v in model.trainable_variables}
    assert len(model.embedding_variables) == 6
    batch = small_batch(draws=0)
    before = [variable.numpy() for variable in model.embedding_variables]
    model.train_step(batch)
    for table in tables:
        np.testing.assert_array_equal(table.numpy(), vectors)
    assert all(np.any(variable != was) for variable, was in zip(model.embedding_variables, before, strict=True))
    path = weights_checkpoint(model).write(str(tmp_path / "weights"))
    opened, _ = small_model(seed=8, **sections)
    weights_checkpoint(opened).read(path)
    np.testing.assert_array_equal(opened(batch["features"])["finish"], model(batch["features"])["finish"])


def test_training_with_no_table_left_to_train(tmp_path):
    vectors = GENERATOR.normal(size=(USERS, 3)).astype(np.float32)
    user = [{"name": "user", "kind": "categorical", "dim": 3, "pretrained": write(tmp_path, vectors) | {"trainable": False}}]
    model, experiment = small_model(features=user, distillation={"method": "none"})
    assign_pretrained(model.network, experiment, data_in(tmp_path))
    assert model.embedding_variables == []
    before = [variable.numpy() for variable in model.trainable_variables]
    features = {"user": small_batch(draws=0)["features"]["user"]}
    model.train_step(small_batch(draws=0) | {"features": features})
    assert any(np.any(variable != was) for variable, was in zip(model.trainable_variables, before, strict=True))


def test_a_network_is_made_without_the_file(tmp_path):
    gone = {"file": str(tmp_path / "gone.npy"), "trainable": False}
    model, _ = small_model(**experiment_with({"user": {"pretrained": gone}}))
    assert np.all(np.isfinite(model(small_batch()["features"])["finish"]))


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


GOOD = np.ones((2, 3), np.float32)
NOT_FINITE = np.array([[0, 1, 2], [3, np.nan, 5]], np.float32)
FAULTS = {
    "pickled": (npy(np.array([{}, {}], object)), "u1\n7\n", "must be one NumPy array of numbers.*cannot be read"),
    "text": (b"hi\n", "u1\n7\n", r"must be one NumPy array of numbers \(.npy\).*received a file that starts with b'hi"),
    "empty": (b"", "u1\n7\n", "must be one NumPy array of numbers.*received a file that starts with b''"),
    "cut": (npy(GOOD)[:-4], "u1\n7\n", "must be one NumPy array of numbers.*cannot be read"),
    "broken archive": (b"PK\x03\x04 broken", "u1\n7\n", "must be one NumPy array of numbers"),
    "several": (npz(a=GOOD), "u1\n7\n", r"must be one NumPy array.*several arrays \(.npz\)"),
    "strings": (npy(np.array([["a"] * 3] * 2)), "u1\n7\n", "must be one NumPy array of numbers.*received <U1"),
    "booleans": (npy(GOOD > 0), "u1\n7\n", "received bool"),
    "narrow": (npy(GOOD[:, :2]), "u1\n7\n", r"must be of shape \[2, 3\].*received \[2, 2\]"),
    "flat": (npy(GOOD[0]), "u1\n7\n", r"must be of shape \[2, 3\].*received \[3\]"),
    "fewer values": (npy(GOOD), "u1\n", r"must be of shape \[1, 3\].*line of.*received \[2, 3\]"),
    "twice": (npy(GOOD), "u1\n u1\n", "'u1' on line 1 and on line 2"),
    "unknown": (npy(GOOD), "who\nwhat\n", "none of the 2 values"),
    "nan": (npy(NOT_FINITE), "u1\n7\n", "NaN, infinite or beyond float32 in row 1"),
    "infinite": (npy(np.full((2, 3), -np.inf)), "u1\n7\n", "in row 0"),
    "too large": (npy(np.full((2, 3), 1e39)), "u1\n7\n", "beyond float32 in row 0"),
    "no values file": (npy(GOOD), None, "cannot read .*t.txt: No such file"),
    "no file": (None, "u1\n7\n", "cannot read .*t.npy: No such file"),
}


@pytest.mark.parametrize(("file", "values", "message"), FAULTS.values(), ids=FAULTS)
def test_files_that_do_not_fit(tmp_path, file, values, message):
    if file is not None:
        (tmp_path / "t.npy").write_bytes(file)
    if values is not None:
        (tmp_path / "t.txt").write_text(values, encoding="utf-8")
    files = {"file": str(tmp_path / "t.npy"), "values": str(tmp_path / "t.txt")}
    experiment = small_experiment(**experiment_with({"user": {"pretrained": files}}))
    with pytest.raises(UsageError, match=message) as raised:
        check_pretrained(experiment, data_in(tmp_path))
    assert str(raised.value).startswith("features.user.pretrained: ")
    assert "\n" not in str(raised.value)
    assert "pickle" not in str(raised.value)


def test_ids_need_a_row_each(tmp_path):
    experiment = small_experiment(**experiment_with({"author": {"pretrained": write(tmp_path, np.ones((3, 2)))}}))
    with pytest.raises(UsageError, match=r"shape \[4, 2\].*each id \(or name.*received \[3, 2\]"):
        check_pretrained(experiment, data_in(tmp_path))


def test_relative_paths_start_at_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path, np.ones((AUTHORS, 2)))
    experiment = small_experiment(**experiment_with({"author": {"pretrained": {"file": "t.npy"}}}))
    monkeypatch.chdir(tmp_path)
    check_pretrained(experiment, data_in(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(UsageError, match=f"relative paths start at the working directory, {elsewhere}"):
        check_pretrained(experiment, data_in(tmp_path))
