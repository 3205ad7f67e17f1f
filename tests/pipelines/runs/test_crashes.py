# SPDX-License-Identifier: Apache-2.0
"""Jobs that are killed, run out of disk, or meet another job: readers notice nothing, and the next run mends it all."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.pipeline import run_pipeline
from pipelines.preprocess import main
from pipelines.runs.lock import LOCK_FILE, locked
from pipelines.runs.sink import GzipWriters
from tests.pipelines.written_files import contents
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData

LOGS = "user,finish,like\n" + "".join(f"u{row % 40},{row % 2},{row % 3 == 0:d}\n" for row in range(300))
# Processes fork from one that has all modules at hand and no thread yet.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pipelines.preprocess"])
CHANGES = {"os.mkdir", "os.rename", "os.remove", "shutil.rmtree"}

Prepare = Callable[[str, Path], list[str]]


@pytest.fixture
def command(tmp_path: Path, write_config: Callable[[dict | None], Path]) -> Prepare:
    """Arguments that prepare yesterday's or today's logs."""
    (tmp_path / "yesterday.csv").write_text(LOGS.replace("u1,", "u2,"))
    (tmp_path / "today.csv").write_text(LOGS)
    config = str(write_config(None))
    return lambda logs, output: [config, "--input", f"{tmp_path}/{logs}.csv", "--output", str(output)]


@pytest.fixture
def output(command: Prepare, tmp_path: Path) -> Path:
    """An output with the run of yesterday's logs."""
    assert main(command("yesterday", tmp_path / "output")) == 0
    return tmp_path / "output"


def run_until(moment: int | None, arguments: list[str], output: str, counted: Any) -> None:
    """Runs a command, and dies when it is about to change something below `output` for the `moment`-th time."""

    def count(event: str, details: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event in CHANGES) and str(details[0]).startswith(output):
            counted.value += 1
            if counted.value == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    sys.exit(main(arguments))


def run_apart(moment: int | None, arguments: list[str], output: Path) -> tuple[int | None, int]:
    """Exit code of a command in a process of its own, and how often it changed something."""
    counted = PROCESSES.Value("i", 0)
    process = PROCESSES.Process(target=run_until, args=(moment, arguments, str(output), counted))
    process.start()
    process.join(60)
    return process.exitcode, counted.value


def check_killed_at(moment: int, command: Prepare, output: Path, undisturbed: dict[str, bytes]) -> None:
    killed = output.with_name(f"killed-{moment}")
    shutil.copytree(output, killed)
    assert run_apart(moment, command("today", killed), killed)[0] == -signal.SIGKILL
    before, after = contents(output), contents(killed)
    assert {path: after[path] for path in before if path != "LATEST"} == {p: before[p] for p in before if p != "LATEST"}
    for success in killed.glob("run=*/_SUCCESS"):
        assert PreparedData.open(success.parent), "what says that it is complete is complete"
    assert PreparedData.open(killed).metadata.run in (before["LATEST"].decode().strip(), undisturbed["LATEST"].decode().strip())
    assert main(command("today", killed)) == 0
    assert contents(killed) == undisturbed


@pytest.fixture
def undisturbed(command: Prepare, output: Path) -> tuple[dict[str, bytes], int]:
    """What an undisturbed run of today's logs leaves, and how many changes it makes."""
    other = output.with_name("undisturbed")
    shutil.copytree(output, other)
    code, changes = run_apart(None, command("today", other), other)
    assert code == 0
    return contents(other), changes


def test_killed_at_any_change_it_leaves_nothing_that_a_reader_would_open(
    command: Prepare, output: Path, undisturbed: tuple[dict[str, bytes], int]
) -> None:
    expected, changes = undisturbed
    publication = range(changes - 2, changes + 1)
    for moment in [*random.Random(0).sample(range(1, changes - 2), 1), *publication]:
        check_killed_at(moment, command, output, expected)


@pytest.mark.slow
def test_killed_at_every_change(command: Prepare, output: Path, undisturbed: tuple[dict[str, bytes], int]) -> None:
    expected, changes = undisturbed
    for moment in range(1, changes + 1):
        check_killed_at(moment, command, output, expected)


