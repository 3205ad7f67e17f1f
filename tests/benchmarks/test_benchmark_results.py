# SPDX-License-Identifier: Apache-2.0
import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.environments import PEERS, requirements
from benchmarks.goals import GOALS, Goal
from benchmarks.results import OPTIONS, Measured, read, render, write

_SERVING_PAIRS = ("over_training_model", "over_deepctr", "ids_over_deepctr")


def measured(numbers, command="python -m benchmarks.train"):
    return Measured(
        command=command,
        date=datetime(2026, 1, 31, tzinfo=timezone.utc),
        minutes=2.5,
        load=0.25,
        machine="a machine",
        packages={"numpy": "2.0"},
        numbers=numbers,
    )


def test_the_page_says_which_goals_are_missed():
    page = render({"train": measured({"step_crossdistil_over_plain": 1.3}), "input": measured({"input_over_training": 6.0})})
    assert "| step_crossdistil_over_plain | 1.30 | at most 1.2 | **missed** |" in page
    assert "| input_over_training | 6.00 | at least 5 | met |" in page
    assert "`python -m benchmarks.train` on 31 January 2026, 2.5 minutes;\nthe load was 0.2 when it began. a machine." in page
    missing = page.splitlines()[-1]
    assert "examples_over_deepctr_33k" in missing
    assert "input_over_training" not in missing


def test_a_benchmark_that_is_run_again_renews_its_own_numbers_only(tmp_path):
    write(tmp_path, "train", measured({"step_milliseconds_plain": 7.0}))
    write(tmp_path, "input", measured({"input_over_training": 6.0}))
    write(tmp_path, "train", measured({"step_milliseconds_plain": 8.0}))
    assert {name: found.numbers for name, found in read(tmp_path).items()} == {
        "train": {"step_milliseconds_plain": 8.0},
        "input": {"input_over_training": 6.0},
    }
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| step_milliseconds_plain | 8.00 |" in page and "| input_over_training | 6.00 |" in page
    assert json.loads((tmp_path / "measured/train.json").read_text())["numbers"] == {"step_milliseconds_plain": 8.0}


def test_chosen_benchmarks_are_run_and_one_that_fails_keeps_its_numbers(tmp_path, monkeypatch, capfd):
    write(tmp_path, "vocabulary", measured({"entries": 7.0}))
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setitem(OPTIONS, "vocabulary", ["--no-such-option"])
    monkeypatch.setitem(OPTIONS, "generate", ["--rows=2000", "--repeats=1"])
    cores = os.sched_getaffinity(0)
    assert results.main(["--only", "vocabulary", "generate"]) == 1
    assert os.sched_getaffinity(0) == cores
    found = read(tmp_path)
    assert list(found) == ["generate", "vocabulary"]
    assert found["vocabulary"].numbers == {"entries": 7.0}
    generated = found["generate"]
    assert generated.command == "python -m benchmarks.generate --rows=2000 --repeats=1"
    assert generated.numbers["rows"] == 2000 and generated.numbers["csv_rows_per_second"] > 0
    assert {"numpy", "deepctr: deepctr", "torch_rechub: torch"} <= generated.packages.keys()
    told = capfd.readouterr().err
    assert "1 of 2: vocabulary" in told and "2 of 2: generate" in told and "generate took" in told
    assert "unrecognized arguments: --no-such-option" in told and "error: vocabulary failed and kept the numbers" in told


def test_a_benchmark_that_there_is_not_is_refused(capsys):
    with pytest.raises(SystemExit) as left:
        results.main(["--only", "trian"])
    assert left.value.code == 2
    assert "'trian'" in capsys.readouterr().err


@pytest.mark.parametrize(("goal", "value", "met"), [(Goal(2), 2.0, True), (Goal(2), 1.9, False), (Goal(2, True), 2.1, False)])
def test_goals(goal, value, met):
    assert goal.met(value) is met


def test_every_benchmark_of_the_results_exists():
    root = Path(results.__file__).parent
    assert all((root / f"{name}.py").is_file() for name in OPTIONS)
    assert all("==" in requirements(peer).read_text() for peer in PEERS)


def test_goals_name_numbers_that_are_measured():
    assert set(GOALS) <= {
        *("step_crossdistil_over_plain", "step_at_20m_over_10k", "memory_over_tables"),
        *("examples_over_deepctr_4_7m", "examples_over_deepctr_33k", "input_over_training", "in_memory_examples_per_second"),
        *(f"latency_{pair}_{batch}" for pair in _SERVING_PAIRS for batch in (1, 64, 512)),
        *("multiplications_a_pair_ctfm", "multiplications_a_pair_gkd"),
        *("size_over_training_model", "export_seconds_5m", "load_seconds_5m", "lookup_overhead_64"),
    }
