# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, and runs that are taken away while workers are at work."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.runners.interrupts import kept_interrupt
from pipelines.runs.manifest import Run
from pipelines.runs.progress import RowCounter
from pipelines.runs.sink import GzipWriters
from tf_crossdistil.errors import CrossDistilError

LOGS = "user,finish,like\n" + "u1,0,1\n" * 10 + "u7,1,0\n" * 6_000_000


@pytest.mark.parametrize(
    "mode, whole_group",
    [
        ("in_memory", False),
        pytest.param("multi_threading", False, marks=pytest.mark.slow),
        ("multi_processing", True),
    ],
)
def test_interrupt_ends_it_and_publishes_nothing(
    tmp_path: Path, write_config: Callable[[dict | None], Path], mode: str, whole_group: bool
) -> None:
    (tmp_path / "logs.csv").write_text(LOGS)
    command = [sys.executable, "-m", "pipelines.preprocess", str(write_config(None)), "--input", f"{tmp_path}/logs.csv"]
    command += ["--output", f"{tmp_path}/output", f"--direct_running_mode={mode}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(tmp_path.glob("output/run=*/work/*.rows")):
        assert process.poll() is None
        time.sleep(0.02)
    started = time.monotonic()
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    assert printed == "interrupted; nothing was published\n"
    assert time.monotonic() - started < 10
    # Threads that are still in native code may abort while Python shuts down, after all is cleaned up.
    assert process.returncode == 130 if mode == "in_memory" else process.returncode
    assert not list(tmp_path.glob("output/*"))


def wrap(error: BaseException) -> None:
    raise RuntimeError("KeyboardInterrupt [while running 'survey']")


def swallow(error: BaseException) -> None:
    pass


@pytest.mark.parametrize("treat", [wrap, swallow])
def test_an_interrupt_leaves_as_such_whatever_a_runner_makes_of_it(treat: Callable[[BaseException], None]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), kept_interrupt():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            treat(error)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), kept_interrupt():
        _ = 1 / 0


def test_other_threads_leave_signals_alone() -> None:
    handlers = []

    def work() -> None:
        with kept_interrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_a_worker_of_a_run_taken_away_cannot_write(tmp_path: Path) -> None:
    run = Run(tmp_path, "0")
    run.begin()
    counter = RowCounter(run.directory, "encode", 0)
    counter.add(1)
    run.discard()
    with pytest.raises(CrossDistilError):
        counter.add(1)
    with pytest.raises(CrossDistilError), GzipWriters(run.directory) as writers:
        writers.open("train/tag=0/part-00000.tfrecord.gz", "train", "0")
    assert not run.directory.is_dir()


def test_what_a_worker_adds_during_the_removal_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, "0")
    run.begin()
    late = [tmp_path / run.directory.name / f"late-{number}.rows" for number in range(3)]
    remove = os.rmdir

    def remove_late(path: str | Path, **options: int) -> None:
        if str(path) == str(run.directory) and late:
            late.pop().touch()
        remove(path, **options)

    monkeypatch.setattr("os.rmdir", remove_late)
    run.discard()
    assert not late and not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    run = Run(tmp_path, "0")
    run.begin()
    monkeypatch.setattr("os.rmdir", refuse)
    with pytest.raises(CrossDistilError, match="Permission denied"):
        run.begin()
