# SPDX-License-Identifier: Apache-2.0
"""What is served: only the students, as raw features see them, with the same ids as training had."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import request_rows
from tests.export.asking import example_inputs, fingerprint, raw_inputs, variables_of
from tf_crossdistil.backbones.base import SHARED
from tf_crossdistil.config import MultiValueFeature
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.data.records import feature_columns, split_batches

# Runs a SavedModel the way TF Serving does, in a process that knows neither Keras nor this package.
CLEAN_PROCESS = """
import json, sys
for package in ("keras", "tf_keras", "tf_crossdistil", "tensorflow_recommenders"):
    sys.modules[package] = None  # an import of it fails
import tensorflow as tf
raw = json.load(sys.stdin)
v1 = tf.compat.v1
with v1.Session(graph=tf.Graph()) as session:
    meta = v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = meta.signature_def["serving_default"]
    feed = {signature.inputs[name].name: values for name, values in raw.items()}
    outputs = {name: tensor.name for name, tensor in signature.outputs.items()}
    answers = session.run(outputs, feed)
print(json.dumps({name: values.tolist() for name, values in answers.items()}))
"""


def without_padding(experiment, columns):
    """Columns as nested lists, a list feature's rows as long as they are, its weights beside it."""
    columns = {name: values.numpy() for name, values in columns.items()}
    for feature in experiment.features:
        if isinstance(feature, MultiValueFeature):
            kept = columns[feature.name] != 0
            for name in [feature.name, *([feature.weights_name] if feature.weights else [])]:
                columns[name] = [row[places].tolist() for row, places in zip(columns[name], kept, strict=True)]
    return columns


def test_every_id_that_beam_wrote_is_the_id_that_the_graph_looks_up(prepared, shared_experiment, raw_rows, trained):
    lookup = FeatureLookup(shared_experiment, trained.vocabularies)
    seen = 0
    for split in ("train", "validation", "test"):
        for columns in split_batches(prepared, shared_experiment, split, 1024):
            rows = [raw_rows[1][int(number)] for number in columns["row"].numpy()]
            written = without_padding(shared_experiment, feature_columns(shared_experiment, columns))
            raw = raw_columns(shared_experiment, request_rows(shared_experiment, rows))
            looked_up = without_padding(shared_experiment, lookup(raw))
            assert looked_up.keys() == written.keys()
            for name, values in looked_up.items():
                same = np.array_equal(values, written[name]) if isinstance(values, np.ndarray) else values == written[name]
                assert same, name
            seen += len(rows)
    assert seen == len(raw_rows[1])


@pytest.mark.slow
def test_clean_process_answers_as_the_live_model_on_every_test_row(exported, shared_experiment, asked):
    process = subprocess.run(
        [sys.executable, "-c", CLEAN_PROCESS, str(exported / "1")],
        input=json.dumps({name: as_json(values) for name, values in raw_inputs(shared_experiment, asked.rows).items()}),
        capture_output=True,
        text=True,
        check=False,
        cwd=exported,
        env={name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"},
    )
    assert process.returncode == 0, process.stderr
    assert_live(json.loads(process.stdout), asked)


def test_every_signature_answers_as_the_live_model_on_every_test_row(served, shared_experiment, asked):
    assert_live(served("serving_default", raw_inputs(shared_experiment, asked.rows)), asked)
    assert_live(served("predict_examples", example_inputs(shared_experiment, asked.rows)), asked)
    examples = example_inputs(shared_experiment, asked.rows, "inputs")
    assert_live({task: served(f"regress_{task}", examples)["outputs"] for task in asked.expected}, asked)
    classified = {task: served(f"classify_{task}", examples) for task in asked.expected}
    assert_live({task: values["scores"][:, 1] for task, values in classified.items()}, asked)
    for values in classified.values():
        np.testing.assert_allclose(values["scores"].sum(axis=1), 1.0, rtol=0, atol=1e-6)
        assert values["classes"].tolist() == [[b"0", b"1"]] * len(asked.rows)


def assert_live(answers, asked):
    assert answers.keys() == asked.expected.keys()
    for task, probabilities in asked.expected.items():
        np.testing.assert_allclose(answers[task], probabilities, rtol=0, atol=1e-6, err_msg=task)


def test_absent_features_are_missing_values(served):
    empty = served("predict_examples", {"examples": [b""]})
    missing = {
        "user": [""],
        "word": [" "],
        "author": [""],
        "duration": [np.nan],
        "row": [0.0],
        "quartile": [np.nan],
        "third": [0.0],
        "tags": [[" ", ""]],
        "tags_weights": [[3.0, 4.0]],
        "others": np.empty((1, 0), object),
    }
    explicit = served("serving_default", missing)
    assert empty.keys() == explicit.keys()
    for task, values in empty.items():
        np.testing.assert_array_equal(values, explicit[task])


@pytest.mark.parametrize("signature", ["serving_default", "predict_examples"])
def test_weights_that_a_request_leaves_out_are_one(served, shared_experiment, asked, signature):
    inputs = raw_inputs if signature == "serving_default" else example_inputs
    rows = [row for row in asked.rows if row["tags"] and row["tags_weights"]]
    ones = [{**row, "tags_weights": [1.0] * len(row["tags"])} for row in rows]
    none = [{**row, "tags_weights": None} for row in rows]
    given, left_out, weighted = (served(signature, inputs(shared_experiment, each))["like"] for each in (ones, none, rows))
    np.testing.assert_array_equal(given, left_out)
    assert np.any(np.abs(weighted - given) > 1e-6)


def test_features_that_share_a_vocabulary_share_its_file(exported):
    assert sorted(path.name for path in (exported / "1/assets").iterdir()) == ["tags.txt", "user.txt", "word.txt"]


def test_holds_exactly_the_students_variables(served, trained):
    """By count and by value: what the student towers need, no teacher, no calibration, no optimizer."""
    network = trained.load_best().network
    students = [
        *network.embedding_variables,
        *[v for task in network.students for v in network.towers[task].variables],
        *[v for level in network.backbone.levels for owner in [*network.students, SHARED] for v in owned(level, owner)],
    ]
    kept = variables_of(served)
    assert len(kept) == len(students)
    assert fingerprint(kept) == fingerprint([variable.numpy() for variable in students])


def as_json(values):
    return np.vectorize(bytes.decode, otypes=[object])(values).tolist() if values.dtype == object else values.tolist()


def owned(level, owner):
    parts = [*level.experts[owner], *([level.gates[owner]] if owner in level.gates else [])]
    return [variable for part in parts for variable in part.variables]
