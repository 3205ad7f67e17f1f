# SPDX-License-Identifier: Apache-2.0
"""Runs on an object store."""

import functools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.pipeline import run_pipeline
from pipelines.preprocess import main, prepare
from pipelines.runs import progress
from pipelines.runs.failures import has_failed, recorded_failure
from pipelines.runs.manifest import Run
from pipelines.runs.progress import RowCounter
from pipelines.runs.sink import GzipWriters
from pipelines.runs.storage import BeamPath, open_prepared, run_path
from tests.pipelines.runs.object_store import ObjectStore, below
from tf_crossdistil.cli import data_commands
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.schema import PreparedData

LOGS = "user,finish,like\n" + "".join(f"u{row % 40},{row % 2},{row % 3 == 0:d}\n" for row in range(400))


@pytest.fixture
def store() -> Iterator[dict[str, tuple[bytes, float]]]:
    ObjectStore.put("store://logs/day=1/a.csv", LOGS.encode())
    yield ObjectStore.objects
    ObjectStore.objects.clear()
    ObjectStore.full = False


@pytest.fixture
def output(store: dict[str, tuple[bytes, float]], experiment: Callable[..., Experiment]) -> PreparedData:
    return prepare(experiment(), ["store://logs/day=*/*.csv"], "store://bucket/data", quiet=True)


_listeners: list[list[str]] = []


