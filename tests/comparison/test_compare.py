# SPDX-License-Identifier: Apache-2.0
"""Which cells a comparison trains, what it takes over from before, what it chooses and what it makes of the numbers."""

import io
import json
import logging
import subprocess
import sys

import pytest
from rich.console import Console

from tests.comparison.fake_training import DIVERGED, RATES, SMALL, printed
from tf_crossdistil.comparison import cells, compare
from tf_crossdistil.comparison.comparison_table import Figures, comparison_document
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.models.run import Run
from tf_crossdistil.training.interruption import Interrupted, Terminated


def test_every_method_is_trained_once_with_every_seed(fake, run, tmp_path):
    comparison = run(["ple", "taug"], [3, 1])
    assert fake.trained == [("ple", 0.001, 3), ("ple", 0.001, 1), ("taug", 0.001, 3), ("taug", 0.001, 1)]
    assert [(result.method, result.seed) for result in comparison.results] == [("ple", 3), ("ple", 1), ("taug", 3), ("taug", 1)]
    assert comparison.results[0].document() == {
        "method": "ple",
        "seed": 3,
        "set": {},
        "epochs": 2,
        "seconds": 3.5,
        "validation": 0.5,
        **json.loads((tmp_path / "out/cells/ple/default/seed=3/test.json").read_text()),
    }


def test_methods_are_backbones_without_distillation_or_distillation_on_the_backbone(fake, run, tmp_path):
    run(["mmoe", "taug"], [0], overrides=[*SMALL, "model.backbone=ple"])
    trained = [Run.open(tmp_path / f"out/cells/{method}/default/seed=0").experiment for method in ("mmoe", "taug")]
    assert [(e.model.backbone, e.distillation.method) for e in trained] == [("mmoe", "none"), ("ple", "taug")]


def test_finished_cells_are_taken_over_and_only_new_ones_trained(fake, run):
    before = run(["ple"], [0])
    after = run(["ple", "taug"], [0, 1])
    assert fake.trained == [("ple", 0.001, 0), ("ple", 0.001, 1), ("taug", 0.001, 0), ("taug", 0.001, 1)]
    assert after.results[0].document() == before.results[0].document()


def test_another_split_is_measured_without_training_again(fake, run):
    run(["ple"], [0])
    assert run(["ple"], [0], split="validation").results[0].summary["split"] == "validation"
    assert len(fake.trained) == 1


def test_tuning_chooses_for_each_method_on_validation_data_with_the_first_seed(fake, run):
    comparison = run(["ple", "taug"], [5, 6], [RATES])
    assert fake.trained == [
        *[("ple", 0.001, 5), ("ple", 0.01, 5), ("taug", 0.001, 5), ("taug", 0.01, 5)],
        *[("ple", 0.01, 6), ("taug", 0.001, 6)],
    ]
    chosen = {(result.method, result.seed): result.setting.values for result in comparison.results}
    fast, slow = {"training.learning_rate": 0.01}, {"training.learning_rate": 0.001}
    assert chosen == {("ple", 5): fast, ("ple", 6): fast, ("taug", 5): slow, ("taug", 6): slow}
    document = comparison_document(Figures.of(comparison))
    assert document["methods"]["ple"]["set"] == fast
    assert document["grids"]["ple"] == [{"set": slow, "validation": 0.5}, {"set": fast, "validation": 0.6}]


def test_an_interrupted_comparison_keeps_what_is_finished(fake, run):
    fake.interrupt = ("ple", 0.001, 1)
    with pytest.raises(KeyboardInterrupt):
        run(["ple"], [0, 1, 2])
    fake.interrupt = None
    assert len(run(["ple"], [0, 1, 2]).results) == 3
    assert [seed for _, _, seed in fake.trained] == [0, 1, 1, 2]


