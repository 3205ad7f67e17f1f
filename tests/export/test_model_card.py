# SPDX-License-Identifier: Apache-2.0
"""The model card says what the run, the data and the written model say themselves."""

import csv
import importlib.metadata
import json
import platform
import re
import shlex
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import tensorflow as tf

from tests.export.stand_ins import without_tensorflow
from tests.serving.server_process import ROOT, end_server, start_server
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.data.records import split_batches
from tf_crossdistil.errors import UsageError
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.evaluation.record import evaluation_file, keep_evaluation, read_evaluations
from tf_crossdistil.export.model_card import JSON_FILE, ModelCard
from tf_crossdistil.export.model_card_page import PAGE_FILE, page
from tf_crossdistil.export.publish import export
from tf_crossdistil.export.score import Score
from tf_crossdistil.models.run import Run


@pytest.fixture(scope="module")
def measured(trained, prepared):
    """What `evaluate` says of the run, which keeps it."""
    return evaluate(trained, prepared, "test")


@pytest.fixture(scope="module")
def directory(measured, trained, exported, tmp_path_factory):
    """A version with a score whose model is that of another export."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_tensorflow(monkeypatch, exported / "1")
        target = tmp_path_factory.mktemp("models") / "shared"
        return export(trained, target, version=4, score=Score("weights", {"finish": 1.0, "like": 0.5})).directory


@pytest.fixture(scope="module")
def card(directory):
    return json.loads((directory / JSON_FILE).read_text())


def test_says_which_model_it_is_of(card, trained, shared_experiment, prepared):
    assert (card["name"], card["version"]) == ("shared", 4)
    assert card["run_directory"] == str(trained.directory)
    assert (card["backbone"], card["method"]) == ("ple", "crossdistil")
    assert card["data"]["run"] == prepared.metadata.run == prepared.directory.name.removeprefix("run=")
    assert card["data"]["schema_hash"] == shared_experiment.schema_hash()
    assert card["score"] == {"kind": "weights", "weights": {"finish": 1.0, "like": 0.5}}
    made = datetime.fromisoformat(card["created"])
    assert timedelta(0) <= datetime.now(timezone.utc) - made < timedelta(minutes=30)


def test_says_how_good_the_exported_epoch_is(card, trained, measured):
    (checkpoint,) = (trained.directory / "checkpoints/best").glob("*.index")
    assert checkpoint.name == f"ckpt-{card['best_epoch']}.index"
    history = json.loads((trained.directory / "history.json").read_text())
    entry = history[card["best_epoch"] - 1]
    assert card["validation"] == {
        name.removeprefix("validation_"): value for name, value in entry.items() if name.startswith("validation_")
    }
    assert card["validation"]["finish_auc"] is not None
    assert card["test"]["rows"] == measured.summary["rows"]
    for task, metrics in measured.summary["tasks"].items():
        assert metrics.items() <= card["test"]["tasks"][task].items()
        assert {"auc", "multi_auc", "log_loss", "ece", "gauc"} <= card["test"]["tasks"][task].keys()


def test_says_how_the_mean_prediction_compares_with_the_rate(card, measured):
    for number, (task, metrics) in enumerate(card["test"]["tasks"].items()):
        assert metrics["positive_rate"] == pytest.approx(measured.predictions.labels[:, number].mean(), rel=1e-6)
        assert metrics["mean_prediction"] == pytest.approx(measured.predictions.students[:, number].mean(), rel=1e-6), task
        ratio = metrics["mean_prediction"] / metrics["positive_rate"]
        assert metrics["calibration_ratio"] == pytest.approx(ratio, rel=1e-6)


def test_says_what_the_data_is(card, prepared, shared_experiment, raw_rows):
    logs = list(csv.DictReader(raw_rows[0].open(encoding="utf-8")))
    splits = card["data"]["splits"]
    assert sum(facts["rows"] for facts in splits.values()) == len(logs)
    for split, facts in splits.items():
        numbers = [int(n) for c in split_batches(prepared, shared_experiment, split, 2048) for n in c["row"].numpy()]
        assert facts["rows"] == len(numbers)
        for task, rate in facts["positive_rates"].items():
            assert rate == pytest.approx(np.mean([logs[number][task] == "1" for number in numbers]))


def test_says_what_each_input_is(card, trained, exported):
    signature = tf.saved_model.load(str(exported / "1")).signatures["serving_default"].structured_input_signature[1]
    inputs = {each["name"]: each for each in card["inputs"]}
    assert {name: (spec.dtype.name, [-1] * len(spec.shape)) for name, spec in signature.items()} == {
        name: (each["type"], each["shape"]) for name, each in inputs.items()
    }
    assert {name: each["default"] for name, each in inputs.items()} == {
        "user": "",
        "word": "",
        "author": "",
        "duration": 9.5,
        "row": 0.0,
        "tags": [],
        "tags_weights": 1.0,
        "others": [],
        "quartile": 0.0,
        "third": 0.0,
    }
    sizes = {name: each["vocabulary_size"] for name, each in inputs.items() if each["vocabulary_size"] is not None}
    lines = {path.stem: path.read_bytes().count(b"\n") for path in (exported / "1/assets").glob("*.txt")}
    assert sizes == {**lines, "others": lines["word"]}
    oov_buckets = {name: each["oov_buckets"] for name, each in inputs.items() if each["oov_buckets"] is not None}
    assert oov_buckets == {"user": 5, "word": 1, "tags": 3, "others": 1}
    assert inputs["author"]["hash_buckets"] == 50


def test_says_what_each_signature_takes_and_gives(card, exported):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(exported / "1"))
    for name in ("serving_default", "predict_examples"):
        definition, said = meta.signature_def[name], card["signatures"][name]
        assert said["method_name"] == definition.method_name
        for tensors, infos in ((said["inputs"], definition.inputs), (said["outputs"], definition.outputs)):
            assert tensors.keys() == infos.keys()
            for key, tensor in tensors.items():
                assert tf.as_dtype(infos[key].dtype).name == tensor["type"]
                assert tf.TensorShape(infos[key].tensor_shape).as_list() == [n if n >= 0 else None for n in tensor["shape"]]
    assert not any(name.startswith("__") for name in card["signatures"])


def test_says_what_it_was_made_with(card):
    packages = ["tensorflow", "tf_keras", "tensorflow-recommenders", "tf_crossdistil"]
    assert card["packages"] == {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in packages
    }


def test_the_hash_is_another_for_another_configuration(card, exported, trained, shared_experiment, tmp_path, monkeypatch):
    without_tensorflow(monkeypatch, exported / "1")
    content = shared_experiment.model_dump(mode="json")
    content["training"]["learning_rate"] = 0.125
    hashes = []
    for experiment in (shared_experiment, parse_config(content, "test")):
        made = export(Run(trained.directory, experiment, trained.metadata), tmp_path)
        hashes.append(json.loads((made.directory / JSON_FILE).read_text())["configuration_hash"])
    assert hashes[0] == card["configuration_hash"] != hashes[1]


def test_the_page_says_what_the_json_says(directory, card):
    text = (directory / PAGE_FILE).read_text()
    assert text == page(ModelCard.model_validate(card))
    for words in (
        "# shared, version 4",
        "| score | sum of 1 finish, 0.5 like |",
        f"| like | 573 | {card['test']['tasks']['like']['auc']:.4f} |",
        "| log loss | normalised entropy | ECE | calibration ratio |",
        "| duration | numeric | float32 | [batch] | 9.5 |",
        "| serving_default | predict |",
    ):
        assert words in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) == 8
    assert "Probabilities of `finish`, `like` from raw features; " in text and "mutual towers" not in text
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_row_of_the_examples_is_a_real_one_with_every_input(card, trained):
    fields = {each["name"] for each in card["inputs"]}
    command = shlex.split(card["examples"]["rest"])
    assert command[:2] == ["curl", "-d"] and command[3] == "http://127.0.0.1:8501/v1/models/shared:predict"
    (row,) = json.loads(command[2])["instances"]
    samples = [json.loads(line) for line in trained.sample_file.read_text().rstrip("\n").split("\n")]
    assert row.keys() == fields
    assert any(sample.items() <= row.items() for sample in samples)
    program: dict[str, object] = {}
    exec(card["examples"]["grpc"].partition("with ")[0], program)
    assert program["row"] == row


@pytest.mark.slow
def test_the_examples_work(card, trained, exported):
    server = start_server(exported)
    try:
        rest = card["examples"]["rest"].replace("127.0.0.1:8501", server.rest_address)
        answered = subprocess.run(["bash", "-c", rest], capture_output=True, text=True, check=True)
        (by_rest,) = json.loads(answered.stdout)["predictions"]
        grpc = card["examples"]["grpc"].replace("127.0.0.1:8500", server.grpc)
        grpc = grpc.replace("print(client.predict([row]))", "print({k: float(v[0]) for k, v in client.predict([row]).items()})")
        answered = subprocess.run([sys.executable, "-c", grpc], capture_output=True, text=True, check=True, cwd=ROOT)
        by_grpc = eval(answered.stdout)
    finally:
        end_server(server, signal.SIGTERM)
    assert by_rest.keys() == by_grpc.keys() == set(trained.experiment.task_names)
    assert by_rest == pytest.approx(by_grpc, abs=1e-6)


def test_without_an_evaluation_of_the_exported_epoch_it_says_so(trained, measured, exported, tmp_path, monkeypatch):
    without_tensorflow(monkeypatch, exported / "1")
    record = evaluation_file(trained, "test", trained.metadata.run)
    content = record.read_text()
    cases = {
        None: "the test split was not evaluated, so",
        content.replace('"checkpoint": "', '"checkpoint": "0'): "was evaluated before epoch",
        content[:50]: ".json is damaged",
    }
    try:
        for text, words in cases.items():
            record.unlink(missing_ok=True)
            if text is not None:
                record.write_text(text)
            made = export(trained, tmp_path)
            (warning,) = made.warnings
            assert words in warning
            command = f"run `crossdistil evaluate --run {trained.directory} --data DIR --split test`, with data run "
            assert f"{command}{trained.metadata.run} as DIR, then export again" in warning
            card = json.loads((made.directory / JSON_FILE).read_text())
            assert card["test"] is None
            assert card["limitations"][0].startswith("The test split was not evaluated")
            assert "## Quality on the test split\n\nNot evaluated.\n" in made.card.read_text()
    finally:
        record.write_text(content)
    assert export(trained, tmp_path).warnings == []


def test_metrics_of_the_training_s_data_go_before_those_of_other_data(trained, measured, exported, tmp_path, monkeypatch):
    without_tensorflow(monkeypatch, exported / "1")
    (own,) = read_evaluations(trained, "test")
    own_file, other_file = (evaluation_file(trained, "test", name) for name in (own.data_run, "later"))
    content = own_file.read_text()
    keep_evaluation(trained, own.model_copy(update={"data_run": "later"}))
    try:
        both = export(trained, tmp_path)
        own_file.unlink()
        others = export(trained, tmp_path)
    finally:
        other_file.unlink()
        own_file.write_text(content)
    assert both.warnings == []
    assert json.loads((both.directory / JSON_FILE).read_text())["test"]["data_run"] == own.data_run
    (warning,) = others.warnings
    assert warning.startswith(
        f"the model card's test metrics are of data run later, and the run was trained on {own.data_run}: "
    )
    card = json.loads((others.directory / JSON_FILE).read_text())
    assert card["test"]["data_run"] == "later"
    assert f"The test metrics are of data run later, and the run was trained on {own.data_run}." in card["limitations"]


def test_what_makes_a_row_positive_is_said(exported, trained, shared_experiment, tmp_path, monkeypatch):
    without_tensorflow(monkeypatch, exported / "1")
    content = shared_experiment.model_dump(mode="json")
    content["tasks"][0].update({"at_least": 3.5, "column": "stars"})
    content["tasks"][1].update({"positive": "a|b", "given": "finish"})
    made = export(Run(trained.directory, parse_config(content, "test"), trained.metadata), tmp_path)
    tasks = json.loads((made.directory / JSON_FILE).read_text())["tasks"]
    assert tasks[0]["positive"] == "stars is at least 3.5"
    assert tasks[1]["positive"] == "like is 'a|b', asked of rows that are positive in finish"
    assert (
        "| like | binary | positive where like is 'a\\|b', asked of rows that are positive in finish |" in made.card.read_text()
    )


def test_the_time_can_be_given(exported, trained, tmp_path, monkeypatch):
    without_tensorflow(monkeypatch, exported / "1")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    made = [export(trained, tmp_path / name / "shared") for name in ("first", "second")]
    for name in (JSON_FILE, PAGE_FILE):
        assert len({(each.directory / name).read_bytes() for each in made}) == 1
    assert json.loads((made[0].directory / JSON_FILE).read_text())["created"] == "1970-01-02T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH must be seconds since 1970; received 'yesterday'; unset it"):
        export(trained, tmp_path / "third")
