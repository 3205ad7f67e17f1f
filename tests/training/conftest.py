# SPDX-License-Identifier: Apache-2.0
"""A run that takes seconds, and what two runs are compared by."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_model import small_experiment as small_model_experiment
from tests.training.former_runs import TODAY, former_run, prepared_data
from tf_crossdistil.config_file import load_config
from tf_crossdistil.models.checkpoint_files import find_checkpoints
from tf_crossdistil.training.loop import TrainingLoop
from tf_crossdistil.training.trainer import train

# Six steps an epoch.
SMALL = [
    "model.backbone=shared_bottom",
    "model.experts.units=[4]",
    "model.dropout=0.2",
    "training.epochs=2",
    "training.checkpoints.every_steps=2",
]
CLOCK = {"seconds", "rows_per_second"}

# The command line, which sends itself a signal as soon as a step is done, or when 0 are.
SCRIPT = """import os, sys
from tf_crossdistil.startup import load_tensorflow
load_tensorflow()
from tf_crossdistil.training.loop import TrainingLoop
from tf_crossdistil.cli.main import main
number, at = int(sys.argv[1]), int(sys.argv[2])
start, real, steps = TrainingLoop.start, TrainingLoop._after_steps, 0
def start_of_a_run(self, *arguments):
    if at == 0:
        os.kill(os.getpid(), number)
    start(self, *arguments)
def after_steps(self, *arguments):
    global steps
    steps += 1
    if steps == at:
        os.kill(os.getpid(), number)
    real(self, *arguments)
TrainingLoop.start, TrainingLoop._after_steps = start_of_a_run, after_steps
sys.argv = ["crossdistil", *sys.argv[3:]]
main()
"""


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture(scope="session")
def small_config(config_file, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    path.write_text(json.dumps(load_config(config_file, SMALL).model_dump(mode="json")), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_experiment(small_config):
    return load_config(small_config)


@pytest.fixture(scope="session")
def undisturbed(small_experiment, prepared, quiet_console, tmp_path_factory):
    """A run of two epochs from which nothing was taken; tests must not change it."""
    return train(small_experiment, prepared, tmp_path_factory.mktemp("undisturbed") / "run", quiet_console)


@pytest.fixture
def killed_after(monkeypatch, small_experiment, prepared, quiet_console):
    """Trains, or resumes, a run that dies right after so many steps of this process, before anything else is done."""

    def run(directory, steps, experiment=small_experiment):
        real, done = TrainingLoop._after_steps, 0

        def after_steps(self, *arguments):
            nonlocal done
            done += 1
            if done > steps:
                raise Killed
            real(self, *arguments)

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(TrainingLoop, "_after_steps", after_steps)
            train(experiment, prepared, directory, quiet_console, resume=True)

    return run


@pytest.fixture
def signalled(small_config, prepared):
    """Runs the command line in a process that gets a signal after so many steps; gives its exit code and standard error."""

    def run(directory, number, steps):
        arguments = ["train", small_config, "--data", prepared.directory, "--run", directory, "--resume"]
        command = [sys.executable, "-c", SCRIPT, int(number), steps, *arguments]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=300)
        return done.returncode, done.stderr

    return run


def everything(run):
    """All that the newest checkpoint of a run holds, but for the clock and the names of variables: tensors, and the history."""
    found = find_checkpoints(run.checkpoints / "last")
    reader = tf.train.load_checkpoint(str(found[max(found)]))
    tensors = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    tensors = {key: value for key, value in tensors.items() if "py_state" not in key and "OBJECT_GRAPH" not in key}
    return tensors, [{name: value for name, value in entry.items() if name not in CLOCK} for entry in run.history()]


def assert_same(left, right):
    (ours, our_history), (theirs, their_history) = everything(left), everything(right)
    assert our_history == their_history
    assert set(ours) == set(theirs) and len(ours) > 50
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key], err_msg=key)


@pytest.fixture(scope="session")
def former(tmp_path_factory):
    """A former run, its model and its data."""
    return former_run(tmp_path_factory.mktemp("former"), steps=2)


@pytest.fixture(scope="session")
def today(tmp_path_factory):
    return prepared_data(tmp_path_factory.mktemp("today") / "data", small_model_experiment(), TODAY)
