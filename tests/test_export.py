"""What is served: only the students, as raw features see them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.conftest import request_rows
from tf_crossdistil.backbones.ple import SHARED
from tf_crossdistil.config import MultiValueFeature
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.data.records import feature_columns, split_batches
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.export.served_model import export, load_signature
from tf_crossdistil.export.warm_up import serialize_example
from tf_crossdistil.models.predict import SplitPredictor

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


@pytest.fixture(scope="module")
def test_rows(prepared, shared_experiment, raw_rows, trained):
    """Raw rows of the test split, with the live model's answers from the records that Beam wrote of them."""
    numbers = np.concatenate([c["row"].numpy() for c in split_batches(prepared, shared_experiment, "test", 512)]).astype(int)
    predictions = SplitPredictor(trained.load_best(), shared_experiment)(prepared, "test")
    return [raw_rows[1][number] for number in numbers], predictions


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


def test_clean_process_answers_as_the_live_model_on_every_test_row(exported, shared_experiment, test_rows):
    rows, predictions = test_rows
    process = subprocess.run(
        [sys.executable, "-c", CLEAN_PROCESS, str(exported / "1")],
        input=json.dumps(
            {name: as_json(v) for name, v in raw_columns(shared_experiment, request_rows(shared_experiment, rows)).items()}
        ),
        capture_output=True,
        text=True,
        check=False,
        cwd=exported,
        env={name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"},
    )
    assert process.returncode == 0, process.stderr
    answers = json.loads(process.stdout)
    assert len(rows) > 400
    for index, task in enumerate(predictions.tasks):
        np.testing.assert_allclose(answers[task], predictions.students[:, index], atol=1e-6)


def test_examples_signature_answers_as_the_raw_one_and_takes_absent_features_as_missing(exported, shared_experiment, test_rows):
    rows = request_rows(shared_experiment, test_rows[0][:200])
    examples = [serialize_example(shared_experiment, row) for row in rows]
    answers = load_signature(exported / "1", "predict_examples")(examples=tf.constant(examples))
    for index, task in enumerate(test_rows[1].tasks):
        np.testing.assert_allclose(answers[task], test_rows[1].students[:200, index], atol=1e-6)
    empty = load_signature(exported / "1", "predict_examples")(examples=tf.constant([b""]))
    missing = {"user": "", "word": " ", "author": "", "duration": np.nan, "row": 0.0, "quartile": np.nan, "third": 0.0}
    lists = {"tags": [" ", ""], "tags_weights": [3.0, 4.0], "others": []}
    explicit = load_signature(exported / "1")(**raw_columns(shared_experiment, [missing | lists]))
    np.testing.assert_array_equal(empty["finish"], explicit["finish"])


@pytest.mark.parametrize("signature", ["serving_default", "predict_examples"])
def test_weights_that_a_request_leaves_out_are_one(exported, shared_experiment, test_rows, signature):
    rows = [row for row in request_rows(shared_experiment, test_rows[0]) if row["tags"] and row["tags_weights"]]
    ones = [{**row, "tags_weights": [1.0] * len(row["tags"])} for row in rows]
    none = [{**row, "tags_weights": None} for row in rows]
    given, left_out, weighted = (ask(exported, shared_experiment, signature, asked)["like"] for asked in (ones, none, rows))
    np.testing.assert_array_equal(given, left_out)
    assert np.any(np.abs(weighted - given) > 1e-6)


def ask(exported, experiment, signature, rows):
    call = load_signature(exported / "1", signature)
    if signature == "predict_examples":
        return call(examples=tf.constant([serialize_example(experiment, row) for row in rows]))
    return call(**raw_columns(experiment, rows))


def test_features_that_share_a_vocabulary_share_its_file(exported):
    assert sorted(path.name for path in (exported / "1/assets").iterdir()) == ["tags.txt", "user.txt", "word.txt"]


def test_holds_exactly_the_students_variables(exported, trained):
    """By count and by value: what the student towers need, no teacher, no calibration, no optimizer."""
    network = trained.load_best().network
    students = [
        *network.embedding_variables,
        *[v for task in network.students for v in network.towers[task].variables],
        *[v for level in network.backbone.levels for owner in [*network.students, SHARED] for v in owned(level, owner)],
    ]
    kept = [
        tf.train.load_variable(str(exported / "1/variables/variables"), name)
        for name, _ in tf.train.list_variables(str(exported / "1/variables/variables"))
        if name.endswith(".ATTRIBUTES/VARIABLE_VALUE")
    ]
    assert len(kept) == len(students)

    def fingerprint(arrays):
        return sorted((array.shape, array.tobytes()) for array in arrays)

    assert fingerprint(kept) == fingerprint([variable.numpy() for variable in students])


def as_json(values):
    array = values.numpy()
    return np.vectorize(bytes.decode, otypes=[object])(array).tolist() if values.dtype == tf.string else array.tolist()


def owned(level, owner):
    parts = [*level.experts[owner], *([level.gates[owner]] if owner in level.gates else [])]
    return [variable for part in parts for variable in part.variables]


def test_warm_up_requests_run_on_the_model(exported):
    path = exported / "1/assets.extra/tf_serving_warmup_requests"
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    assert {log.predict_log.request.model_spec.signature_name for log in logs} == {"serving_default", "predict_examples"}
    assert len(logs) <= 1000
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == "shared"
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        answers = load_signature(exported / "1", request.model_spec.signature_name)(**inputs)
        assert np.isfinite(answers["like"]).all()


def test_versions_count_up_and_are_never_overwritten(trained, exported, tmp_path):
    target = tmp_path / "shared"
    assert export(trained, target).directory == target / "1"
    assert export(trained, target, version=7).directory == target / "7"
    assert export(trained, target).directory == target / "8"
    with pytest.raises(UsageError, match="exists already"):
        export(trained, target, version=7)
    assert sorted(path.name for path in target.iterdir()) == ["1", "7", "8"]


def test_an_export_that_fails_leaves_no_version(trained, tmp_path, monkeypatch):
    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tf_crossdistil.export.served_model.write_warm_up", full_disk)
    with pytest.raises(CrossDistilError, match="No space left on device"):
        export(trained, tmp_path / "shared")
    assert list((tmp_path / "shared").iterdir()) == []
