# SPDX-License-Identifier: Apache-2.0
"""Exports that are killed or stopped at any moment: no half version, and nothing that stays behind for long."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.export.stand_ins import is_whole, model_files, names, without_tensorflow
from tf_crossdistil.export import publish, versions
from tf_crossdistil.export.publish import export

SECONDS = 20.0


@pytest.fixture
def quick(monkeypatch, exported):
    """A version to copy; exports take no time."""
    without_tensorflow(monkeypatch, exported / "1")
    return exported / "1"


# Where the process stands when it is killed, as the name that it is about to call or comes from.
BEFORE = {
    "before anything is saved": (publish, "ServedModel"),
    "before the warm-up": (publish, "write_warm_up"),
    "before the check": (publish, "check_answers"),
    "before the card": (publish, "describe"),
    "before it is published": (publish, "publish"),
    "before it is renamed": (versions, "_flush_folder"),
    "before old versions are pruned": (publish, "prune"),
    "before pruned versions are deleted": (shutil, "rmtree"),
}
PUBLISHED = {"before old versions are pruned": ["1", "2", "3"], "before pruned versions are deleted": ["2", "3"]}


def killed_when_it_calls(module, name, run, target, **arguments):
    """A process that exports, and gets SIGKILL as soon as it calls a function."""
    reached = multiprocessing.get_context("fork").Event()

    def child():
        def wait(*_, **__):
            reached.set()
            time.sleep(SECONDS)

        setattr(module, name, wait)
        export(run, target, **arguments)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert reached.wait(SECONDS), f"{name} was never called"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("point", BEFORE)
def test_a_killed_export_leaves_no_half_version_and_the_next_clears_the_rest(quick, trained, tmp_path, point):
    for _ in range(2):
        export(trained, tmp_path)
    killed_when_it_calls(*BEFORE[point], trained, tmp_path, keep=2)
    visible = [name for name in names(tmp_path) if not name.startswith(".")]
    assert visible == PUBLISHED.get(point, ["1", "2"])
    assert all(is_whole(tmp_path / name, quick) for name in visible)
    assert len(names(tmp_path)) == len(visible) + 1, "the killed process had no time to clean up"
    following = export(trained, tmp_path).directory.name
    assert names(tmp_path) == [*visible, following]


def test_an_export_at_work_is_not_disturbed(quick, trained, tmp_path, monkeypatch):
    def another_export(*arguments):
        monkeypatch.undo()
        without_tensorflow(monkeypatch, quick)
        assert export(trained, tmp_path).directory.name == "1"
        return 0.0

    monkeypatch.setattr(publish, "check_answers", another_export)
    first = export(trained, tmp_path)
    assert first.directory.name == "2" and is_whole(first.directory, quick)
    assert names(tmp_path) == ["1", "2"]


def test_what_cannot_be_cleared_is_told(quick, trained, tmp_path, monkeypatch):
    (tmp_path / ".export-dead").mkdir()
    rmtree = shutil.rmtree

    def refused(path, *arguments, **options):
        if path.name == ".export-dead":
            raise PermissionError(13, "Permission denied")
        rmtree(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", refused)
    warnings = export(trained, tmp_path).warnings
    sentence = f"{tmp_path}/.export-dead of an earlier export stays: Permission denied; remove it when no export is at work"
    assert sentence in warnings


def test_an_error_leaves_nothing(quick, trained, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "check_answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(trained, tmp_path)
    assert names(tmp_path) == []


RACE = """
import sys
from pathlib import Path
from tf_crossdistil.export.versions import clear_dead, find_versions, only_publisher, prune, publish, workspace
target, rounds = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(rounds):
    assert clear_dead(target) == []
    with workspace(target) as aside:
        ready = aside / "version"
        ready.mkdir()
        for name in ("saved_model.pb", "card"):
            (ready / name).write_text("whole")
        with only_publisher(target):
            made = publish(ready, target, max(find_versions(target), default=0) + 1)
        assert prune(target, 5, made, aside) == []
    print(made.name)
"""


def test_many_processes_that_export_prune_and_clear_at_once(tmp_path):
    rounds = 25
    command = [sys.executable, "-c", RACE, str(tmp_path), str(rounds)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, results
    made = sorted(int(name) for out, _ in results for name in out.split())
    assert made == list(range(1, 4 * rounds + 1))
    kept = names(tmp_path)
    assert str(4 * rounds) in kept and 5 <= len(kept) <= 8
    assert all((tmp_path / name / "card").read_text() == "whole" for name in kept)


COMMAND = """
import sys, time
from pathlib import Path
from tf_crossdistil.startup import load_tensorflow
load_tensorflow()
from tf_crossdistil.export import publish
original = publish.check_answers
def slowly(*arguments):
    print("checking", flush=True)
    time.sleep(20)
    return original(*arguments)
publish.check_answers = slowly
from tf_crossdistil.cli import main
sys.argv = ["crossdistil", "export", "--run", sys.argv[1], "--to", sys.argv[2]]
main.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, code, words",
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM; an unfinished version is not published\n"),
        (signal.SIGINT, 130, "interrupted; later commands will not use what was unfinished\n"),
    ],
)
def test_a_command_that_is_told_to_end_cleans_up(trained, tmp_path, number, code, words):
    command = [sys.executable, "-c", COMMAND, str(trained.directory), str(tmp_path / "shared")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "checking\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, names(tmp_path / "shared")) == (code, [])
    assert err.endswith(words) and "Traceback" not in err


@pytest.mark.slow
def test_a_real_export_killed_while_it_is_checked(trained, exported, tmp_path):
    target = tmp_path / "shared"
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(trained.directory), str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "checking\n"
    process.kill()
    process.wait()
    assert [name for name in names(target) if not name.startswith(".")] == [] != names(target)
    assert model_files(export(trained, target).directory) == model_files(exported / "1")
    assert names(target) == ["1"]