@functools.cache
def listen_to_writes() -> None:
    """Audit hooks stay for good, so there is one, which listens while a test does."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            opened_to_write = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (event == "open" and opened_to_write) or event in ("os.mkdir", "os.rename"):
            for listener in _listeners:
                listener.append(str(arguments[0]))

    sys.addaudithook(note)


@pytest.fixture
def local_writes() -> Iterator[list[str]]:
    """The paths that this process writes on this machine."""
    listen_to_writes()
    _listeners.append([])
    yield _listeners[-1]
    _listeners.pop()


def test_a_whole_run_there_leaves_nothing_here(
    store: dict[str, Any], experiment: Callable[..., Experiment], tmp_path: Path, local_writes: list[str]
) -> None:
    data = prepare(experiment(), ["store://logs/day=*/*.csv"], "store://bucket/data", quiet=True)
    # Beam makes an empty folder for a moment; Python may keep what it compiles.
    assert [path for path in local_writes if not re.search("__pycache__|beam-pipeline-temp", path)] == []
    prepare(experiment(), ["store://logs/day=*/*.csv"], tmp_path, quiet=True)
    assert any("LATEST" in path for path in local_writes), "the listener hears"
    here = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert below("store://bucket/data") == here
    assert isinstance(data.directory, BeamPath) and data.rows("train")


def test_a_second_run_finds_it_done(
    output: PreparedData, experiment: Callable[..., Experiment], capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict(ObjectStore.objects)
    assert prepare(experiment(), ["store://logs/day=1/a.csv"], "store://bucket/data") == output
    assert "nothing to do" in capsys.readouterr().err
    assert {path: made for path, made in ObjectStore.objects.items() if not path.endswith("LATEST")} == {
        path: made for path, made in before.items() if not path.endswith("LATEST")
    }


def test_its_vocabulary_serves_another_run(output: PreparedData, experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    (tmp_path / "logs.csv").write_text(LOGS.replace("u1,", "new,"))
    data = prepare(experiment(), [f"{tmp_path}/logs.csv"], tmp_path / "out", vocabulary_from="store://bucket/data", quiet=True)
    assert data.metadata.vocabulary_from == output.metadata.run
    assert data.vocabulary_file("user").read_bytes() == output.vocabulary_file("user").read_bytes()


def test_inspect_shows_it(output: PreparedData, capsys: pytest.CaptureFixture[str]) -> None:
    data_commands.inspect("store://bucket/data")
    assert f"400 of 400 rows from 1 file, 0.0 MiB in store://bucket/data/run={output.metadata.run}" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["store://bucket/other", "store://bucket/data/run=0"])
def test_what_is_not_there_is_one_sentence(output: PreparedData, path: str) -> None:
    with pytest.raises(CrossDistilError, match=path):
        open_prepared(run_path(path))


def test_a_lost_object_is_noticed_and_made_again(output: PreparedData, experiment: Callable[..., Experiment]) -> None:
    whole = below(str(output.directory))
    lost = next(path for path in ObjectStore.objects if "part-" in path)
    del ObjectStore.objects[lost]
    del whole[lost.removeprefix(f"{output.directory}/")]
    with pytest.raises(CrossDistilError, match=f"{lost} is missing"):
        open_prepared(run_path("store://bucket/data"))
    made = prepare(experiment(), ["store://logs/day=1/a.csv"], "store://bucket/data", quiet=True)
    assert below(str(output.directory)) == whole
    assert made.directory.name == f"{output.directory.name}-2" and open_prepared(run_path("store://bucket/data")) == made
    assert lost.removeprefix(f"{output.directory}/") in below(str(made.directory))


@pytest.mark.parametrize("file", ["metadata.json", "part-00000.tfrecord.gz"])
def test_a_store_that_does_not_answer_is_no_damage(
    file: str, output: PreparedData, experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(ObjectStore.objects)
    usual: dict[str, Callable[..., Any]] = {"open": ObjectStore.open, "_list": ObjectStore._list}

    def refuse(name: str) -> Callable[..., Any]:
        def call(self: ObjectStore, path: str, *rest: Any) -> Any:
            if path.endswith(file) or (name == "_list" and "tag=" in path):
                raise RuntimeError("503 try again later")
            return usual[name](self, path, *rest)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, *(("open", refuse("open")) if file == "metadata.json" else ("_list", refuse("_list"))))
        with pytest.raises(CrossDistilError, match="cannot read store://bucket/data/run="):
            prepare(experiment(), ["store://logs/day=1/a.csv"], "store://bucket/data", quiet=True)
    assert ObjectStore.objects == before


def test_a_lost_document_is_damage(output: PreparedData, experiment: Callable[..., Experiment]) -> None:
    del ObjectStore.objects[f"{output.directory}/metadata.json"]
    made = prepare(experiment(), ["store://logs/day=1/a.csv"], "store://bucket/data", quiet=True)
    assert made.directory.name == f"{output.directory.name}-2"


def test_a_worker_of_a_run_taken_away_notices(store: dict[str, Any]) -> None:
    """Nothing else would tell it: whatever the name, a store takes the object."""
    run = Run(run_path("store://bucket/data"), "0")
    token = run.begin()
    counter = RowCounter(run.directory, "encode", 0, token)
    run.discard()
    assert has_failed(run.directory, token)
    with recorded_failure(run.directory, "encode-00000", token), GzipWriters(run.directory) as writers:
        writers.open("train/tag=0/part-00000.tfrecord.gz", "train", "0").append(b"late", 1)
        counter.add(1)
        counter.finish()
        raise AssertionError("the worker went on")
    assert not below("store://bucket")


def test_a_full_store_publishes_nothing(
    output: PreparedData, experiment: Callable[..., Experiment], write_config: Callable[[dict | None], Path], capfd: Any
) -> None:
    ObjectStore.put("store://logs/day=1/a.csv", LOGS.replace("u1,", "u2,").encode())
    before = dict(ObjectStore.objects)
    ObjectStore.full = True
    assert main([str(write_config(None)), "--input", "store://logs/day=1/a.csv", "--output", "store://bucket/data"]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "cannot write store://bucket/data" in error and "quota exceeded" in error
    assert ObjectStore.objects == before


def test_unfinished_runs_of_others_are_left_until_they_are_old(
    output: PreparedData, experiment: Callable[..., Experiment], capsys: pytest.CaptureFixture[str]
) -> None:
    young, old = "store://bucket/data/run=aaaaaaaaaaaa/work/begun", "store://bucket/data/run=bbbbbbbbbbbb/work/begun"
    ObjectStore.put(young, b"")
    ObjectStore.objects[old] = b"", time.time() - 25 * 3600
    ObjectStore.objects[f"{old}.part"] = b"", time.time() - 25 * 3600
    # A worker that outlived its run must not take the published run along.
    late = f"{output.directory}/work/late.part"
    ObjectStore.objects[late] = b"", time.time() - 25 * 3600
    prepare(experiment(), ["store://logs/day=1/a.csv"], "store://bucket/data")
    assert "run=aaaaaaaaaaaa is unfinished" in capsys.readouterr().err
    assert young in ObjectStore.objects and not [path for path in ObjectStore.objects if "bbbbbbbbbbbb" in path]
    assert open_prepared(run_path("store://bucket/data")) == output


def test_a_job_whose_run_another_begins_anew_leaves_it_to_the_other(
    store: dict[str, Any], experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[str, Any] = {}

    def run_too_late(job: Any, options: Any) -> None:
        Run(run_path("store://bucket/data"), job.run.name.removeprefix("run=")).begin()
        begun.update(store)
        run_pipeline(job, options)

    monkeypatch.setattr("pipelines.preprocess.run_pipeline", run_too_late)
    with pytest.raises(CrossDistilError, match="another job has begun store://bucket/data/run="):
        prepare(experiment(), ["store://logs/day=1/a.csv"], "store://bucket/data", global_shuffle=True, quiet=True)
    assert store == begun and below("store://bucket/data")


def test_a_failed_attempt_leaves_the_file_of_another_attempt(store: dict[str, Any]) -> None:
    run = Run(run_path("store://bucket/data"), "0")
    run.begin()
    path = "train/tag=0/part-00000.tfrecord.gz"
    with GzipWriters(run.directory) as writers:
        writers.open(path, "train", "0").append(b"whole", 1)
    whole = below(str(run.directory))
    with pytest.raises(ZeroDivisionError), GzipWriters(run.directory) as writers:
        writers.open(path, "train", "0").append(bytes(1 << 20), 1)
        _ = 1 / 0
    assert below(str(run.directory)) == whole


def test_progress_is_noted_now_and_then_and_at_the_end(store: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(run_path("store://bucket/data"), "0")
    counter = RowCounter(run.directory, "encode", 3, run.begin())
    note = f"{run.directory}/work/encode-00003.rows"
    clock = [time.monotonic()]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    notes = []
    for done in (0.25, 0.5, 0.99, 1.0, 1.0):
        clock[0] += 4.0
        counter.add(5, done)
        notes.append(ObjectStore.objects.get(note))
    assert notes[0] is notes[1] is None and notes[2] is notes[3] is notes[4], "a store allows about one write a second"
    assert notes[2] and notes[2][0] == b"15 0.9900\n"
    counter.finish()
    assert ObjectStore.objects[note][0] == b"25 1.0000\n"


@pytest.mark.parametrize("path, says", [("nowhere://x/y", "no file system"), ("store://x/*", r"holds '\*'")])
def test_places_that_cannot_be_are_wrong_use(path: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        run_path(path)


def test_paths_of_this_machine_stay_paths(tmp_path: Path) -> None:
    assert run_path(str(tmp_path)) == tmp_path
    path = run_path("store://bucket/data/") / "run=0" / "LATEST"
    assert (str(path), path.name, str(path.parent)) == (
        "store://bucket/data/run=0/LATEST",
        "LATEST",
        "store://bucket/data/run=0",
    )
