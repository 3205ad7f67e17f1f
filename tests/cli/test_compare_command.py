# SPDX-License-Identifier: Apache-2.0
"""`crossdistil compare` as a user calls it."""

import json
import sys

import pytest

from tf_crossdistil.cli import compare_command
from tf_crossdistil.cli import main as cli

SMALL = ["--set", "training.batch_size=2048", "--set", "model.experts.levels=1"]


@pytest.fixture
def compare(monkeypatch, capsys, config_file, prepared, tmp_path):
    """Runs the command in this process; gives exit code, standard output and standard error."""

    def run(*arguments):
        command = ["crossdistil", "compare", config_file, "--data", prepared.directory, "--out", tmp_path / "out", *SMALL]
        budget = [] if "--budget" in arguments else ["--budget", "1"]
        monkeypatch.setattr(sys, "argv", [*map(str, command), *budget, *arguments])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code or 0, captured.out, captured.err

    return run


def test_two_methods_from_nothing_to_tables_and_files(compare, tmp_path, monkeypatch):
    # Each would be a process of its own.
    monkeypatch.setattr("tf_crossdistil.comparison.compare.measure_costs", lambda experiments, data, file: {})
    arguments = ["--methods", "shared_bottom,mmoe", "--seeds", "4"]
    code, out, err = compare(*arguments)
    assert code == 0, err
    assert "1/2 shared_bottom seed 4: validation auc 0." in err and "2/2 mmoe seed 4" in err
    assert "retracing" not in err and "rows/s" not in err
    assert "Multi-AUC" in out and "Differences to shared_bottom" in out and "One seed" in out
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [(result["method"], result["seed"], result["epochs"]) for result in results] == [
        ("shared_bottom", 4, 1),
        ("mmoe", 4, 1),
    ]
    assert all({"split", "rows", "tasks", "teachers", "set", "seconds"} <= set(result) for result in results)
    assert json.loads((tmp_path / "out/comparison.json").read_text())["baseline"] == "shared_bottom"
    tables = {path.name for path in (tmp_path / "out/tables").iterdir()}
    assert tables >= {"results.md", "results.csv", "results.tex", "results.json"}
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cells").rglob("*") if path.is_file()}
    assert f"report: {tmp_path / 'out/report.html'}" in err
    page = (tmp_path / "out/report.html").read_text().replace("<wbr>", "")
    assert "--methods shared_bottom,mmoe --seeds 4" in page and ">1 epoch; batches of 2,048 rows" in page
    stale = [tmp_path / "out" / name for name in ("tables/ablations.tex", "figures/sweep-margin.svg", "figures/mine.png")]
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    code, _, err = compare(*arguments)
    assert code == 0 and err.count("(kept)") == 2
    assert [path.exists() for path in stale] == [False, False, True]
    assert tables == {path.name for path in (tmp_path / "out/tables").iterdir()}
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cells").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_whole_study_in_small(compare, tmp_path):
    methods = "single,ple,taug,crossdistil,without_correction,kd_same_task"
    sweeps = ["--sweep", "distillation.margin=-1,1", "--sweep", "training.label_exchange.like=0.5", "--sweep-seeds", "0"]
    small = ["--set", "training.early_stopping=null", "--budget", "2", "--jobs", "2"]
    code, _, err = compare("--methods", methods, "--seeds", "0,1", *sweeps, *small)
    assert code == 0, err
    assert "Traceback" not in err and "15/15" in err
    sweeps_kept = json.loads((tmp_path / "out/comparison.json").read_text())["sweeps"]
    assert [(sweep["key"], len(sweep["points"])) for sweep in sweeps_kept] == [
        ("distillation.margin", 3),
        ("training.label_exchange.like", 2),
    ]
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [(result["seed"], result["epochs"]) for result in results] == [(0, 2), (1, 2)] * 6
    assert {path.stem for path in (tmp_path / "out/tables").iterdir()} == {
        *("results", "ablations", "costs", "differences", "sweep-margin", "label-exchange")
    }
    figures = {path.name for path in (tmp_path / "out/figures").iterdir()}
    assert figures == {"sweep-margin.svg", "loss-curves.svg", "label-exchange.svg", "costs.svg"}
    page = (tmp_path / "out/report.html").read_text().replace("<wbr>", "")
    assert "<svg" in page and all(f">{method}" in page for method in methods.split(","))
    assert all(method in (tmp_path / "out/costs.json").read_text() for method in methods.split(","))


