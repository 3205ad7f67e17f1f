# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from benchmarks import preprocess, vocabulary
from benchmarks.preprocess_peers.job import BOUNDS, CATEGORICAL, HASHED, KEY, LABELS, NUMERIC, SPLITS
from benchmarks.processes import ROOT, run
from pipelines.preprocess import prepare
from pipelines.synthetic import write_logs
from tf_crossdistil import config
from tf_crossdistil.config_file import load_config

ROWS = 2000


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "logs.parquet"
    write_logs(path, ROWS, seed=1)
    return path


@pytest.fixture(scope="module")
def ours(logs, tmp_path_factory):
    data = prepare(load_config(preprocess.CONFIG), [str(logs)], tmp_path_factory.mktemp("ours"), quiet=True)
    return records(data.directory)


def records(directory):
    """What every record holds, by split and tag, in no order."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for path in directory.glob("*/tag=*/*.tfrecord.gz"):
        group = found.setdefault((path.parent.parent.name, path.parent.name), Counter())
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            values = {name: [*value.int64_list.value, *value.float_list.value] for name, value in features.items()}
            group[json.dumps(values, sort_keys=True)] += 1
    return {group: rows for group, rows in found.items() if rows}


def peer(name, logs, output):
    run(preprocess.peer_command(name, logs, output), {0})
    return records(output)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["polars", "polars_expert", "polars_expert_quick"])
def test_the_polars_scripts_write_the_records_that_we_write(name, logs, ours, tmp_path):
    pytest.importorskip("polars")
    assert peer(name, logs, tmp_path) == ours


@pytest.mark.slow
def test_beam_by_rows_writes_as_many_of_every_tag(logs, ours, tmp_path):
    theirs = peer("beam_rows", logs, tmp_path)
    assert {tag for _, tag in theirs} == {tag for _, tag in ours}
    for tag in {tag for _, tag in ours}:
        assert sum(rows.total() for group, rows in theirs.items() if group[1] == tag) == sum(
            rows.total() for group, rows in ours.items() if group[1] == tag
        )
    in_training = sum(rows.total() for group, rows in theirs.items() if group[0] == "train")
    assert in_training == pytest.approx(0.8 * ROWS, abs=6 * (0.16 * ROWS) ** 0.5)


def test_the_benchmarks_configuration_is_its_peers_job():
    experiment = load_config(preprocess.CONFIG)
    features = experiment.features
    assert {f.name: f.min_count for f in features if isinstance(f, config.CategoricalFeature)} == CATEGORICAL
    assert {f.name: f.buckets for f in features if isinstance(f, config.HashedFeature)} == HASHED
    assert tuple(f.name for f in features if isinstance(f, config.NumericFeature)) == NUMERIC
    assert len(features) == len(CATEGORICAL) + len(HASHED) + len(NUMERIC)
    assert tuple(experiment.task_names) == LABELS
    assert isinstance(experiment.split, config.HashSplit)
    assert tuple(experiment.split.key) == KEY
    assert (experiment.split.fractions[0], 1 - experiment.split.fractions[2]) == pytest.approx(BOUNDS)
    assert config.SPLITS == SPLITS


def test_peers_whose_library_is_absent_are_left_out(monkeypatch, capsys):
    assert set(preprocess.installed_peers()) <= set(preprocess.PEERS)
    monkeypatch.setattr(preprocess, "find_spec", lambda name: None)
    assert preprocess.installed_peers() == ["beam_rows"]
    assert "polars is not installed, so polars, polars_expert, polars_expert_quick are left out; pip" in capsys.readouterr().err


@pytest.mark.slow
def test_the_benchmark_writes_the_numbers_that_it_is_asked_for(tmp_path, monkeypatch):
    pytest.importorskip("polars")
    result = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["preprocess", "--rows=2000", "--repeats=1", f"--json={result}"])
    preprocess.main()
    numbers = json.loads(result.read_text())
    assert {"cheaper_than_polars", "cheaper_than_polars_expert", "rows_per_second_core", "peak_gigabytes"} <= numbers.keys()
    assert all(value > 0 for value in numbers.values())


def test_a_failed_command_says_its_last_words():
    with pytest.raises(RuntimeError, match="out of luck"):
        run([sys.executable, "-c", "raise SystemExit('out of luck')"], {0})


def test_the_peak_is_that_of_the_command():
    # From a small process, as the benchmark is one: what the parent holds counts until the command takes its place.
    command = [sys.executable, "-c", "print(len(bytearray(300_000_000)))"]
    measured = f"from benchmarks.processes import run; cost = run({command!r}, {{0}}); print(cost.peak_bytes, cost.output)"
    result = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=True, cwd=ROOT)
    peak, output = result.stdout.split()
    assert 0.3e9 < int(peak) < 0.4e9
    assert output == "300000000"


@pytest.mark.slow
def test_the_vocabulary_has_every_entry(tmp_path):
    _, entries = vocabulary.measure(3000, tmp_path)
    assert entries == 3000


def test_entries_of_the_large_vocabulary_are_distinct(tmp_path):
    vocabulary.write_logs(str(tmp_path / "logs.parquet"), 5000)
    training = pq.read_table(tmp_path / "logs.parquet", filters=[("day", "=", 0)])["uid"].to_pylist()
    assert len(set(training)) == len(training) == 5000
