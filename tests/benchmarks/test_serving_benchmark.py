# SPDX-License-Identifier: Apache-2.0
import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import serving
from benchmarks.environments import environment_python
from benchmarks.peer_jobs import peer_job
from benchmarks.serving_data import (
    DIM,
    requests,
    serving_experiment,
    serving_metadata,
    vocabulary_text,
    write_prepared,
)
from benchmarks.serving_session import Session, serve
from benchmarks.serving_turns import Latency, _check_answers
from benchmarks.workers import Worker, worker
from tf_crossdistil.config import CategoricalFeature
from tf_crossdistil.data.feature_lookup import FeatureLookup

ENTRIES = 2000


def test_texts_of_a_vocabulary_are_distinct():
    texts = vocabulary_text(np.arange(100_000))
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) == 19


def test_requests_with_ids_are_those_with_texts_looked_up(tmp_path):
    experiment = serving_experiment(ENTRIES)
    metadata = serving_metadata(experiment, ENTRIES)
    write_prepared(tmp_path, metadata, ENTRIES)
    raw, ids = requests(3000, ENTRIES)
    found = FeatureLookup(experiment, tmp_path / "vocabulary")({name: tf.constant(values) for name, values in raw.items()})
    assert found.keys() == ids.keys() == {feature.name for feature in experiment.features}
    assert all(np.array_equal(found[name], ids[name]) for name in ids)
    oov = ids["uid"] == metadata.vocabularies["uid"].ids - 1
    assert 0.002 < oov.mean() < 0.03
    assert json.loads((tmp_path / "sample.jsonl").read_text().splitlines()[0])["uid"] in raw["uid"].astype(str)


def test_the_peer_gets_tables_for_every_id():
    experiment = serving_experiment(ENTRIES)
    metadata = serving_metadata(experiment, ENTRIES)
    job = peer_job(experiment, {name: vocabulary.ids for name, vocabulary in metadata.vocabularies.items()}, DIM)
    features = [feature for feature in experiment.features if feature.name in job.tables]
    assert {*job.tables, *job.numeric} == {feature.name for feature in experiment.features}
    assert job.tables == {
        feature.name: metadata.embedding_rows(feature) for feature in features if isinstance(feature, CategoricalFeature)
    }
    assert {feature.dim for feature in features} == {job.dim}
    assert sum(job.tables.values()) == ENTRIES + 2 * len(features)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Of a model that takes one input as `[batch, 1]` int32 and another as text."""
    folder = tmp_path_factory.mktemp("model")
    module = tf.Module()
    signature = [tf.TensorSpec([None, 1], tf.int32, "number"), tf.TensorSpec([None], tf.string, "text")]

    @tf.function(input_signature=signature)
    def double(number, text):
        return {"sum": 2.0 * tf.cast(number, tf.float32) + tf.strings.to_number(text)[:, tf.newaxis]}

    tf.saved_model.save(module, str(folder / "model"), signatures={"serving_default": double})
    np.savez(folder / "rows.npz", number=np.arange(10), text=np.array([b"0.5"] * 10), other=np.arange(10))
    return Session(folder / "model", folder / "rows.npz")


def test_a_session_answers_with_the_types_of_its_signature(session):
    assert session.answers(3) == {"sum": [0.5, 2.5, 4.5]}
    assert session.load_seconds > 0


def test_a_session_is_asked_by_lines(session, capsys):
    serve(session, ["load\n", "answers 1\n", "warm_up 2\n", "time 4 3\n"])
    load, answers, warm_up, measured = (
        json.loads(line.removeprefix("answer ")) for line in capsys.readouterr().out.splitlines()
    )
    assert load == session.load_seconds
    assert answers == {"sum": [0.5]}
    assert len(warm_up["seconds"]) == 20
    assert len(measured["seconds"]) == 3
    assert measured["cpu_seconds"] > 0


def test_calls_go_round_the_rows(session, monkeypatch):
    asked = []

    def rows(first: int, batch: int) -> dict[str, object]:
        asked.append((first, batch))
        return {}

    monkeypatch.setattr(session, "_rows", rows)
    monkeypatch.setattr(session, "_next", 0)
    for _ in range(4):
        session._request(4)
    assert asked == [(0, 4), (4, 4), (0, 4), (4, 4)]


def test_latencies_are_compared_round_by_round():
    # The machine was three times as slow in the second round.
    ours = Latency([[0.001, 0.001, 0.9], [0.003, 0.003, 0.003], [0.001, 0.002, 0.001]], [0.002, 0.003, 0.004])
    theirs = Latency([[0.002, 0.002, 0.002], [0.006, 0.006, 0.006], [0.002, 0.002, 0.002]], [0.1, 0.1, 0.1])
    assert ours.over(theirs) == pytest.approx(0.5)
    assert ours.milliseconds(50) == pytest.approx(2)
    assert ours.milliseconds(100) == pytest.approx(900)
    assert ours.cpu_milliseconds == pytest.approx(1)


class Fake(Worker):
    def __init__(self, like):
        self.like = like

    def ask(self, question):
        return {"like": self.like}


def test_models_that_answer_otherwise_are_not_compared():
    workers = {"export": Fake([0.5, 0.25]), "ids": Fake([0.5, 0.25]), "deepctr": Fake([0.1, 0.1])}
    _check_answers(workers)
    for wrong in ([0.5, 0.26], [0.5, float("nan")]):
        with pytest.raises(RuntimeError, match=r"ids and export differ by .* in like"):
            _check_answers(workers | {"ids": Fake(wrong)})


def test_a_worker_that_ends_says_its_last_words():
    command = [sys.executable, "-c", "print('answer [1]', flush=True); input(); raise SystemExit('no such model')"]
    with worker(command) as started:
        assert started.ask("load") == [1]
        # It has read that question, and reads no other.
        started.process.wait()
        with pytest.raises(RuntimeError, match="no such model"):
            started.ask("load")


@pytest.mark.slow
def test_latency_is_measured(tmp_path, monkeypatch):
    result = result_of("latency", tmp_path / "result.json", monkeypatch)
    assert all(result[f"latency_over_training_model_{batch}"] > 0 for batch in serving.BATCHES)
    # Half of it are optimizers' slots; the export has a warm-up file, which is all there is to so small a model.
    assert 1.5 < result["megabytes_training_model"] / result["megabytes_ids"] < 10
    if environment_python("deepctr") is None:
        pytest.skip("DeepCTR is not installed: python -m benchmarks.environments")
    assert all(result[f"latency_ids_over_deepctr_{batch}"] > 0 for batch in serving.BATCHES)


@pytest.mark.slow
def test_large_vocabularies_are_measured(tmp_path, monkeypatch):
    result = result_of("large", tmp_path / "result.json", monkeypatch)
    assert all(value > 0 for value in result.values())
    assert result.keys() >= {"export_seconds_5m", "load_seconds_5m", "lookup_overhead_64"}


def result_of(part, path, monkeypatch):
    options = [
        "--rounds=2",
        "--calls=3",
        f"--entries={ENTRIES}",
        f"--large-entries={ENTRIES}",
        "--no-install",
        f"--json={path}",
    ]
    monkeypatch.setattr(sys, "argv", ["serving", "--only", part, *options])
    serving.main()
    return json.loads(path.read_text())
