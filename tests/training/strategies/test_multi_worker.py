# SPDX-License-Identifier: Apache-2.0
"""Two processes on loopback, by the command line."""

import signal

import numpy as np
import pytest

from tests.training.strategies.local_cluster import LocalCluster, saved_numbers, train_alone, wait_for

pytestmark = pytest.mark.slow

WORKERS = {"worker": 2}
SETTINGS = ["model.dropout=0", "training.batch_size=128", "training.strata_batch_size=16", "training.checkpoints.every_steps=5"]


@pytest.fixture(scope="module")
def arguments(config_file, prepared):
    overrides = [part for setting in SETTINGS for part in ("--set", setting)]

    def of(run, *more):
        return [str(config_file), "--data", str(prepared.directory.parent), "--run", str(run), *overrides, *more]

    return of


@pytest.fixture(scope="module")
def together(tmp_path_factory, arguments):
    """An undisturbed run of two workers, and what they printed."""
    directory = tmp_path_factory.mktemp("together")
    command = arguments(directory / "run", "--set", "training.strategy=multi_worker")
    with LocalCluster(WORKERS, command, directory / "logs") as cluster:
        codes = [cluster.wait(task) for task in cluster.processes]
        printed = [cluster.printed(task) for task in cluster.processes]
    assert codes == [0, 0], printed
    return directory / "run", printed


def test_two_workers_train_as_one_process(together, arguments, tmp_path):
    alone = train_alone(arguments(tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    expected, received = saved_numbers(tmp_path / "alone"), saved_numbers(together[0])
    # The sums behind the logged means are those of all workers.
    names = {name for name in expected if not name.startswith(("means/", "save_counter"))}
    assert names == {name for name in received if not name.startswith(("means/", "save_counter"))}
    for name in names:
        np.testing.assert_allclose(received[name], expected[name], rtol=1e-4, atol=2e-5, err_msg=name)


def test_only_the_chief_prints_and_writes(together):
    run, (chief, other) = together
    assert "epoch 2/2" in chief
    assert "epoch" not in other
    written = {".lock", "config.yaml", "data", "history.json", "checkpoints", "tensorboard"}
    assert {path.name for path in run.iterdir()} == written


def test_a_killed_worker_and_a_rerun(together, arguments, tmp_path):
    command = arguments(tmp_path / "run", "--set", "training.strategy=multi_worker", "--resume")
    with LocalCluster(WORKERS, command, tmp_path / "logs") as cluster:
        wait_for(tmp_path / "run" / "checkpoints" / "last", "*.index")
        cluster.processes["worker", 1].kill()
        # "Restart me", for a scheduler.
        assert cluster.wait(("worker", 0)) == 143, cluster.printed(("worker", 0))
        assert "--resume" in cluster.printed(("worker", 0))
    with LocalCluster(WORKERS, command, tmp_path / "again") as cluster:
        assert [cluster.wait(task) for task in cluster.processes] == [0, 0], cluster.printed(("worker", 0))
        assert "resuming" in cluster.printed(("worker", 0))
    expected, received = saved_numbers(together[0]), saved_numbers(tmp_path / "run")
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)


def test_sigterm_of_one_worker_ends_all_where_epochs_are_short(arguments, tmp_path):
    # Six steps, and one batch of validation: fewer than after which workers ask each other.
    settings = ["training.strategy=multi_worker", "training.batch_size=512", "training.epochs=500"]
    command = arguments(tmp_path / "run", *(part for setting in settings for part in ("--set", setting)))
    with LocalCluster(WORKERS, command, tmp_path / "logs") as cluster:
        wait_for(tmp_path / "run" / "checkpoints" / "best", "*.index")
        cluster.processes["worker", 1].send_signal(signal.SIGTERM)
        assert [cluster.wait(task, 120) for task in cluster.processes] == [143, 143], cluster.printed(("worker", 0))
        assert "and saved; the same command with --resume" in cluster.printed(("worker", 0))