def test_a_failing_cell_does_not_end_the_comparison(fake, run):
    fake.diverge = {("taug", 0.001, 0)}
    comparison = run(["ple", "taug"], [0, 1])
    assert [(result.method, result.seed) for result in comparison.results] == [("ple", 0), ("ple", 1), ("taug", 1)]
    document = comparison_document(Figures.of(comparison))
    assert document["failures"] == [{"method": "taug", "seed": 0, "set": {}, "error": DIVERGED}]
    assert comparison.missing == [("taug", 0)]
    # Only seed 1 has both: 0.73 - 0.72.
    difference = document["differences"]["taug"]["finish"]["auc"]
    assert difference == {"seeds": 1, "mean": pytest.approx(0.01), "deviation": None, "interval": None, "positive": 1}
    assert "Left out, since it failed: taug seed 0." in printed(comparison)


def test_a_setting_that_fails_is_not_chosen_and_a_method_without_setting_is_left_out(fake, run):
    fake.diverge = {("ple", 0.01, 0), ("taug", 0.001, 0), ("taug", 0.01, 0)}
    comparison = run(["ple", "taug"], [0, 1], [RATES])
    assert [(result.method, result.setting.values["training.learning_rate"]) for result in comparison.results] == [
        ("ple", 0.001),
        ("ple", 0.001),
    ]
    assert [(failure.method, failure.seed) for failure in comparison.failures] == [("ple", 0), *[("taug", 0)] * 2, ("taug", 1)]
    assert comparison.missing == [("taug", 0), ("taug", 1)]
    assert "n/a" in printed(comparison)


def keys(comparison):
    return [(result.method, result.seed) for result in comparison.results]


@pytest.mark.parametrize("error", [ValueError("wrong\nrank"), MemoryError(), CrossDistilError("the disk is full")])
def test_whatever_fails_in_a_cell_is_kept_and_tried_again_by_the_next_call(fake, run, error):
    fake.fail[("ple", 0.001, 0)] = error
    screen = io.StringIO()
    comparison = run(["ple", "taug"], [0, 1], console=Console(file=screen))
    assert keys(comparison) == [("ple", 1), ("taug", 0), ("taug", 1)]
    message = str(error) if isinstance(error, CrossDistilError) else f"{type(error).__name__}: {error}"
    assert [failure.error for failure in comparison.failures] == [message]
    assert f"1/4 ple seed 0: failed: {' '.join(message.split())}\n" in screen.getvalue()
    fake.fail.clear()
    assert run(["ple"], [0]).missing == []
    assert fake.trained.count(("ple", 0.001, 0)) == 2


def test_later_calls_add_to_the_results_of_earlier_ones(fake, run):
    run(["taug"], [2, 0])
    comparison = run(["mmoe"], [5])
    assert keys(comparison) == [("mmoe", 5), ("taug", 0), ("taug", 2)]
    assert comparison.methods == ["mmoe", "taug"]
    comparison = run(["taug"], [1])
    assert keys(comparison) == [("taug", 1), ("taug", 0), ("taug", 2), ("mmoe", 5)]
    document = comparison_document(Figures.of(comparison))
    assert document["methods"]["taug"]["tasks"]["finish"]["auc"]["seeds"] == 3 and "mmoe" in document["methods"]
    assert len(fake.trained) == 4
    # Other splits are measured one by one.
    assert keys(run(["mmoe"], [5], split="validation")) == [("mmoe", 5)]


def test_cells_of_another_configuration_other_data_or_damaged_ones_are_not_among_the_results(fake, run, prepared, tmp_path):
    run(["ple", "taug"], [0, 1])
    kept = tmp_path / "out/cells/ple/default/seed=0/data/metadata.json"
    kept.write_text(kept.read_text().replace(prepared.metadata.run, "0123456789ab"))
    (tmp_path / "out/cells/ple/default/seed=1/test.json").write_text("{")
    screen = io.StringIO()
    assert keys(run(["taug"], [0], console=Console(file=screen))) == [("taug", 0), ("taug", 1)]
    assert "2 finished cells in" in screen.getvalue()
    assert keys(run(["mmoe"], [0], overrides=[*SMALL, "training.epochs=5"])) == [("mmoe", 0)]