@pytest.mark.slow
def test_a_diverging_cell_ends_with_exit_code_1(compare, tmp_path):
    diverging = ["training.learning_rate=1e38", "training.embedding_learning_rate=1e38", "training.batch_size=512"]
    overrides = [part for override in diverging for part in ("--set", override)]
    code, out, err = compare("--methods", "shared_bottom", "--seeds", "0", *overrides)
    assert code == 1
    assert "1/1 shared_bottom seed 0: failed: the loss" in err
    assert "Left out, since it failed: shared_bottom seed 0." in out
    assert json.loads((tmp_path / "out/results.json").read_text()) == []
    config = tmp_path / "out/cells/shared_bottom/default/seed=0/config.yaml"
    written = config.stat().st_mtime_ns
    code, _, err = compare("--methods", "shared_bottom", "--seeds", "0", *overrides)
    assert code == 1 and "smaller learning rates may mend it" in err and "another --run" not in err
    assert config.stat().st_mtime_ns == written


BROKEN = """
from tf_crossdistil.backbones.shared_bottom import SharedBottom


class Broken(SharedBottom):
    def call(self, inputs, tasks, training=False):
        # The three rows that backbones are tried on before a training pass.
        if training and inputs.shape[0] != 3:
            raise ValueError("no such rank")
        return super().call(inputs, tasks, training)
"""


@pytest.mark.slow
def test_a_users_backbone_that_fails_is_one_failed_cell(compare, tmp_path, monkeypatch):
    (tmp_path / "broken_backbone.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    code, out, err = compare("--methods", "broken_backbone:Broken,single")
    assert code == 1 and "Traceback" not in err, err
    assert "1/2 broken_backbone:Broken seed 0: failed: ValueError: " in err and "no such rank" in err
    assert "2/2 single seed 0: validation auc" in err and "Left out, since it failed: broken_backbone:Broken seed 0." in out
    assert [result["method"] for result in json.loads((tmp_path / "out/results.json").read_text())] == ["single"]
    (failure,) = json.loads((tmp_path / "out/comparison.json").read_text())["failures"]
    assert failure["method"] == "broken_backbone:Broken" and "no such rank" in failure["error"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--methods", "pel"], "did you mean 'ple'"),
        (["--methods", "ple,ple+gdk"], "did you mean 'gkd'"),
        (["--methods", "ple", "--baseline", "mmoe"], "--baseline is 'mmoe', which is not among --methods"),
        (["--methods", ""], "--methods needs values"),
        (["--methods", "ple,none"], "instead of 'none', name the backbone"),
        (["--methods", "ple", "--seeds", "0,x"], "--seeds needs whole numbers"),
        (["--methods", "ple", "--seeds", "1,-1"], "--seeds needs whole numbers"),
        (["--methods", "ple", "--seeds", ""], "--seeds needs values"),
        (["--methods", "ple", "--seeds", str(2**32)], "seed"),
        (["--methods", "ple", "--sweep-methods", "ple"], "give a --sweep, or leave them out"),
        (["--methods", "ple", "--sweep", "model.dropout=0.3", "--sweep-seeds", "x"], "--sweep-seeds needs whole numbers"),
        (["--methods", "ple", "--budget", "3", "--set", "training.epochs=2"], "--budget gives training.epochs, and so does"),
        (["--methods", "ple", "--split", "tset"], "--split must be one of"),
    ],
)
def test_wrong_use_is_one_sentence_before_anything_is_trained(compare, tmp_path, arguments, fault):
    code, _, err = compare(*arguments)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and fault in err
    assert not list(tmp_path.glob("out/cells/*"))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--methods", "ple,ple"], "--methods names 'ple' twice; name each once"),
        (["--methods", "ple", "--seeds", "1,01"], "--seeds names '1' twice; name each once"),
        (["--methods", "ple", "--sweep", "model.dropout"], "--sweep needs KEY="),
        (["--methods", "ple", "--sweep", "model.dropout=0.1,1e-1"], "--sweep has the same values twice"),
        (["--methods", "ple", "--sweep", "model.dropout=0.3", "--sweep-seeds", "7"], "--sweep-seeds: 7 is not among --seeds"),
        (
            ["--methods", "ple", "--sweep", "model.dropout=0.3", "--tune", "model.towers=[4],[8]"],
            "--sweep goes from one setting",
        ),
        (["--methods", "ple", "--tune", "model.dropout"], "--tune needs KEY="),
        (["--methods", "ple", "--tune", "model.dropuot=0,0.1"], "did you mean 'dropout'"),
    ],
)
def test_what_needs_no_tensorflow_is_refused_before_it_is_loaded(compare, tmp_path, monkeypatch, arguments, fault):
    monkeypatch.setattr(compare_command, "load_tensorflow", lambda: pytest.fail("TensorFlow was loaded"))
    code, _, err = compare(*arguments)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and fault in err
    assert not (tmp_path / "out").exists()
