import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks import input as input_benchmark
from benchmarks import train
from benchmarks.environments import PEERS, environment_python, requirements
from benchmarks.goals import GOALS, Goal
from benchmarks.results import COMMANDS, render
from benchmarks.training_data import table_rows, training_experiment
from benchmarks.training_peers.job import Answer
from benchmarks.training_turns import take_turns

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


def answer(rows, seconds):
    return Answer(rows, seconds, seconds / 2, parameters=10, loss_before=1.0, loss_after=0.5, version="")


def test_examples_a_second_are_compared_by_their_medians():
    answers = {
        ("ours", "33k"): [answer(300, 1.0), answer(300, 3.0), answer(300, 100.0)],
        ("deepctr", "33k"): [answer(100, 4.0), answer(100, 2.0), answer(100, 2.0)],
    }
    result = train._compare(answers)
    assert result["examples_over_deepctr_33k"] == pytest.approx((300 / 3) / (100 / 2))
    assert result["busy_deepctr_33k"] == 0.5


@pytest.mark.slow
def test_a_worker_that_fails_says_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="no pipeline finished"):
        take_turns({"none": [str(tmp_path), str(TABLE_ROWS), "none"]}, turns=1)


def test_results_say_which_goals_are_missed():
    page = render({"train": {"step_crossdistil_over_plain": 1.3}, "input": {"input_over_training": 6.0}}, minutes=1, load=0.1)
    assert "| step_crossdistil_over_plain | 1.30 | at most 1.2 | **missed** |" in page
    assert "| input_over_training | 6.00 | at least 5 | met |" in page
    assert "python -m benchmarks.input`" in page


@pytest.mark.parametrize(("goal", "value", "met"), [(Goal(2), 2.0, True), (Goal(2), 1.9, False), (Goal(2, True), 2.1, False)])
def test_goals(goal, value, met):
    assert goal.met(value) is met


def test_every_command_of_the_results_exists():
    root = Path(train.__file__).parent
    assert all((root / f"{name}.py").is_file() for name in COMMANDS)
    assert all("==" in requirements(peer).read_text() for peer in PEERS)


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
    assert result["examples_per_second_ours_33k"] > 0
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


def test_goals_name_numbers_that_are_measured():
    assert set(GOALS) <= {
        *("step_crossdistil_over_plain", "step_at_20m_over_10k", "memory_over_tables"),
        *("examples_over_deepctr_4_7m", "examples_over_deepctr_33k", "input_over_training", "in_memory_examples_per_second"),
    }