def test_calls_with_other_seeds_or_methods_keep_the_tuned_choice(fake, run):
    first = run(["ple"], [5], [RATES])
    comparison = run(["ple"], [3, 4], [RATES])
    assert fake.trained == [("ple", 0.001, 5), ("ple", 0.01, 5), ("ple", 0.01, 3), ("ple", 0.01, 4)]
    assert keys(comparison) == [("ple", 3), ("ple", 4), ("ple", 5)]
    assert {result.setting.values["training.learning_rate"] for result in comparison.results} == {0.01}
    # Other methods may be tuned by other keys, or not at all.
    for tune in (["model.dropout=0.2,0.3"], []):
        other = run(["mmoe"], [3], tune)
        assert keys(other) == [("mmoe", 3), ("ple", 3), ("ple", 4), ("ple", 5)]
        documents = [comparison_document(Figures.of(found)) for found in (first, other)]
        assert documents[0]["grids"]["ple"] == documents[1]["grids"]["ple"] and len(documents[0]["grids"]["ple"]) == 2
        assert documents[1]["methods"]["ple"]["set"] == {"training.learning_rate": 0.01}


def test_a_wider_grid_chooses_anew_with_the_same_seed(fake, run):
    run(["taug"], [1], ["training.learning_rate=0.003,0.01"])
    comparison = run(["taug"], [2], ["training.learning_rate=0.003,0.01,0.001"])
    assert fake.trained[2:] == [("taug", 0.001, 1), ("taug", 0.001, 2)]
    assert keys(comparison) == [("taug", 2), ("taug", 1)]
    assert {result.setting.values["training.learning_rate"] for result in comparison.results} == {0.001}


def test_a_diverged_value_leaves_nothing_missing_and_is_not_trained_again(fake, run):
    fake.diverge = {("ple", 0.001, 0)}
    for _ in range(2):
        comparison = run(["ple"], [0, 1], [RATES])
        assert [failure.error for failure in comparison.failures] == [DIVERGED]
        assert comparison.missing == [] and keys(comparison) == [("ple", 0), ("ple", 1)]
    assert fake.trained == [("ple", 0.001, 0), ("ple", 0.01, 0), ("ple", 0.01, 1)]


def test_a_diverged_cell_is_trained_with_another_configuration(fake, run):
    fake.diverge = {("ple", 0.001, 0)}
    assert run(["ple"], [0]).missing == [("ple", 0)]
    assert run(["ple"], [0], overrides=[*SMALL, "training.learning_rate=0.01"]).missing == []


def test_a_resumed_training_that_diverges_is_not_begun_anew(fake, run):
    fake.interrupt = ("ple", 0.001, 0)
    with pytest.raises(KeyboardInterrupt):
        run(["ple"], [0])
    fake.interrupt, fake.diverge = None, {("ple", 0.001, 0)}
    assert run(["ple"], [0]).missing == [("ple", 0)]
    assert len(fake.trained) == 2


def test_an_interruption_says_what_is_kept(fake, run):
    fake.interrupt = ("ple", 0.001, 1)
    with pytest.raises(Interrupted) as raised:
        run(["ple"], [0, 1])
    assert raised.value.sentence.startswith("stopped; 1 finished cell and what is saved of unfinished ones are kept in ")
    assert raised.value.sentence.endswith("; the same command goes on from there")
    fake.interrupt, fake.fail = None, {("ple", 0.001, 1): Terminated("saved")}
    with pytest.raises(Terminated, match="143") as ended:
        run(["ple"], [0, 1])
    assert ended.value.sentence == raised.value.sentence


