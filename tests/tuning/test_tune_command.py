# SPDX-License-Identifier: Apache-2.0
"""`crossdistil tune` as a user calls it."""

import json
import sys

import pytest
import yaml

from tf_crossdistil.cli import main as cli
from tf_crossdistil.config_file import load_config
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.models.run import Run

SMALL = ["training.epochs=2", "training.batch_size=1024", "model.experts.levels=1", "distillation.method=none"]
SPACE = "tuning.space={training.learning_rate: {low: 0.001, high: 0.1, log: true}, model.dropout: {choices: [0, 0.3]}}"


@pytest.fixture
def tune(monkeypatch, capsys, config_file, prepared, tmp_path):
    """Runs the command in this process; gives exit code, standard output and standard error."""

    def run(*arguments, overrides=(SPACE,)):
        command = ["crossdistil", "tune", config_file, "--data", prepared.directory, "--out", tmp_path / "out", *arguments]
        settings = [part for override in [*SMALL, *overrides] for part in ("--set", override)]
        monkeypatch.setattr(sys, "argv", [*map(str, command), *settings])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code or 0, captured.out, captured.err

    return run


def test_a_search_from_nothing_to_a_configuration_and_a_run(tune, prepared, tmp_path):
    code, out, err = tune("--trials", "2")
    assert code == 0, err
    assert "1/2 trial 0 training.learning_rate=" in err and "2/2 trial 1" in err and "best 0." in err
    for noise in ("[I ", "retracing", "Warning", "rows/s"):
        assert noise not in err
    document = json.loads((tmp_path / "out/trials.json").read_text())
    values = {trial["number"]: trial["value"] for trial in document["trials"]}
    assert document["best"] == max(values, key=lambda number: values[number])
    assert f"{values[document['best']]:.4f}" in out and "training.learning_rate" in out and "crossdistil train" in out
    # The best run is whole: its model measures what the trial was worth.
    measured = evaluate(Run.open(tmp_path / "out/best"), prepared, "validation").summary["tasks"]
    assert sum(task["auc"] for task in measured.values()) / 2 == pytest.approx(values[document["best"]], abs=1e-6)
    best = document["trials"][document["best"]]["set"]
    winner = yaml.safe_load((tmp_path / "out/best.yaml").read_text())
    assert {"training.learning_rate": winner["training"]["learning_rate"], "model.dropout": winner["model"]["dropout"]} == best
    assert load_config(tmp_path / "out/best.yaml") == Run.open(tmp_path / "out/best").experiment
    assert {path.name for path in (tmp_path / "out").glob("*.png")} >= {"optimization_history.png", "slices.png"}
    code, again, err = tune("--trials", "1")
    assert code == 0 and again == out and "2 finished trials of an earlier call kept in" in err and "/1" not in err


@pytest.mark.slow
def test_a_search_in_which_every_trial_fails_ends_with_exit_code_1(tune, tmp_path):
    diverging = "tuning.space={training.learning_rate: {low: 1.e+37, high: 1.e+38}}"
    code, _, err = tune("--trials", "1", overrides=[diverging, "training.embedding_learning_rate=1.e+38"])
    assert code == 1 and "1/1 trial 0" in err and ": failed: the " in err
    assert err.splitlines()[-1].startswith("error: no trial of 1 ended well") and "Traceback" not in err
    (trial,) = json.loads((tmp_path / "out/trials.json").read_text())["trials"]
    assert trial["state"] == "failed" and trial["value"] is None


@pytest.mark.parametrize(
    ("arguments", "overrides", "fault"),
    [
        (["--trials", "1"], [], "has no tuning.space, so there is nothing to search; write such as tuning: {space:"),
        (["--trials", "1"], ["tuning.space={training.learning_rat: {low: 1, high: 2}}"], "did you mean 'learning_rate'"),
        (["--trials", "1"], ["tuning.space={model.backbone: {choices: [ple, pel]}}"], "did you mean 'ple'"),
        (["--trials", "1"], ["tuning.space={model.dropout: {low: 0, high: 1}}"], "model.dropout=1"),
        (["--trials", "1"], [SPACE, "training.strategy=multi_worker"], "a search runs on one host"),
    ],
)
def test_wrong_use_is_one_sentence_before_anything_is_trained(tune, tmp_path, arguments, overrides, fault):
    code, _, err = tune(*arguments, overrides=overrides)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and fault in err
    assert not (tmp_path / "out").exists()


def test_at_least_one_trial(tune):
    code, _, err = tune("--trials", "0")
    assert code == 2 and "Invalid value for '--trials'" in err
