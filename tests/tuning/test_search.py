# SPDX-License-Identifier: Apache-2.0
"""Which trials a search runs, what it gives up, what it keeps, and how it goes on."""

import errno
import json
import os
from dataclasses import replace
from statistics import median

import pytest
import tensorflow as tf
import yaml

from tests.tuning.conftest import auc_of
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.run import Run
from tf_crossdistil.training.divergence import DivergedError
from tf_crossdistil.training.interruption import Terminated
from tf_crossdistil.tuning import search
from tf_crossdistil.tuning.report import write_report
from tf_crossdistil.tuning.space import Space
from tf_crossdistil.tuning.study import only_search_in


def drawn(result):
    """What must not depend on how often a search was interrupted."""
    return [(trial.number, trial.state, trial.set, trial.value, trial.epochs) for trial in result.trials]


def reached_by(trial, epoch):
    return auc_of(trial.set["training.learning_rate"], trial.set["distillation.alpha"], epoch)


# Optuna's TPE begins with ten random trials.
@pytest.mark.parametrize(
    ("settings", "stop"),
    [
        ({"sampler": "tpe"}, KeyboardInterrupt()),
        pytest.param(
            {"sampler": "random", "pruning": "successive_halving"}, Terminated("with --resume"), marks=pytest.mark.slow
        ),
    ],
)
def test_a_resumed_or_killed_search_ends_as_an_undisturbed_one(run_search, fake, screen, settings, stop):
    settings |= {"training": {"epochs": 4}}
    undisturbed = run_search(12, **settings)
    assert {"complete", "pruned"} == {trial.state for trial in undisturbed.trials}
    run_search(3, "parts", **settings)
    stopped_at = undisturbed.trials[10].set["training.learning_rate"]

    def end(experiment, epoch):
        if experiment.training.learning_rate == stopped_at:
            raise stop

    fake.events = end
    with pytest.raises(type(stop)) as stopped:
        run_search(12, "parts", **settings)
    assert "stopped; 10 finished trials kept in" in stopped.value.sentence and "--resume" not in stopped.value.sentence
    fake.events = lambda experiment, epoch: None
    assert drawn(run_search(12, "parts", **settings)) == drawn(undisturbed)
    assert "trial 10 was interrupted; it is run again" in screen.file.getvalue()


def test_a_seed_draws_its_own_trials_within_the_space(run_search):
    first, second = run_search(3), run_search(3, "other", training={"seed": 1})
    values = {tuple(trial.set.values()) for trial in first.trials + second.trials}
    assert len(values) == 6
    assert all(0.0001 <= rate <= 0.1 and 0 <= alpha <= 1 for rate, alpha in values)


@pytest.mark.slow
def test_tpe_learns_from_what_was_tried(run_search):
    up, down = (run_search(12, metric, metric=metric, pruning="none").trials for metric in ("auc", "multi_auc"))
    assert [trial.set for trial in up[:10]] == [trial.set for trial in down[:10]]
    assert all(one.set != other.set for one, other in zip(up[10:], down[10:], strict=True))
    assert {trial.state for trial in up} == {"complete"}


def test_median_pruning_gives_up_what_is_below_the_median_of_complete_trials(run_search, fake, tmp_path):
    result = run_search(12, training={"epochs": 4})
    complete: list[list[float]] = []
    for trial in result.trials:
        reached = [reached_by(trial, epoch) for epoch in range(1, 5)]
        worse = [
            epoch for epoch in range(1, 5) if len(complete) >= 5 and reached[epoch - 1] < median(c[epoch - 1] for c in complete)
        ]
        assert (trial.state, trial.epochs) == (("pruned", worse[0]) if worse else ("complete", 4))
        if not worse:
            complete.append(reached)
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned
    assert not any((tmp_path / f"out/trials/{trial.number}/checkpoints").exists() for trial in pruned)


