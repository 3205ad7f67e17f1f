# SPDX-License-Identifier: Apache-2.0
"""Worker processes: they end with their launcher, and what goes wrong in them is told in one sentence."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.graph.survey import SurveyRange
from pipelines.preprocess import prepare
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError

LAUNCHER = """
import os, signal, subprocess, sys
code = "import os, sys; from pipelines.runners.worker import end_with; print('ready', flush=True); end_with(int(sys.argv[1]))"
worker = subprocess.Popen([sys.executable, "-c", code, str(os.getpid())], stdout=subprocess.PIPE)
worker.stdout.readline()
print("ready", flush=True)
signal.pause()
"""


def test_a_worker_ends_with_its_launcher() -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert launcher.stdout is not None and launcher.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    launcher.kill()
    # The worker holds the other end of the pipe for errors.
    assert launcher.communicate(timeout=10) == (b"", b"")


def test_a_worker_whose_launcher_is_gone_ends_at_once() -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    command = [sys.executable, "-m", "pipelines.runners.worker", gone.stdout.decode().strip()]
    assert subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 1


# Python runs this at the start of every process that has its folder on the path: here, of every worker.
BREAKING = """
import os, signal, time
from pipelines.graph import survey

def fail(self, part):
    {fault}

survey.SurveyRange._survey = fail
"""
TWO_PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
SPLIT = {"by": "hash", "key": ["user", "finish"], "fractions": [1, 0, 0]}
TWO_THREADS = ["--direct_running_mode=multi_threading", "--direct_num_workers=2"]


@pytest.fixture
def logs(tmp_path: Path) -> str:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("user,finish,like\n" + "u1,0,1\nu2,1,0\n" * 50)
    return f"{tmp_path}/*.csv"


@pytest.mark.parametrize(
    "fault, told",
    [
        (
            "raise LookupError('no\\nsuch thing')",
            r"while reading .*[ab]\.csv: LookupError: no such thing at .*:6; this is a fault",
        ),
        pytest.param(
            "raise MemoryError",
            r"a worker ran out of memory while reading .*[ab]\.csv \(MemoryError at .*:6\); use fewer workers",
            marks=pytest.mark.slow,
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", "a worker process was killed by SIGKILL, as happens when memory runs out"),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGKILL) if part.index else time.sleep(60)",
            "a worker process was killed by SIGKILL",
            marks=pytest.mark.slow,
            id="one of two",
        ),
        pytest.param("os._exit(3)", "a worker process ended with exit code 3", marks=pytest.mark.slow),
    ],
)
def test_faults_of_worker_processes(
    fault: str,
    told: str,
    logs: str,
    experiment: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BREAKING.format(fault=fault))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CrossDistilError, match=told) as caught:
        prepare(experiment(split=SPLIT), [logs], tmp_path / "output", TWO_PROCESSES, quiet=True)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("output/*"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("step", ["encode.EncodeRange._encode", "settle"])
def test_a_worker_that_dies_later_ends_it_too(
    step: str, logs: str, experiment: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Beam's launcher would wait for ever, since it expects no output."""
    module = "encode" if "." in step else "survey"
    target = step if "." in step else f"survey.{step}"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, signal\nfrom pipelines.graph import {module}\n"
        f"def fail(*_):\n    os.kill(os.getpid(), signal.SIGKILL)\n{target} = fail\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CrossDistilError, match="a worker process was killed by SIGKILL"):
        prepare(experiment(split=SPLIT), [logs], tmp_path / "output", TWO_PROCESSES, quiet=True)
    assert not list(tmp_path.glob("output/*"))


@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_it_too(
    logs: str, experiment: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(5)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CrossDistilError, match="a worker process ended with exit code 5"):
        prepare(experiment(split=SPLIT), [logs], tmp_path / "output", TWO_PROCESSES, quiet=True)


@pytest.mark.parametrize("mode", [[], TWO_THREADS], ids=["in_memory", "multi_threading"])
def test_faults_in_the_launcher_s_own_process(
    mode: list[str],
    logs: str,
    experiment: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("no\nsuch thing")

    monkeypatch.setattr(SurveyRange, "_survey", fail)
    with pytest.raises(
        CrossDistilError, match=r"while reading .*[ab]\.csv: LookupError: no such thing at .*worker_processes\.py:\d+; this"
    ):
        prepare(experiment(), [logs], tmp_path / "output", mode, quiet=True)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.glob("output/*"))
