# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed without warning: readers notice nothing, and the next run makes what the killed one should have made."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pipelines.preprocess import prepare
from tests.pipelines.varied_logs import SECTIONS, write_logs
from tests.pipelines.written_files import digests
from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import PreparedData

# The command line, listing what it changes in the output; it kills itself ahead of the change with a given number.
DYING = """
import os, signal, sys
output, listing, last, *arguments = sys.argv[1:]
changes = open(listing, "w", buffering=1)
count = 0

def watch(event, values):
    global count
    path = str(values[1 if event == "os.rename" else 0]) if values else ""
    writes = event == "open" and path.startswith(output) and (values[1] is None or "w" in values[1])
    if writes or event == "os.rename" and path.startswith(output) or event in ("os.remove", "os.rmdir") and count:
        changes.write(f"{event} {path}\\n")
        if count == int(last):
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

from pipelines.preprocess import main
sys.addaudithook(watch)
sys.exit(main(arguments))
"""
RANDOM = random.Random(20220222)
SECONDS = 60
# In the names of the files that a run begins its stages with.
MARKS = ("/survey-", "/encode-", "/sample.jsonl", "/_SUCCESS", "/LATEST")


@dataclass(frozen=True)
class Case:
    """An output with an earlier run of other logs, what it holds, and what it must hold after a further run of `logs`."""

    experiment: Experiment
    config: Path
    logs: str
    earlier: Path
    finished: dict[str, str]

    def output(self, folder: Path) -> Path:
        """A copy of the output with the earlier run."""
        return Path(shutil.copytree(self.earlier, folder / "output"))

    def arguments(self, output: Path, *options: str) -> list[str]:
        return [str(self.config), "--input", self.logs, "--output", str(output), *options]


@pytest.fixture(scope="module")
def case(experiment: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    config = experiment(**SECTIONS)
    (folder / "config.yaml").write_text(yaml.safe_dump(SECTIONS))
    (folder / "logs").mkdir()
    logs = write_logs(folder / "logs", large=60_000)
    prepare(config, [f"{folder}/logs/c.csv"], folder / "earlier", quiet=True)
    shutil.copytree(folder / "earlier", folder / "undisturbed")
    prepare(config, [logs], folder / "undisturbed", quiet=True)
    return Case(config, folder / "config.yaml", logs, folder / "earlier", digests(folder / "undisturbed"))


def check_nothing_is_published(case: Case, output: Path) -> None:
    """No `_SUCCESS` in what is new, and the earlier run is the latest, whole."""
    before, after = digests(case.earlier), digests(output)
    assert before.items() <= after.items()
    assert not [path for path in after if path.endswith("_SUCCESS") and path not in before]
    assert PreparedData.open(output).directory.name == PreparedData.open(case.earlier).directory.name


def check_the_next_run_makes_it_good(case: Case, output: Path) -> None:
    prepare(case.experiment, [case.logs], output, quiet=True)
    assert digests(output) == case.finished


def die(case: Case, output: Path, last: int, *options: str) -> tuple[int, list[str]]:
    """Runs the command line up to change `last`; gives the exit code and the changes."""
    listing = output.with_name("changes")
    command = [sys.executable, "-c", DYING, str(output), str(listing), str(last), *case.arguments(output, *options)]
    finished = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    return finished.returncode, listing.read_text().splitlines()


@pytest.fixture(scope="module")
def stages(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, range]:
    """The numbers of the changes that a run makes in each of its stages, when nobody kills it."""
    code, changes = die(case, case.output(tmp_path_factory.mktemp("listed")), -1)
    assert code == 0
    named = {name: [number for number, line in enumerate(changes) if name in line] for name in MARKS}
    survey, encode, sample, success, latest = (named[name] for name in MARKS)
    return {
        "survey": range(survey[0], encode[0]),
        "encode": range(encode[0], sample[0]),
        "publication": range(sample[0], success[-1] + 1),
        "after": range(success[-1] + 1, latest[-1] + 1),
    }


@pytest.mark.parametrize(
    "stage, share",
    [
        pytest.param("survey", RANDOM.random(), marks=pytest.mark.slow),
        pytest.param("encode", RANDOM.random(), marks=pytest.mark.slow),
        ("publication", RANDOM.random()),
        *(
            pytest.param(stage, RANDOM.random(), marks=pytest.mark.slow)
            for stage in ("survey", "encode", "encode", "encode", "publication", "publication", "publication")
        ),
        pytest.param("publication", 0.999, marks=pytest.mark.slow),
    ],
)
def test_killed_in_one_process(case: Case, stages: dict[str, range], stage: str, share: float, tmp_path: Path) -> None:
    output = case.output(tmp_path)
    numbers = stages[stage]
    code, changes = die(case, output, numbers[int(share * len(numbers))])
    assert code == -signal.SIGKILL
    assert any("/run=" in line for line in changes)
    check_nothing_is_published(case, output)
    check_the_next_run_makes_it_good(case, output)


@pytest.mark.slow
def test_killed_between_success_and_latest(case: Case, stages: dict[str, range], tmp_path: Path) -> None:
    """The run is complete then, and only its turn as the latest is left for the next."""
    output = case.output(tmp_path)
    code, _ = die(case, output, stages["after"][-1])
    assert code == -signal.SIGKILL
    assert PreparedData.open(output).directory.name == PreparedData.open(case.earlier).directory.name
    check_the_next_run_makes_it_good(case, output)


@pytest.mark.parametrize(
    "step, delay, kill",
    [
        pytest.param("survey", 0.1 * RANDOM.random(), os.killpg, marks=pytest.mark.slow),
        ("encode", 0.15 * RANDOM.random(), os.kill),
        *(
            pytest.param(step, 0.15 * RANDOM.random(), kill, marks=pytest.mark.slow)
            for step in ("survey", "encode", "encode")
            for kill in (os.kill, os.killpg)
        ),
    ],
)
def test_killed_with_worker_processes(
    case: Case, step: str, delay: float, kill: Callable[[int, int], None], tmp_path: Path
) -> None:
    """Workers die with their launcher, so that nobody writes where the next run does."""
    output = case.output(tmp_path)
    modes = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    command = [sys.executable, "-m", "pipelines.preprocess", *case.arguments(output, *modes)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    ends = time.monotonic() + SECONDS
    while not list(output.glob(f"run=*/work/{step}-*.rows")):
        assert process.poll() is None and time.monotonic() < ends
        time.sleep(0.01)
    time.sleep(delay)
    kill(process.pid, signal.SIGKILL)
    # The workers hold the other end of this pipe too: it ends with the last of them.
    process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL
    check_nothing_is_published(case, output)
    check_the_next_run_makes_it_good(case, output)