def test_only_the_best_run_is_kept_whole(run_search, tmp_path):
    result = run_search(5)
    assert result.best == max(result.ranked, key=lambda trial: trial.value)
    best = tmp_path / "out/best"
    assert best.resolve() == (tmp_path / "out/trials" / str(result.best.number)).resolve()
    assert list(tmp_path.glob("out/trials/*/checkpoints")) == [tmp_path / f"out/trials/{result.best.number}/checkpoints"]
    assert (best / "checkpoints/best/weights").is_file() and (best / "checkpoints/last/weights").is_file()
    assert len(list(tmp_path.glob("out/trials/*/history.json"))) == 5
    kept = Run.open(best).experiment
    assert {
        "training.learning_rate": kept.training.learning_rate,
        "distillation.alpha": kept.distillation.alpha,
    } == result.best.set


def test_log_loss_is_minimised(run_search):
    result = run_search(4, metric="log_loss", direction="min")
    assert result.best.value == min(trial.value for trial in result.trials if trial.state == "complete")
    assert [trial.value for trial in result.ranked] == sorted(trial.value for trial in result.ranked)


def test_a_trial_is_worth_what_its_kept_epoch_is(run_search):
    # Epochs are chosen by AUC, which grows; Multi-AUC is then at its lowest.
    result = run_search(1, metric="multi_auc", training={"epochs": 3})
    (trial,) = result.trials
    assert trial.value == pytest.approx(1 - reached_by(trial, 3))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DivergedError("the loss 'loss' became nan in epoch 1"), "the loss 'loss' became nan in epoch 1"),
        (CrossDistilError("too few rows"), "too few rows"),
        (ValueError("wrong\nrank"), "ValueError: wrong\nrank"),
    ],
)
def test_a_failing_trial_does_not_end_the_search(run_search, fake, tmp_path, screen, error, message):
    def fail(experiment, epoch):
        if len(fake.trained) == 2:
            raise error

    fake.events = fail
    result = run_search(3)
    assert [trial.state for trial in result.trials] == ["complete", "failed", "complete"]
    assert (result.trials[1].error, result.trials[1].value) == (message, None)
    assert f": failed: {' '.join(message.split())}\n" in screen.file.getvalue()
    assert not (tmp_path / "out/trials/1/checkpoints").exists()
    # What failed is not tried again.
    assert drawn(run_search(3)) == drawn(result) and len(fake.trained) == 3


def full_disk():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "ckpt-1")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (CrossDistilError("cannot write: No space left on device; go on with --resume"), full_disk()),
        (
            CrossDistilError("cannot write: No space left on device"),
            tf.errors.ResourceExhaustedError(None, None, str(full_disk())),
        ),
        (tf.errors.ResourceExhaustedError(None, None, str(full_disk())), None),
    ],
)
def test_a_full_disk_ends_the_search_and_leaves_the_trial_unfinished(run_search, fake, error, cause):
    undisturbed = run_search(3, "undisturbed")

    def fail(experiment, epoch):
        if len(fake.trained) == 5:
            try:
                raise cause or error
            except (OSError, tf.errors.OpError):
                # As Keras raises again.
                raise error from None

    fake.events = fail
    with pytest.raises(CrossDistilError) as stopped:
        run_search(3)
    sentence = str(stopped.value)
    assert sentence.startswith("stopped in trial 1: ") and "No space left on device" in sentence
    assert "1 finished trial kept in" in sentence and "--resume" not in sentence
    fake.events = lambda experiment, epoch: None
    assert drawn(run_search(3)) == drawn(undisturbed)


def test_a_lack_of_memory_is_the_fault_of_the_setting(run_search, fake):
    def fail(experiment, epoch):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    fake.events = fail
    assert run_search(1).trials[0].state == "failed"


def test_a_metric_that_is_never_defined_is_a_failed_trial(run_search, fake, monkeypatch):
    train = fake.train

    def undefined(*arguments, after_epoch):
        return train(*arguments, after_epoch=lambda entry: entry.update(validation_auc=None))

    monkeypatch.setattr(search, "train", undefined)
    monkeypatch.setattr(Run, "history", lambda run: [{"epoch": 1, "validation_auc": None}])
    (trial,) = run_search(1).trials
    assert trial.state == "failed" and "validation auc is undefined" in trial.error


