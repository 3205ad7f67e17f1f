# SPDX-License-Identifier: Apache-2.0
"""The whole comparison on a prepared data set: no drift without one, and every kind of drift by its name only."""

import copy
import json
import math

import numpy as np
import pytest

from tests.skew.conftest import json_bodies, json_rows, mixed_logs, write_lines, write_records
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.skew.measure import measure_training
from tf_crossdistil.skew.report import skew_document
from tf_crossdistil.skew.skew import measure_skew

ALL = {"user", "word", "author", "duration", "row", "tags", "others", "quartile", "third"}


def changed(rows, name, change):
    rows = copy.deepcopy(rows)
    for row in rows:
        row[name] = change(row[name])
    return rows


@pytest.fixture(scope="module", autouse=True)
def training_read_once(prepared, shared_experiment):
    """Reading the same training split for every test would take most of the time."""
    read = measure_training(prepared, shared_experiment, lambda rows: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_crossdistil.skew.skew.measure_training", lambda *arguments: read)
        yield


@pytest.fixture
def skew(prepared, tmp_path):
    """The document of rows as lines of JSON."""

    def measure(rows):
        return skew_document(measure_skew(prepared, [write_lines(tmp_path / "rows.jsonl", json_rows(rows))]))

    return measure


@pytest.fixture(scope="module")
def unchanged(prepared, training_rows, tmp_path_factory):
    """The training rows against themselves."""
    path = write_lines(tmp_path_factory.mktemp("same") / "rows.jsonl", json_rows(training_rows))
    return skew_document(measure_skew(prepared, [path]))


def named(document):
    return {name for name, feature in document["features"].items() if feature["verdict"] != "stable"}


def test_training_rows_do_not_drift(unchanged, training_rows, prepared):
    assert unchanged["verdict"] == "stable"
    assert unchanged["training_rows"] == unchanged["request_rows"] == unchanged["requests"] == len(training_rows)
    assert set(unchanged["features"]) == ALL
    assert unchanged["broken"] == unchanged["unknown_features"] == {}
    for feature in unchanged["features"].values():
        for what in ("values", "lengths"):
            if what in feature:
                assert feature[what]["psi"] == pytest.approx(0, abs=1e-9)
                assert all(bin["expected"] == pytest.approx(bin["requests"]) for bin in feature[what]["bins"])
        for number in ("missing", "oov", "mean_length"):
            if number in feature:
                assert feature[number]["requests"] == pytest.approx(feature[number]["training"])


def test_rates_are_those_of_the_pipeline(unchanged, prepared):
    """Beam counted them on its own."""
    rates = prepared.metadata.rates
    for name, feature in unchanged["features"].items():
        assert feature["missing"]["requests"] == pytest.approx(rates["train"].missing[name])
        if name in rates["train"].oov:
            assert feature["oov"]["unseen"] == rates["test"].oov[name]
            # Of lists, records hold the first values only.
            if name != "tags":
                assert feature["oov"]["requests"] == pytest.approx(rates["train"].oov[name])


def test_numbers_against_plain_python(unchanged, training_rows, prepared):
    words = prepared.vocabulary_file("word").read_text(encoding="utf-8").splitlines()
    texts = [row["word"].strip() for row in training_rows]
    found = {bin["bin"]: bin["requests"] for bin in unchanged["features"]["word"]["values"]["bins"]}
    for word in words:
        assert found[f"'{word}'"] == pytest.approx(texts.count(word) / len(texts))
    assert found["missing"] == pytest.approx(texts.count("") / len(texts))
    assert found["out of vocabulary"] == pytest.approx(sum(text not in [*words, ""] for text in texts) / len(texts))
    durations = sorted(np.float32(row["duration"]) for row in training_rows if not math.isnan(row["duration"]))
    for at, sides in unchanged["features"]["duration"]["quantiles"].items():
        assert sides["requests"] == sides["training"] == durations[math.ceil(float(at) * len(durations)) - 1]
    kept = [[tag for tag in row["tags"] or [] if tag.strip()][:4] for row in training_rows]
    assert unchanged["features"]["tags"]["mean_length"]["requests"] == pytest.approx(np.mean(list(map(len, kept))))


@pytest.mark.parametrize("kind", ["bodies", "bodies.gz", "log", "log.gz"])
def test_every_kind_of_log_gives_the_same_numbers(kind, prepared, training_rows, unchanged, tmp_path):
    path = tmp_path / kind
    rows = training_rows[:640]
    write = {"bodies": lambda: write_lines(path, json_bodies(rows)), "log": lambda: write_records(path, mixed_logs(rows))}
    write[kind.removesuffix(".gz")]()
    found = skew_document(measure_skew(prepared, [path]))
    plain = skew_document(measure_skew(prepared, [write_lines(tmp_path / "plain.jsonl", json_rows(rows))]))
    assert (found["requests"], found["request_rows"]) == (10, 640)
    assert found["broken"] == {}
    for name, feature in plain["features"].items():
        same = found["features"][name]
        for number in ("missing", "oov", "quantiles", "mean_length", "values", "lengths", "absent"):
            assert same.get(number) == feature.get(number), (name, number)


CHANGES = {
    "emptied text": ("word", lambda value: ""),
    "half emptied text": ("user", lambda value: "" if len(value) % 2 else value),
    "other values": ("user", lambda value: f"new {value}"),
    "one value": ("user", lambda value: "user 5"),
    "one bucket": ("author", lambda value: "007"),
    "emptied hash": ("author", lambda value: " "),
    "other unit": ("duration", lambda value: value / 1000),
    "missing number": ("duration", lambda value: None),
    "default in place of the number": ("duration", lambda value: 9.5),
    "clipped": ("quartile", lambda value: min(value, 20.0)),
    "emptied list": ("tags", lambda value: []),
    "cut list": ("tags", lambda value: (value or [])[:1]),
    "other list": ("others", lambda value: ["padded"] * len(value or [])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_named_and_nothing_else(change, skew, training_rows):
    name, function = CHANGES[change]
    document = skew(changed(training_rows[:1000], name, function))
    assert named(document) == {name}
    assert next(iter(document["features"])) == name
    assert document["verdict"] in ("drifted", "shifted")


def test_absent_feature_is_all_missing(skew, training_rows):
    rows = [{name: value for name, value in row.items() if name not in ("author", "tags")} for row in training_rows]
    document = skew(rows)
    assert named(document) == {"author", "tags"}
    for name in ALL:
        assert document["features"][name]["absent"] == (name in ("author", "tags"))
    assert document["features"]["author"]["missing"]["requests"] == 1
    assert document["features"]["tags"]["missing"]["requests"] == 1


def test_context_features_of_few_requests_are_no_drift(prepared, training_rows, tmp_path):
    """Ten requests of one user each say nothing about the users."""
    rows = []
    for number in range(10):
        part = copy.deepcopy(training_rows[number * 64 : (number + 1) * 64])
        rows += changed(part, "user", lambda value, number=number: training_rows[number * 100]["user"])
    document = skew_document(measure_skew(prepared, [write_lines(tmp_path / "bodies", json_bodies(rows))]))
    assert document["features"]["user"]["independent_rows"] == 10
    assert document["features"]["word"]["independent_rows"] == 640
    assert named(document) == set()


def test_no_false_alarms_of_small_samples(skew, training_rows):
    generator = np.random.default_rng(0)
    for rows in (5, 50, 200):
        chosen = [training_rows[position] for position in generator.choice(len(training_rows), rows)]
        assert named(skew(chosen)) == set()


@pytest.mark.parametrize(("broken", "verdict"), [(10, "stable"), (11, "incomplete"), (1000, "incomplete")])
def test_requests_that_lack_more_than_one_in_a_hundred_are_not_stable(broken, verdict, prepared, training_rows, tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", json_rows(training_rows[:1000]) + b"oops\n" * broken)
    document = skew_document(measure_skew(prepared, [path]))
    assert (document["verdict"], named(document)) == (verdict, set())


def test_a_file_that_ends_too_soon_is_not_stable_but_may_drift(prepared, training_rows, tmp_path):
    for rows, verdict in (
        (training_rows[:1000], "incomplete"),
        (changed(training_rows[:1000], "word", lambda value: ""), "drifted"),
    ):
        path = write_records(tmp_path / "log", mixed_logs(rows))
        path.write_bytes(path.read_bytes()[:-5])
        document = skew_document(measure_skew(prepared, [path]))
        assert document["verdict"] == verdict
        assert list(document["unfinished_files"]) == [str(path)]


def test_data_of_another_version(prepared, tmp_path):
    odd = prepared.metadata.model_copy(update={"config": {"name": "odd"}})
    broken = type(prepared)(prepared.directory, odd, prepared.manifest)
    with pytest.raises(CrossDistilError, match=r"not one of this version: config\.tasks field required"):
        measure_skew(broken, [write_lines(tmp_path / "rows.jsonl", json_rows([]))])


def test_document_is_json(unchanged):
    assert json.loads(json.dumps(unchanged, allow_nan=False)) == unchanged
