# SPDX-License-Identifier: Apache-2.0
"""Preparing again what an earlier run has made, left unfinished, or made before it was damaged."""

import errno
import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.pipeline import run_pipeline
from pipelines.preprocess import prepare
from pipelines.runs.failures import has_failed, recorded_failure
from pipelines.runs.manifest import Run
from pipelines.runs.progress import RowCounter
from pipelines.runs.reports import RangeReport, read_ranges, write_range
from tests.pipelines.good_logs import GOOD
from tests.pipelines.written_files import contents
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData

Prepare = Callable[..., PreparedData]


@pytest.fixture(scope="module")
def prepare_into(experiment: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Prepares the same logs into a directory, by the smallest configuration with other sections."""
    logs = tmp_path_factory.mktemp("logs") / "logs.csv"
    logs.write_text(GOOD)

    def make(output: Path, force: bool = False, global_shuffle: bool = False, **sections: Any) -> PreparedData:
        return prepare(experiment(**sections), [str(logs)], output, force=force, global_shuffle=global_shuffle)

    return make


@pytest.fixture
def data(published: PreparedData, tmp_path: Path) -> PreparedData:
    """A run to do damage to."""
    shutil.copytree(published.directory.parent, tmp_path, dirs_exist_ok=True)
    return PreparedData.open(tmp_path)


@pytest.fixture(scope="module")
def published(prepare_into: Prepare, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_into(tmp_path_factory.mktemp("prepared"))


def test_a_complete_run_is_not_made_again(
    data: PreparedData, prepare_into: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tmp_path / "LATEST").read_text()
    (tmp_path / "LATEST").write_text("another\n")
    marks = {path: path.stat().st_mtime_ns for path in data.directory.rglob("*")}
    assert prepare_into(tmp_path, training={"epochs": 99}) == data
    assert "nothing to do" in capsys.readouterr().err
    assert (tmp_path / "LATEST").read_text() == before
    assert {path: path.stat().st_mtime_ns for path in data.directory.rglob("*")} == marks


def test_what_a_killed_run_left_is_removed_first(
    published: PreparedData, data: PreparedData, prepare_into: Prepare, tmp_path: Path
) -> None:
    (data.directory / "_SUCCESS").unlink()
    (data.directory / "train" / "tag=00" / "part-99999.tfrecord.gz").write_bytes(b"half")
    (data.directory / ".part-00000.tmp").write_bytes(b"half")
    prepare_into(tmp_path)
    assert contents(tmp_path) == contents(published.directory.parent)


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run / "metadata.json").write_text("{"),
        lambda run: (run / "manifest.json").write_text('{"files": [{}]}'),
        lambda run: (run / "vocabulary" / "user.txt").unlink(),
        lambda run: next(run.glob("train/*/*")).write_bytes(b"short"),
    ],
    ids=["metadata", "manifest", "missing file", "shorter file"],
)
def test_a_damaged_run_is_made_again_beside_it(
    damage: Callable[[Path], object],
    published: PreparedData,
    data: PreparedData,
    prepare_into: Prepare,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(data.directory)
    before = contents(data.directory)
    identity = published.metadata.run
    made = prepare_into(tmp_path)
    assert f"run={identity} is damaged and is made again as {tmp_path}/run={identity}-2" in capsys.readouterr().err
    assert PreparedData.open(tmp_path) == made and made.directory.name == f"run={identity}-2"
    assert made.metadata == published.metadata.model_copy(update={"run": f"{identity}-2"})
    assert {path: content for path, content in contents(made.directory).items() if "json" not in path} == {
        path: content for path, content in contents(published.directory).items() if "json" not in path
    }
    assert contents(data.directory) == before
    assert prepare_into(tmp_path) == made
    assert "nothing to do" in capsys.readouterr().err


def test_a_damaged_run_stays_the_latest_until_another_is_whole(
    data: PreparedData, prepare_into: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data.directory / "vocabulary" / "user.txt").unlink()
    before = contents(tmp_path)
    monkeypatch.setattr("pipelines.preprocess.run_pipeline", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare_into(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("file", ["metadata.json", "manifest.json"])
def test_a_run_that_cannot_be_read_for_a_moment_is_no_damaged_one(
    file: str, data: PreparedData, prepare_into: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(tmp_path)
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == file:
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        with pytest.raises(CrossDistilError, match=f"cannot read .*{file}: Input/output error"):
            prepare_into(tmp_path)
    assert contents(tmp_path) == before
    assert prepare_into(tmp_path) == data


def test_a_complete_run_is_never_begun_anew(data: PreparedData, tmp_path: Path) -> None:
    before = contents(tmp_path)
    with pytest.raises(CrossDistilError, match="is complete by now"):
        Run(tmp_path, data.metadata.run).begin()
    assert contents(tmp_path) == before


def test_the_newest_is_found_when_older_ones_were_removed(data: PreparedData, prepare_into: Prepare, tmp_path: Path) -> None:
    second = prepare_into(tmp_path, force=True)
    shutil.rmtree(data.directory)
    assert prepare_into(tmp_path) == second
    assert prepare_into(tmp_path, force=True).metadata.run == f"{data.metadata.run}-3"


def test_an_attempt_that_was_given_up_leaves_the_next_alone(tmp_path: Path) -> None:
    dead, living = Run(tmp_path, "0"), Run(tmp_path, "0")
    token = dead.begin()
    living.begin()
    before = contents(tmp_path)
    assert has_failed(dead.directory, token) and not has_failed(living.directory)
    with recorded_failure(dead.directory, "encode-00000", token):
        RowCounter(dead.directory, "encode", 0, token).add(1)
    with pytest.raises(CrossDistilError, match=r"begun .* anew"):
        dead.check_current()
    dead.discard()
    assert contents(tmp_path) == before
    living.check_current()
    living.discard()
    assert not contents(tmp_path)


def test_reports_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    Run(tmp_path, "0").begin()
    numbers = [100_000, 99_998, 7, 1_000_000]
    for number in numbers:
        write_range(
            tmp_path / "run=0",
            number,
            RangeReport(path=f"{number}.csv", rows_in=0, dead_letters={}, files=[], sample=[], tallies={}),
        )
    assert [report.path for report in read_ranges(tmp_path / "run=0")] == [f"{number}.csv" for number in sorted(numbers)]


def test_force_makes_it_again_beside_the_published_one(
    data: PreparedData, prepare_into: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readable = []

    def run_and_read(*arguments: Any) -> None:
        readable.append(PreparedData.open(tmp_path))
        run_pipeline(*arguments)
        readable.append(PreparedData.open(tmp_path))

    monkeypatch.setattr("pipelines.preprocess.run_pipeline", run_and_read)
    identity = data.metadata.run
    second = prepare_into(tmp_path, force=True)
    assert readable == [data, data]
    assert (second.metadata.run, second.directory.name) == (f"{identity}-2", f"run={identity}-2")
    assert PreparedData.open(tmp_path) == second
    assert [entry for entry in second.manifest.files if entry.path != "metadata.json"] == [
        entry for entry in data.manifest.files if entry.path != "metadata.json"
    ]
    assert second.metadata == data.metadata.model_copy(update={"run": f"{identity}-2"})
    assert PreparedData.open(data.directory) == data
    assert prepare_into(tmp_path) == second, "the newest is the one that need not be made again"
    third = prepare_into(tmp_path, force=True)
    assert third.metadata.run == f"{identity}-3"
    (third.directory / "metadata.json").write_text("{")
    assert prepare_into(tmp_path) == second
    assert PreparedData.open(tmp_path) == second


def test_force_that_fails_leaves_the_published_one(
    data: PreparedData, prepare_into: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(tmp_path)
    monkeypatch.setattr("pipelines.preprocess.run_pipeline", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare_into(tmp_path, force=True)
    assert contents(tmp_path) == before


def test_force_without_a_complete_run_makes_the_first(
    data: PreparedData, published: PreparedData, prepare_into: Prepare, tmp_path: Path
) -> None:
    (data.directory / "_SUCCESS").unlink()
    assert prepare_into(tmp_path, force=True).metadata.run == published.metadata.run


def test_an_interrupt_after_publication_leaves_what_is_published(
    data: PreparedData, prepare_into: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_latest = Run.make_latest

    def interrupted(run: Run) -> None:
        make_latest(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "make_latest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_into(tmp_path, force=True)
    assert PreparedData.open(tmp_path).metadata.run == f"{data.metadata.run}-2"


def records(data: PreparedData, split: str, tag: str) -> Iterator[bytes]:
    """What comes behind the length of every record."""
    for file in data.record_files(split, tag):
        content = gzip.decompress(file.read_bytes())
        while content:
            end = 16 + int.from_bytes(content[:8], "little")
            yield content[12:end]
            content = content[end:]


def test_shuffled_records_are_another_run_of_the_same_records(
    data: PreparedData, prepare_into: Prepare, tmp_path: Path
) -> None:
    shuffled = prepare_into(tmp_path, global_shuffle=True)
    assert shuffled.metadata.run != data.metadata.run and shuffled.metadata.global_shuffle and not data.metadata.global_shuffle
    for kept in ("counts", "rates", "vocabularies", "inputs"):
        assert getattr(shuffled.metadata, kept) == getattr(data.metadata, kept)
    for split, counts in data.metadata.counts.items():
        for tag in counts:
            before, after = (sorted(records(made, split, tag)) for made in (data, shuffled))
            assert len(before) == counts[tag] and before == after
    assert prepare_into(tmp_path, global_shuffle=True) == shuffled
