"""Preparing again what an earlier run has made, left unfinished, or made before it was damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.preprocess import prepare
from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import PreparedData

Prepare = Callable[..., PreparedData]


@pytest.fixture(scope="module")
def prepare_into(experiment: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Prepares the same logs into a directory, by the smallest configuration with other sections."""
    logs = tmp_path_factory.mktemp("logs") / "logs.csv"
    logs.write_text("user,finish,like\n" + "".join(f"u{row % 40},{row % 2},{row % 3 == 0:d}\n" for row in range(200)))

    def make(output: Path, **sections: Any) -> PreparedData:
        return prepare(experiment(**sections), [str(logs)], output)

    return make


@pytest.fixture
def data(published: PreparedData, tmp_path: Path) -> PreparedData:
    """A run to do damage to."""
    shutil.copytree(published.directory.parent, tmp_path, dirs_exist_ok=True)
    return PreparedData.open(tmp_path)


@pytest.fixture(scope="module")
def published(prepare_into: Prepare, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_into(tmp_path_factory.mktemp("prepared"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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
def test_a_damaged_run_is_made_again(
    damage: Callable[[Path], object],
    published: PreparedData,
    data: PreparedData,
    prepare_into: Prepare,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(data.directory)
    prepare_into(tmp_path)
    assert "nothing to do" not in capsys.readouterr().err
    assert contents(tmp_path) == contents(published.directory.parent)
