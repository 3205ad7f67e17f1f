"""How versions are numbered, refused, pruned and seen by a server that polls their folder."""

import json
import os
import re
import resource
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.export.stand_ins import DIFFERENCE, is_whole, names, without_tensorflow
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.export import publish
from tf_crossdistil.export.publish import export
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.models.run import Run


@pytest.fixture
def quick(monkeypatch, exported):
    """A version to copy; exports take no time."""
    without_tensorflow(monkeypatch, exported / "1")
    return exported / "1"


def test_versions_count_up_and_are_never_overwritten(quick, trained, tmp_path):
    target = tmp_path / "some/where/shared"
    assert export(trained, target).directory == target / "1"
    assert export(trained, target, version=7).directory == target / "7"
    assert export(trained, target).directory == target / "8"
    (target / "0012").mkdir()
    assert export(trained, target).directory == target / "13"
    for taken in (7, 12):
        before = (target / "7/MODEL_CARD.md").stat().st_ino
        with pytest.raises(UsageError, match="exists already; give another --version"):
            export(trained, target, version=taken)
        assert (target / "7/MODEL_CARD.md").stat().st_ino == before
    assert names(target) == ["0012", "1", "13", "7", "8"]


def test_what_is_exported_is_told(quick, trained, tmp_path):
    exported = export(trained, tmp_path / "shared")
    files = [path for path in exported.directory.rglob("*") if path.is_file()]
    assert (exported.variables, exported.difference) == (2, DIFFERENCE)
    assert exported.bytes == sum(len(path.read_bytes()) for path in files)
    assert exported.card.read_text().startswith("# shared, version 1\n")


@pytest.mark.parametrize("version", [0, -1, 2**63])
def test_a_version_that_no_server_could_read_is_refused(trained, tmp_path, version):
    with pytest.raises(UsageError, match=f"from 1 to 9223372036854775807; received {version}"):
        export(trained, tmp_path / "shared", version)
    assert not (tmp_path / "shared").exists()


def test_the_highest_version_can_be_given_and_has_no_next(quick, trained, tmp_path):
    assert export(trained, tmp_path, 2**63 - 1).directory.is_dir()
    with pytest.raises(UsageError, match="the highest that there is; give a --version"):
        export(trained, tmp_path)


def test_a_version_s_own_folder_is_no_target(trained, exported):
    with pytest.raises(UsageError, match="is itself a version; give the folder above it"):
        export(trained, exported / "1")
    assert not (exported / "1/1").exists()


def test_a_lower_version_is_told_not_to_be_served(quick, trained, tmp_path):
    assert not [text for text in export(trained, tmp_path, 5).warnings if "newest" in text]
    (warning,) = [text for text in export(trained, tmp_path, 3).warnings if "newest" in text]
    assert warning.startswith("version 3 is not the newest, which is 5, and TF Serving serves the newest")


def test_the_newest_versions_stay_and_the_one_just_written_in_any_case(quick, trained, tmp_path):
    for version in (2, 10, 9):
        export(trained, tmp_path, version)
    (tmp_path / "11").mkdir()
    (tmp_path / "11/notes.txt").write_text("no model")
    elsewhere = tmp_path.parent / "linked"
    (tmp_path / "2").rename(elsewhere)
    (tmp_path / "2").symlink_to(elsewhere)
    assert export(trained, tmp_path, keep=2).directory.name == "12"
    assert names(tmp_path) == ["10", "11", "12"]
    assert (elsewhere / "saved_model.pb").is_file()
    export(trained, tmp_path, version=4, keep=1)
    assert names(tmp_path) == ["11", "12", "4"]
    with pytest.raises(UsageError, match="--keep must be at least 1; received 0"):
        export(trained, tmp_path, keep=0)