class FullDisk:
    """Lets so many files be opened, written and closed, and none afterwards."""

    def __init__(self, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = left
        opened = Path.open

        def open_counted(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if "r" in mode:
                return opened(path, mode, *rest, **options)
            self.use()
            return _CountedFile(opened(path, mode, *rest, **options), self)

        monkeypatch.setattr(Path, "open", open_counted)

    def use(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _CountedFile:
    def __init__(self, file: Any, disk: FullDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, content: bytes) -> int:
        self._disk.use()
        return self._file.write(content)

    def close(self) -> None:
        # A file that cannot be flushed is closed nevertheless, as Python's are.
        if not self._file.closed:
            self._file.close()
            self._disk.use()

    def __enter__(self) -> "_CountedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_full_disk_is_one_sentence_and_nothing_half_published(
    command: Prepare, output: Path, undisturbed: tuple[dict[str, bytes], int], capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(output)
    with pytest.MonkeyPatch.context() as patch:
        disk = FullDisk(10**6, patch)
        shutil.copytree(output, output.with_name("counted"))
        assert main(command("today", output.with_name("counted"))) == 0
    uses = 10**6 - disk.left
    capfd.readouterr()
    for left in [0, *random.Random(1).sample(range(1, uses - 4), 3), *range(uses - 4, uses)]:
        full = output.with_name(f"full-{left}")
        shutil.copytree(output, full)
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(left, patch)
            assert main(command("today", full)) == 1
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and "cannot write" in error and "No space left on device; free some space" in error
        assert {path: content for path, content in contents(full).items() if path in before} == before
        if contents(full) != before:
            name = undisturbed[0]["LATEST"].decode().strip()
            assert PreparedData.open(full / f"run={name}"), "only LATEST was still missing"
    assert main(command("today", full)) == 0
    assert contents(full) == undisturbed[0]


def test_a_second_job_on_one_output_is_turned_away(command: Prepare, output: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = contents(output)
    with locked(output):
        assert main(command("today", output)) == 1
        assert {path: content for path, content in contents(output).items() if path != LOCK_FILE} == before
    error = capfd.readouterr().err
    assert error.endswith(f"error: another job is at work in {output}; wait for it to end, or give another --output\n")
    assert main(command("today", output)) == 0
    assert not (output / LOCK_FILE).exists()


def hold(output: Path, held: Any) -> None:
    with locked(output):
        held.set()
        signal.pause()


def test_the_lock_of_a_killed_job_is_free(command: Prepare, output: Path) -> None:
    held = PROCESSES.Event()
    process = PROCESSES.Process(target=hold, args=(output, held))
    process.start()
    assert held.wait(60)
    with pytest.raises(CrossDistilError), locked(output):
        pass
    process.kill()
    process.join()
    assert (output / LOCK_FILE).exists()
    assert main(command("today", output)) == 0
    assert not (output / LOCK_FILE).exists()


def test_the_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside, entered, overlaps = threading.Lock(), [0], []

    def try_often() -> None:
        for _ in range(300):
            try:
                with locked(tmp_path):
                    if not inside.acquire(blocking=False):
                        overlaps.append(1)
                        continue
                    entered[0] += 1
                    inside.release()
            except CrossDistilError:
                pass

    threads = [threading.Thread(target=try_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entered[0] > 50 and not overlaps
    assert not list(tmp_path.iterdir())


def test_leftovers_of_any_dead_run_are_removed_and_nothing_else(command: Prepare, output: Path) -> None:
    (output / "run=0123456789ab" / "train" / "tag=00").mkdir(parents=True)
    (output / "run=0123456789ab" / "train" / "tag=00" / "part-00000.tfrecord.gz").write_bytes(b"half")
    (output / "run=0123456789ab-2").mkdir()
    (output / ".LATEST.3f").write_bytes(b"")
    others = ["run=of a trained model", "notes"]
    for name in others:
        (output / name).mkdir()
    assert main(command("yesterday", output)) == 0
    kept = {path.name for path in output.iterdir()}
    assert kept == {"LATEST", f"run={(output / 'LATEST').read_text().strip()}", *others}


def test_what_a_worker_left_aside_is_not_published(
    command: Prepare, output: Path, undisturbed: tuple[dict[str, bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_with_zombie(job: Any, options: Any) -> None:
        run_pipeline(job, options)
        (job.run / "work" / "0badc0de.part").write_bytes(b"half")

    monkeypatch.setattr("pipelines.preprocess.run_pipeline", run_with_zombie)
    assert main(command("today", output)) == 0
    assert contents(output) == undisturbed[0]


def test_many_label_combinations_do_not_use_up_open_files(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "work").mkdir()
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        with GzipWriters(tmp_path) as writers:
            for number in range(500):
                writers.open(f"train/tag={number:09b}/part-0.gz", "train", f"{number:09b}").append(b"record", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(writers.entries) == len(list(tmp_path.glob("train/*/part-0.gz"))) == 500


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_that_is_a_file(command: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(command("today", tmp_path / place)) == 1
    assert f"cannot write {tmp_path / place}: " in (error := capfd.readouterr().err)
    assert error.endswith("; give an --output that can be written\n")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_an_output_that_is_forbidden(command: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "output").mkdir(mode=0o500)
    assert main(command("today", tmp_path / "output")) == 1
    assert "Permission denied; give an --output that can be written" in capfd.readouterr().err
