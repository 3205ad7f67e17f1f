# SPDX-License-Identifier: Apache-2.0
"""Warm start: runs that nobody can go on from; and from one day to the next by the command line."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from tests.models.small_model import small_experiment
from tests.training.conftest import Killed
from tests.training.former_runs import YESTERDAY, changed, fresh_model, tables_of
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.run import Run
from tf_crossdistil.training.loop import TrainingLoop
from tf_crossdistil.training.trainer import train
from tf_crossdistil.training.warm_start import check_warm_start, warm_start

WITHOUT_AGE = [feature.model_dump(mode="json") for feature in small_experiment().features[:-1]]
DIFFERENT: dict[str, tuple[Experiment, str]] = {
    "tasks": (
        small_experiment(tasks=[{"name": "finish", "column": "f"}, {"name": "share", "column": "s"}]),
        r"the list of tasks is \['finish', 'share'\], there it is \['finish', 'like'\]",
    ),
    "fewer features": (small_experiment(features=WITHOUT_AGE), "the list of features is .*'friends'], there it is .*'age']"),
    "kind": (
        small_experiment(features=[*WITHOUT_AGE, {"name": "age", "kind": "categorical"}]),
        "features.age.kind is categorical, there it is numeric",
    ),
    "width": (changed("user", dim=4), "features.user.dim is 4, there it is 3"),
    "pooling": (changed("tags", pooling="sum"), "features.tags.pooling is sum, there it is mean"),
    "backbone": (small_experiment(model={"backbone": "mmoe"}), "model.backbone is mmoe, there it is ple"),
    "calibrator": (
        small_experiment(distillation={"calibration": "temperature"}),
        "distillation.calibration is temperature, there it is platt",
    ),
}


@pytest.mark.parametrize(("experiment", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_networks_that_differ_are_refused(former, today, experiment, message):
    run, _, _ = former
    if message.startswith("model."):
        run = dataclasses.replace(run, experiment=small_experiment(model={"backbone": "ple"}))
    with pytest.raises(UsageError, match=f"cannot go on from .*former: {message}; make it the same, or train") as raised:
        check_warm_start(run, experiment, today)
    assert "\n" not in str(raised.value)


def test_a_weight_of_another_shape_is_named(former, today):
    run, _, _ = former
    model = fresh_model(small_experiment(model={"backbone": "ple", "towers": [5]}), today, seed=2)
    with pytest.raises(UsageError, match=r"its weight '.*kernel:0' has shape \[.*\], but the new network needs \["):
        warm_start(model, run, today)


def damaged(former, folder):
    shutil.copytree(former[0].directory, folder / "former")
    return Run.open(folder / "former")


@pytest.mark.parametrize("files", ["*.index", "*.data*"])
def test_damaged_checkpoints_are_refused_before_anything_is_written(former, today, tmp_path, files):
    run = damaged(former, tmp_path)
    (file,) = (run.checkpoints / "best").glob(files)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CrossDistilError, match=r"the checkpoint .* is damaged, so no run can go on from it; ") as raised:
        check_warm_start(run, small_experiment(), today)
    assert "\n" not in str(raised.value)


def test_runs_without_an_epoch_or_their_vocabulary_are_refused(former, today, tmp_path):
    run = damaged(former, tmp_path)
    file = run.vocabularies / "user.txt"
    file.write_text("\n".join(reversed(YESTERDAY["user"])) + "\n", encoding="utf-8")
    with pytest.raises(CrossDistilError, match=r"user.txt is not the vocabulary that its run was trained with"):
        check_warm_start(run, small_experiment(), today)
    file.unlink()
    with pytest.raises(CrossDistilError, match=r"cannot read .*user.txt: No such file or directory; restore"):
        check_warm_start(run, small_experiment(), today)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(CrossDistilError, match="has no finished epoch yet"):
        check_warm_start(run, small_experiment(), today)


SMALL = {
    "name": "days",
    "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
    "features": [
        {"name": "user", "kind": "categorical", "min_count": 2, "oov_buckets": 2, "dim": 4},
        {"name": "seconds", "kind": "numeric", "transform": "bucketize", "buckets": 3},
    ],
    "split": {"by": "hash", "key": ["row"]},
    "model": {"backbone": "shared_bottom", "experts": {"units": [4]}, "towers": [4]},
    "training": {"batch_size": 256, "strata_batch_size": 8, "epochs": 1, "early_stopping": None},
}


@pytest.mark.slow
def test_from_one_day_to_the_next_by_the_command_line(tmp_path):
    (tmp_path / "days.yaml").write_text(json.dumps(SMALL), encoding="utf-8")

    def crossdistil(*arguments, code=0):
        command = [sys.executable, "-m", "tf_crossdistil.cli.main", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr

    for day, first in (("yesterday", 0), ("today", 15)):
        generator = np.random.default_rng(first)
        rows = [
            (f"user {first + generator.zipf(1.5) % 40}", generator.lognormal(), row, *generator.integers(0, 2, 2))
            for row in range(2000)
        ]
        text = "".join(f"{','.join(map(str, row))}\n" for row in [("user", "seconds", "row", "finish", "like"), *rows])
        (tmp_path / f"{day}.csv").write_text(text, encoding="utf-8")
        crossdistil("prepare", "days.yaml", "--input", f"{day}.csv", "--output", f"prepared/{day}")
    crossdistil("train", "days.yaml", "--data", "prepared/yesterday", "--run", "yesterday")
    start = ["train", "days.yaml", "--data", "prepared/today", "--run", "today", "--warm-start"]
    # So slow that float32 shows no step.
    slow = ["--set", "training.learning_rate=1e-15", "--set", "training.embedding_learning_rate=1e-15"]
    told = crossdistil(*start, "yesterday", *slow)
    runs = [Run.open(tmp_path / day) for day in ("yesterday", "today")]
    (was,), (now,) = (tables_of(run.load_best(), "user") for run in runs)
    ids = [
        {value: number for number, value in enumerate((run.vocabularies / "user.txt").read_text().splitlines(), start=1)}
        for run in runs
    ]
    both = sorted(ids[0].keys() & ids[1].keys())
    assert 5 < len(both) < len(ids[1])
    np.testing.assert_array_equal(now.numpy()[[ids[1][user] for user in both]], was.numpy()[[ids[0][user] for user in both]])
    np.testing.assert_array_equal(now.numpy()[[0, -2, -1]], was.numpy()[[0, -2, -1]])
    total, carried = len(ids[1]) + 3, len(both) + 3
    assert f"feature 'user': {carried} of {total} ids go on from yesterday; {total - carried} start anew" in told
    assert "feature 'seconds': 3 of 3 ids go on from yesterday\n" in told
    shutil.rmtree(tmp_path / "today")
    told = crossdistil(*start, "yesterday", "--set", "model.backbone=mmoe", code=2)
    assert "error: cannot go on from yesterday: model.backbone is mmoe, there it is shared_bottom; " in told
    assert not (tmp_path / "today").exists()


@pytest.mark.slow
def test_a_warm_start_is_done_again_until_there_is_a_checkpoint(undisturbed, small_experiment, prepared, monkeypatch, tmp_path):
    def resumed(directory, warm_start=None):
        console = Console(width=400)
        with console.capture() as captured:
            train(small_experiment, prepared, directory, console, resume=True, warm_start=warm_start)
        return captured.get()

    def dies(*arguments):
        raise Killed

    former, run = tmp_path / "former", tmp_path / "run"
    shutil.copytree(undisturbed.directory, former)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(TrainingLoop, "run_epochs", dies)
        resumed(run, former)
    with pytest.raises(UsageError, match=f"was started with --warm-start {former}; resume it like that"):
        resumed(run, tmp_path / "other")
    former.rename(tmp_path / "aside")
    with pytest.raises(CrossDistilError, match=r"has no checkpoint yet and cannot start from .*former again: .* holds no"):
        resumed(run)
    (tmp_path / "aside").rename(former)
    printed = resumed(run)
    assert f"{run} has no checkpoint yet; starting from the beginning" in printed
    assert f"ids go on from {former}" in printed
    # Now the former run is needed no more.
    shutil.rmtree(former)
    assert "nothing to do" in resumed(run, former)