def test_a_version_that_cannot_be_removed_is_a_warning(quick, trained, tmp_path, monkeypatch):
    for _ in range(2):
        export(trained, tmp_path)
    rename = Path.rename

    def busy(path, target):
        if path.name == "1":
            raise OSError(16, "Device or resource busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    exported = export(trained, tmp_path, keep=1)
    assert f"cannot remove version {tmp_path / '1'}: Device or resource busy; remove it yourself" in exported.warnings
    assert names(tmp_path) == ["1", "3"]


def test_files_are_as_readable_as_the_user_s_umask_says(quick, trained, tmp_path):
    usual = os.umask(0o022)
    try:
        directory = export(trained, tmp_path).directory
    finally:
        os.umask(usual)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert {stat.S_IMODE((directory / name).stat().st_mode) for name in ("model_card.json", "MODEL_CARD.md")} == {0o644}


def test_exports_at_once_get_versions_of_their_own(quick, trained, tmp_path):
    start = threading.Barrier(6)

    def one(_):
        start.wait()
        return export(trained, tmp_path).directory

    with ThreadPoolExecutor(6) as pool:
        directories = list(pool.map(one, range(6)))
    assert sorted(path.name for path in directories) == names(tmp_path) == list("123456")
    for path in directories:
        assert is_whole(path, quick)
        assert json.loads((path / "model_card.json").read_text())["version"] == int(path.name)


def test_of_exports_at_once_one_gets_the_version_that_all_ask_for(quick, trained, tmp_path):
    start = threading.Barrier(4)

    def one(_):
        start.wait()
        try:
            return export(trained, tmp_path, version=5).directory
        except UsageError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(one, range(4)))
    assert outcomes.count(tmp_path / "5") == 1
    assert outcomes.count(f"{tmp_path / '5'} exists already; give another --version, or none for the next one") == 3
    assert names(tmp_path) == ["5"] and is_whole(tmp_path / "5", quick)


def test_a_server_that_polls_sees_whole_versions_only(quick, trained, tmp_path):
    halves, seen, done = [], set(), threading.Event()

    def poll():
        while not done.is_set():
            # TF Serving takes for a version whatever it can read as a number.
            for path in [path for path in tmp_path.iterdir() if re.fullmatch(r"\s*[+-]?[0-9]+\s*", path.name)]:
                seen.add(path.name)
                # A version that goes while it is looked at is gone as a whole.
                if not is_whole(path, quick) and path.exists():
                    halves.append(path.name)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        for _ in range(8):
            export(trained, tmp_path, keep=2)
    finally:
        done.set()
        poller.join()
    assert halves == []
    assert seen == set("12345678") and names(tmp_path) == ["7", "8"]


def test_a_run_without_a_finished_epoch_is_refused(shared_experiment, prepared, tmp_path):
    run = Run.create(tmp_path / "run", shared_experiment, prepared)
    with pytest.raises(CrossDistilError, match="has no finished epoch yet; go on with `crossdistil train --resume`"):
        export(run, tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_a_target_that_cannot_be_written_is_told(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CrossDistilError, match=f"cannot export to {tmp_path}/file: .*File exists; no version was written"):
        export(trained, tmp_path / "file")
    with pytest.raises(CrossDistilError, match=f"{tmp_path}/file.*: Not a directory; .* give another --to"):
        export(trained, tmp_path / "file/shared")


class Disturbed(ServedModel):
    """Writes weights that are not the live model's."""

    def save(self, directory):
        bias = min(self.student_variables, key=lambda variable: variable.shape.num_elements())
        was = bias.numpy()
        bias.assign(was + 0.01)
        super().save(directory)
        bias.assign(was)


def test_a_model_that_answers_otherwise_than_the_live_one_is_not_published(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "ServedModel", Disturbed)
    with pytest.raises(CrossDistilError, match="the exported model is not the live one"):
        export(trained, tmp_path)
    assert names(tmp_path) == []


@contextmanager
def no_room_for_more_than(size):
    """Writing beyond it fails in this process, as it does on a full disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("size", [2_000, 30_000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_a_disk_that_takes_no_more_leaves_nothing(trained, tmp_path, size):
    with no_room_for_more_than(size), pytest.raises(CrossDistilError, match=f"cannot export to {tmp_path}: .*File too large"):
        export(trained, tmp_path)
    assert names(tmp_path) == []
