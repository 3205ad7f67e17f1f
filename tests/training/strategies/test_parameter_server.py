# SPDX-License-Identifier: Apache-2.0
"""One parameter server, two workers and a chief on loopback, by the command line."""

import signal

import pytest

from pipelines.preprocess import prepare
from pipelines.synthetic import write_logs
from tests.training.strategies.local_cluster import LocalCluster, train_alone, wait_for
from tf_crossdistil.config_file import load_config
from tf_crossdistil.demo import CONFIG
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.export.publish import export
from tf_crossdistil.models.run import Run

pytestmark = pytest.mark.slow

TASKS = {"chief": 1, "worker": 2, "ps": 1}
SETTINGS = ["training.batch_size=256", "training.epochs=3"]
ASYNCHRONOUS = ["--set", "training.strategy=parameter_server"]
CHIEF = ("chief", 0)
ROWS = 20_000


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Synthetic logs, of which something can be learned."""
    directory = tmp_path_factory.mktemp("logs")
    write_logs(directory / "logs.csv", ROWS, 0, truth=True)
    return prepare(load_config(CONFIG), [str(directory / "logs.csv")], directory / "prepared", quiet=True)


@pytest.fixture(scope="module")
def arguments(logs):
    overrides = [part for setting in SETTINGS for part in ("--set", setting)]

    def of(run, *more):
        return [str(CONFIG), "--data", str(logs.directory.parent), "--run", str(run), *overrides, *more]

    return of


def best_auc(run):
    return max(entry["validation_auc"] for entry in Run.open(run).history())


def test_as_good_as_one_device(arguments, logs, tmp_path):
    alone = train_alone(arguments(tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    with LocalCluster(TASKS, arguments(tmp_path / "run", *ASYNCHRONOUS), tmp_path / "logs") as cluster:
        assert cluster.wait(CHIEF) == 0, cluster.printed(CHIEF)
        served = [task for task in cluster.processes if task != CHIEF]
        assert all(cluster.processes[task].poll() is None for task in served)
        for task in served:
            cluster.processes[task].send_signal(signal.SIGTERM)
        assert [cluster.wait(task, 60) for task in served] == [0, 0, 0]
    assert len(Run.open(tmp_path / "run").history()) == 3
    assert best_auc(tmp_path / "alone") > 0.6
    assert best_auc(tmp_path / "run") > best_auc(tmp_path / "alone") - 0.03
    run = Run.open(tmp_path / "run")
    assert evaluate(run, logs, "test").summary["tasks"]["finish"]["auc"] > 0.55
    assert export(run, tmp_path / "models" / "shared").variables


def test_a_worker_killed_in_mid_training(arguments, tmp_path):
    command = arguments(tmp_path / "run", *ASYNCHRONOUS, "--set", "training.checkpoints.every_steps=10")
    with LocalCluster(TASKS, command, tmp_path / "logs") as cluster:
        wait_for(tmp_path / "run" / "checkpoints" / "last", "*.index")
        cluster.processes["worker", 1].kill()
        assert cluster.wait(CHIEF) == 0, cluster.printed(CHIEF)
    assert len(Run.open(tmp_path / "run").history()) == 3


def test_a_killed_server_and_a_rerun(arguments, tmp_path):
    command = arguments(tmp_path / "run", *ASYNCHRONOUS, "--set", "training.checkpoints.every_steps=10", "--resume")
    with LocalCluster(TASKS, command, tmp_path / "logs") as cluster:
        wait_for(tmp_path / "run" / "checkpoints" / "last", "*.index")
        cluster.processes["ps", 0].kill()
        assert cluster.wait(CHIEF) == 143, cluster.printed(CHIEF)
    with LocalCluster(TASKS, command, tmp_path / "again") as cluster:
        assert cluster.wait(CHIEF) == 0, cluster.printed(CHIEF)
        assert "resuming" in cluster.printed(CHIEF)
    assert len(Run.open(tmp_path / "run").history()) == 3
