# SPDX-License-Identifier: Apache-2.0
import json
import os
import sys

import pyarrow.parquet as pq
import pytest

from benchmarks import environments, train
from benchmarks import input as input_benchmark
from benchmarks.environments import PEERS, NotInstalledError, environment_python, peer_python
from benchmarks.training_data import table_rows, training_experiment, write_logs
from benchmarks.training_peers.job import Answer
from benchmarks.training_rows import write_rows
from benchmarks.training_turns import take_turns
from pipelines.preprocess import prepare
from tf_crossdistil.schema import PreparedData

TABLE_ROWS = 2000


def result_of(module, path, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", [module.__name__, *options, f"--json={path}"])
    module.main()
    return json.loads(path.read_text())


@pytest.mark.parametrize("total", [2000, 33_000, 4_700_000, 20_000_000])
def test_tables_have_the_rows_that_are_asked_for_in_all(total):
    rows = table_rows(total)
    assert sum(rows.values()) == total
    assert min(rows.values()) > 0
    experiment = training_experiment(total)
    assert {feature.name: feature.buckets for feature in experiment.features if feature.kind == "hashed"} == rows
    assert (experiment.training.batch_size, experiment.training.strata_batch_size) == (4096, 128)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_logs(folder / "logs.parquet", 9000, TABLE_ROWS)
    prepare(training_experiment(TABLE_ROWS), [str(folder / "logs.parquet")], folder / "prepared", quiet=True)
    return folder / "prepared"


@pytest.mark.parametrize("kind", ["streamed", "in_memory"])
def test_input_is_read_epoch_after_epoch(logs, kind):
    batches = input_benchmark.batches(kind, logs, TABLE_ROWS)
    # An epoch is of two steps.
    read = [next(batches) for _ in range(3)]
    assert all(len(natural["uid"]) == 4096 and len(drawn["uid"]) % 128 == 0 for natural, drawn in read)
    assert sorted(read[0][0]["item_id"].numpy()) != sorted(read[2][0]["item_id"].numpy())


def test_peers_are_given_the_rows_that_we_train_on(logs, tmp_path):
    data = PreparedData.open(logs)
    write_rows(data, training_experiment(TABLE_ROWS), data.rows("train"), tmp_path / "rows.parquet")
    given = pq.read_table(tmp_path / "rows.parquet")
    likes = sum(count for tag, count in data.metadata.counts["train"].items() if tag[1] == "1")
    assert given.num_rows == data.rows("train")
    assert sum(given["like"].to_pylist()) == likes > 0
    # Every id has a row in the peers' tables.
    assert all(0 <= min(ids := given[name].to_pylist()) <= max(ids) < rows for name, rows in table_rows(TABLE_ROWS).items())


def test_another_index_is_asked_for_its_own_package_only():
    first, rest = environments._installations("torch_rechub")
    assert any(option.startswith("--extra-index-url=") for option in first)
    assert [option for option in first if "==" in option] == ["torch==2.13.0+cpu"]
    assert not any("index" in option for option in rest)
    assert len(list(environments._installations("deepctr"))) == 1


def test_a_peer_that_cannot_be_installed_is_left_out(monkeypatch, tmp_path, capsys):
    with pytest.raises(NotInstalledError, match="deepctr cannot be installed: no such version"):
        environments._run([sys.executable, "-c", "import sys; sys.exit('first\\nno such version')"], "deepctr")
    monkeypatch.setattr(environments, "_LONGEST_SECONDS", 0.01)
    with pytest.raises(NotInstalledError, match="within"):
        environments._run([sys.executable, "-c", "import time; time.sleep(60)"], "deepctr")

    def fail(peer):
        raise NotInstalledError(f"{peer} cannot be installed: no such version")

    monkeypatch.setattr(environments, "make_environment", fail)
    assert peer_python("deepctr") is None
    assert "no such version; it is left out" in capsys.readouterr().err
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    assert peer_python("deepctr", install=False) is None
    assert "deepctr has no environment; python -m benchmarks.environments makes it; it is left out" in capsys.readouterr().err


def answer(rows, cpu_seconds, share=0.5):
    """Of a process that had the core for this share of the time."""
    return Answer(rows, cpu_seconds / share, cpu_seconds, parameters=10, loss_before=1.0, loss_after=0.5, version="")


def test_examples_a_second_of_processor_time_are_compared_by_their_medians():
    answers = {
        ("ours", "33k"): [answer(300, 1.0, 1.0), answer(300, 3.0, 1.0), answer(300, 100.0, 1.0)],
        ("deepctr", "33k"): [answer(100, 4.0), answer(100, 2.0), answer(100, 2.0)],
    }
    result = train._compare(answers)
    assert result["examples_over_deepctr_33k"] == pytest.approx((300 / 3) / (100 / 2))
    assert (result["busy_ours_33k"], result["busy_deepctr_33k"]) == (1.0, 0.5)


@pytest.mark.slow
def test_a_worker_that_fails_says_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="no pipeline finished"):
        take_turns({"none": [str(tmp_path), str(TABLE_ROWS), "none"]}, turns=1)


@pytest.mark.slow
def test_steps_are_measured(tmp_path, monkeypatch):
    options = ("--only", "step", "--step-rows=9000", "--turns=1", f"--most-table-rows={TABLE_ROWS}")
    result = result_of(train, tmp_path / "result.json", monkeypatch, *options)
    assert result.keys() >= {"step_crossdistil_over_plain"}
    assert 0.5 < result["step_crossdistil_over_plain"] < 5


@pytest.mark.slow
def test_large_tables_are_measured(tmp_path, monkeypatch):
    options = ("--only", "tables", "--step-rows=9000", "--turns=1", "--most-table-rows=300000")
    result = result_of(train, tmp_path / "result.json", monkeypatch, *options)
    assert result.keys() >= {"step_at_20m_over_10k", "memory_over_tables", "memory_over_tables_beyond_small"}
    assert result["table_gigabytes_20m"] == pytest.approx(300_000 * 16 * 4 / 1e9, rel=0.1)


@pytest.mark.slow
def test_peers_are_measured_where_they_are_installed(tmp_path, monkeypatch):
    options = ("--only", "peers", "--rows=20000", "--slow-rows=20000", "--repeats=1", "--no-install")
    result = result_of(train, tmp_path / "result.json", monkeypatch, *options, f"--most-table-rows={TABLE_ROWS}")
    assert result["examples_per_cpu_second_ours_33k"] > 0
    installed = [peer for peer in PEERS if environment_python(peer) is not None]
    for peer in installed:
        assert result[f"examples_over_{peer}_33k"] > 0
        # Teachers are ours alone; they share the embeddings.
        assert result[f"parameters_{peer}_33k"] == pytest.approx(result["parameters_ours_33k"], rel=0.5)
    if len(installed) < len(PEERS):
        pytest.skip("not all peers are installed: python -m benchmarks.environments")


@pytest.mark.slow
def test_input_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: None)
    options = ("--rows=15000", f"--table-rows={TABLE_ROWS}", "--turns=1", "--batches=2")
    result = result_of(input_benchmark, tmp_path / "result.json", monkeypatch, *options)
    assert result.keys() >= {"input_over_training", "in_memory_examples_per_second"}
    assert all(value > 0 for value in result.values())