@pytest.mark.parametrize(
    ("methods", "overrides", "fault"),
    [
        (["ple", "kd_cross_task"], ["distillation.auxiliary={like: []}"], "'like' has none"),
        (["ple", "taug"], ["model.backbone=pel"], "did you mean 'ple'"),
        (["ple"], ["training.loss=no.such.module:loss"], "cannot be imported"),
        (["ple"], ["distillation.calibration=plat"], "did you mean 'platt'"),
        (["ple", "none"], [], "instead of 'none', name the backbone .*single, .*ple"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is(fake, run, tmp_path, methods, overrides, fault):
    with pytest.raises(UsageError, match=fault):
        run(methods, [0], overrides=[*SMALL, *overrides])
    assert fake.trained == [] and not (tmp_path / "out").exists()


def test_each_warning_is_shown_once_a_comparison(fake, run, caplog):
    for trainings in (3, 5):
        caplog.clear()
        run(["ple"], range(trainings))
        assert [record.message for record in caplog.records if record.name == "some.module"] == ["thin strata"]
    logging.getLogger("some.module").warning("thin strata")
    assert len(caplog.records) == 2


def test_another_configuration_or_other_data_needs_another_folder(fake, run, prepared, tmp_path):
    run(["ple"], [0])
    with pytest.raises(UsageError, match=r"another configuration.*give another --out"):
        run(["taug", "ple"], [0], overrides=[*SMALL, "training.epochs=5"])
    kept = tmp_path / "out/cells/ple/default/seed=0/data/metadata.json"
    kept.write_text(kept.read_text().replace(prepared.metadata.run, "0123456789ab"))
    with pytest.raises(UsageError, match=r"another data.*give another --out"):
        run(["taug", "ple"], [0])
    assert len(fake.trained) == 1


def test_a_folder_of_something_else_is_left_alone(fake, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="no comparison; give another --out"):
        run(["ple"], [0])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["pel", "none", "crosdistil", "no.such.module:Backbone", "json:loads"])
def test_unknown_methods_are_refused_before_anything_is_trained(fake, run, tmp_path, name):
    with pytest.raises(UsageError):
        run(["ple", name], [0])
    assert fake.trained == [] and not (tmp_path / "out/cells/ple").exists()


def test_settings_chosen_by_different_metrics_are_refused(fake, run):
    with pytest.raises(UsageError, match="auc and log_loss"):
        run(["ple"], [0], ["training.early_stopping={metric: auc},{metric: log_loss}"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["shared_bottom", "crossdistil"])
def test_cells_are_those_of_a_fresh_process(run, config_file, prepared, tmp_path, monkeypatch, method):
    """The second cell of a process, broken off between training and evaluation, against `crossdistil train` and `evaluate`."""

    def interrupted(run, data, split):
        if run.experiment.training.seed == 2:
            raise KeyboardInterrupt
        return evaluate(run, data, split)

    monkeypatch.setattr(cells, "evaluate", interrupted)
    monkeypatch.setattr(compare, "measure_costs", lambda experiments, data, file: {})
    with pytest.raises(KeyboardInterrupt):
        run([method], [1, 2])
    monkeypatch.setattr(cells, "evaluate", evaluate)
    second = run([method], [1, 2]).results[1]
    assert not (tmp_path / f"out/cells/{method}/default/seed=2/checkpoints/last").exists()

    configured = ["distillation.method=crossdistil"]
    if method == "shared_bottom":
        configured = ["distillation.method=none", "model.backbone=shared_bottom"]
    overrides = [part for value in [*SMALL, *configured, "training.seed=2"] for part in ("--set", value)]
    crossdistil, data = [sys.executable, "-m", "tf_crossdistil.cli.main"], ["--data", str(prepared.directory)]
    fresh = tmp_path / "fresh"
    train = [*crossdistil, "train", str(config_file), *data, "--run", str(fresh), *overrides]
    subprocess.run(train, check=True, capture_output=True)
    # Evaluation has no randomness: its own process would only cost time.
    assert second.summary == evaluate(Run.open(fresh), prepared, "test").summary
    assert (
        Run.open(tmp_path / f"out/cells/{method}/default/seed=2").history()[0]["loss"] == Run.open(fresh).history()[0]["loss"]
    )