def test_progress_tells_settings_value_and_best_so_far(run_search, screen):
    result = run_search(3)
    lines = screen.file.getvalue().splitlines()
    for number, line in enumerate(lines):
        trial, best = result.trials[number], max(result.trials[: number + 1], key=lambda trial: trial.value)
        rate, alpha = trial.set.values()
        assert line.startswith(
            f"{number + 1}/3 trial {number} training.learning_rate={rate:.4g}, distillation.alpha={alpha:.4g}: "
        )
        assert f"validation auc {trial.value:.4f}, best {best.value:.4f} (trial {best.number}), 2 epochs, 0 s" in line
    assert len(lines) == 3


def test_a_study_of_another_search_is_refused(run_search, fake, prepared):
    run_search(1)
    wider = {"training.learning_rate": {"low": 0.0001, "high": 0.2, "log": True}}
    other = replace(prepared, metadata=prepared.metadata.model_copy(update={"run": "0123456789ab"}))
    for change, what in (
        ({"training": {"epochs": 3}}, "configuration than the one given, at training.epochs"),
        ({"training": {"seed": 3}}, "configuration than the one given, at training.seed"),
        ({"space": wider}, "tuning section than the one given, at space.training.learning_rate.high"),
        ({"sampler": "random"}, "tuning section than the one given, at sampler"),
        ({"data": other}, "data set than the one given"),
    ):
        with pytest.raises(UsageError, match=f"holds a search with another {what}; give another --out"):
            run_search(2, **change)
    assert len(fake.trained) == 1


def test_a_folder_of_something_else_a_busy_and_a_damaged_one_are_refused(run_search, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    (tmp_path / "plain").write_text("")
    for out in ("other", "plain"):
        with pytest.raises(UsageError, match="holds something that is no search"):
            run_search(1, out)
    with only_search_in(tmp_path / "busy"), pytest.raises(CrossDistilError, match="another search is at work"):
        run_search(1, "busy")
    run_search(1, "busy")
    (tmp_path / "busy/study.db").write_text("no study" * 1000)
    with pytest.raises(
        CrossDistilError, match=r"cannot use the study in .*busy/study.db: file is not a database; it is damaged or no"
    ):
        run_search(1, "busy")


def test_a_search_of_several_hosts_is_refused(run_search, fake):
    with pytest.raises(UsageError, match=r"runs on one host, and training.strategy is multi_worker"):
        run_search(1, training={"strategy": "multi_worker"})


def test_choices_are_tried_as_they_are_written(run_search, experiment_with, tmp_path):
    space = {"model.towers": {"choices": [[4], [8, 4], []]}, "training.batch_size": {"low": 256, "high": 1024, "step": 256}}
    result = run_search(8, space=space, sampler="random", pruning="none")
    assert {tuple(trial.set["model.towers"]) for trial in result.trials} == {(4,), (8, 4), ()}
    assert {trial.set["training.batch_size"] for trial in result.trials} <= {256, 512, 768, 1024}
    trained = [Run.open(tmp_path / f"out/trials/{trial.number}").experiment for trial in result.trials]
    assert [{"model.towers": e.model.towers, "training.batch_size": e.training.batch_size} for e in trained] == [
        trial.set for trial in result.trials
    ]


def test_the_report_has_the_winner_as_a_configuration_all_trials_and_plots(run_search, fake, experiment_with, tmp_path):
    def fail(experiment, epoch):
        if len(fake.trained) == 2:
            raise ValueError("no luck")

    fake.events = fail
    space, out = Space.of(experiment_with(training={"epochs": 3})), tmp_path / "out"
    result = run_search(6, training={"epochs": 3})
    write_report(result, space, out)
    best = load_config(out / "best.yaml")
    assert best == Run.open(out / "best").experiment
    assert best.training.learning_rate == result.best.set["training.learning_rate"] != space.experiment.training.learning_rate
    assert "tuning" not in yaml.safe_load((out / "best.yaml").read_text())
    document = json.loads((out / "trials.json").read_text())
    assert document["metric"] == "auc" and document["best"] == result.best.number
    assert [trial["state"] for trial in document["trials"]] == [trial.state for trial in result.trials]
    assert document["trials"][1]["error"] == "ValueError: no luck"
    assert sum(document["importances"].values()) == pytest.approx(1)
    for name in ("optimization_history", "parameter_importances", "slices"):
        picture = (out / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) > 5000
