# SPDX-License-Identifier: Apache-2.0
"""Manifests and scripts: their fields, the commands in them, and the TF_CONFIG that they make."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import typer
import yaml

from tf_crossdistil.cli.app import app
from tf_crossdistil.config import Training

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "tf_crossdistil" / "deploy"
PAGE = ROOT / "docs" / "cluster.md"


def train_options(words: list[str]) -> dict:
    """What our own command line makes of a command; it raises where the command is wrong."""
    assert words[:2] == ["crossdistil", "train"], words
    command = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    with command.make_context("train", words[2:]) as context:
        return context.params


def strategy(options: dict) -> str:
    (override,) = options["overrides"]
    key, value = override.split("=")
    assert key == "training.strategy"
    return Training(strategy=value).strategy


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "expected", "replicas"),
    [
        ("tfjob.yaml", "multi_worker", {"Worker": 2}),
        ("tfjob-parameter-server.yaml", "parameter_server", {"Chief": 1, "Worker": 2, "PS": 2}),
    ],
)
def test_tfjob(name, expected, replicas):
    (job,) = documents(name)
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert job["spec"]["runPolicy"]["cleanPodPolicy"] == "Running"
    tasks = job["spec"]["tfReplicaSpecs"]
    assert {kind: task["replicas"] for kind, task in tasks.items()} == replicas
    for task in tasks.values():
        assert task["restartPolicy"] == "ExitCode"
        pod = task["template"]["spec"]
        (container,) = pod["containers"]
        assert container["name"] == "tensorflow"
        options = train_options(container["command"])
        assert strategy(options) == expected
        assert options["resume"]
        check_volumes(pod, options)


def check_volumes(pod: dict, options: dict) -> None:
    """All paths are on the shared volume."""
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert [volume["name"] for volume in pod["volumes"]] == [mount["name"]]
    for path in (options["config"], options["data"], options["run"]):
        assert Path(mount["mountPath"]) in Path(path).parents


def test_statefulset_fields():
    service, stateful = documents("statefulset.yaml")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (stateful["apiVersion"], stateful["kind"]) == ("apps/v1", "StatefulSet")
    assert service["spec"]["clusterIP"] == "None"
    spec = stateful["spec"]
    assert spec["serviceName"] == service["metadata"]["name"]
    assert spec["podManagementPolicy"] == "Parallel"
    labels = spec["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == spec["selector"]["matchLabels"] == labels
    (container,) = spec["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "REPLICAS", "value": str(spec["replicas"])}]
    assert [port["port"] for port in service["spec"]["ports"]] == [port["containerPort"] for port in container["ports"]]


def program(folder: Path, name: str, text: str) -> None:
    """A stand-in on the PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def stateful_set(folder: Path, train: str, pod: str) -> subprocess.Popen:
    """The container's script in a pod of that name, with a stand-in for the command."""
    program(folder / "programs", "crossdistil", train)
    (container,) = documents("statefulset.yaml")[1]["spec"]["template"]["spec"]["containers"]
    environment = os.environ | {
        "PATH": f"{folder / 'programs'}:{os.environ['PATH']}",
        "HOSTNAME": pod,
        "REPLICAS": "3",
        "OUT": str(folder / "out"),
    }
    return subprocess.Popen([*container["command"], *container["args"]], env=environment)


@pytest.mark.parametrize("code", [1, 2, 143])
def test_statefulset_script(tmp_path, code):
    process = stateful_set(tmp_path, f'printf "%s\\n" "$TF_CONFIG" "$@" > "$OUT"; exit {code}', "crossdistil-2")
    assert process.wait(timeout=20) == code
    config, *words = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    service = documents("statefulset.yaml")[0]["metadata"]["name"]
    assert json.loads(config) == {
        "cluster": {"worker": [f"crossdistil-{index}.{service}:2222" for index in range(3)]},
        "task": {"type": "worker", "index": 2},
    }
    options = train_options(["crossdistil", *words])
    assert strategy(options) == "multi_worker"
    assert options["resume"]
    check_volumes(documents("statefulset.yaml")[1]["spec"]["template"]["spec"], options)


def test_statefulset_hands_sigterm_on(tmp_path):
    train = 'trap "sleep 0.3; exit 143" TERM; touch "$OUT"; while true; do sleep 0.05; done'
    process = stateful_set(tmp_path, train, "crossdistil-0")
    wait_until((tmp_path / "out").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143


def test_statefulset_stays_when_training_has_ended(tmp_path):
    process = stateful_set(tmp_path, 'touch "$OUT"', "crossdistil-0")
    wait_until((tmp_path / "out").exists)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"), [(143, "", True), (143, "19", True), (143, "20", False), (0, "", False), (1, "", False)]
)
def test_sbatch_script(tmp_path, code, restarts, requeued):
    programs = tmp_path / "programs"
    program(
        programs, "scontrol", '[ "$1" = show ] && printf "node7\\nnode9\\n"; [ "$1" = requeue ] && echo "$2" > "$OUT/requeued"'
    )
    program(programs, "srun", 'shift; for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; code=$?; done; exit $code')
    program(programs, "crossdistil", f'printf "%s\\n" "$TF_CONFIG" "$@" > "$OUT/$SLURM_PROCID"; exit {code}')
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "OUT": str(tmp_path),
        "SLURM_JOB_ID": "41234",
        "SLURM_JOB_NODELIST": "node[7,9]",
        "SLURM_RESTART_COUNT": restarts,
    }
    command = ["bash", str(DEPLOY / "train.sbatch"), "my config.yaml", "prepared", "runs/1"]
    assert subprocess.run(command, env=environment, timeout=20, check=False).returncode == code
    for index in (0, 1):
        config, *words = (tmp_path / str(index)).read_text(encoding="utf-8").splitlines()
        assert json.loads(config) == {
            "cluster": {"worker": ["node7:21234", "node9:21234"]},
            "task": {"type": "worker", "index": index},
        }
        options = train_options(["crossdistil", *words])
        assert (options["config"], options["data"], options["run"]) == (
            Path("my config.yaml"),
            Path("prepared"),
            Path("runs/1"),
        )
        assert strategy(options) == "multi_worker"
        assert options["resume"]
    assert (tmp_path / "requeued").exists() is requeued


def test_sbatch_options_and_wrong_use():
    text = (DEPLOY / "train.sbatch").read_text(encoding="utf-8")
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))
    assert directives["ntasks-per-node"] == "1"
    assert directives["signal"] == "TERM@120"
    assert "requeue" in directives
    assert text.index("#SBATCH") < text.index("\nif ")
    ended = subprocess.run(["bash", str(DEPLOY / "train.sbatch")], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stderr) == (2, "usage: sbatch train.sbatch CONFIG DATA RUN\n")


def test_the_page():
    text = PAGE.read_text(encoding="utf-8")
    code = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    trains = [train_options(shlex.split(line)) for line in code if line.startswith("crossdistil train")]
    assert [strategy(options) for options in trains] == ["mirrored", "multi_worker", "parameter_server"]
    configs = [
        json.loads(shlex.split(line)[1].removeprefix("TF_CONFIG=")) for line in code if line.startswith("export TF_CONFIG=")
    ]
    assert [sorted(config["cluster"]) for config in configs] == [["worker"], ["chief", "ps", "worker"]]
    named = set(re.findall(r"tf_crossdistil/deploy/([\w.-]+)", text)) | set(
        re.findall(r"^\| `([\w.-]+\.(?:yaml|sbatch))` \|", text, re.MULTILINE)
    )
    assert named == {path.name for path in DEPLOY.iterdir() if path.suffix in (".yaml", ".sbatch")}
