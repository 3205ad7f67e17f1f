# SPDX-License-Identifier: Apache-2.0
"""How versions are numbered, refused, pruned and seen by a server that polls their folder."""

import json
import os
import re
import resource
import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from tests.export.stand_ins import DIFFERENCE, is_whole, names, without_tensorflow
from tests.models.small_model import small_model, small_run
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.export import publish
from tf_crossdistil.export.live_model import live_answers
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
    with pytest.raises(UsageError, match=f"{tmp_path}/file is a file, and a model's versions need a folder; give DIR/NAME"):
        export(trained, tmp_path / "file")
    with pytest.raises(CrossDistilError, match=f"{tmp_path}/file.*: Not a directory; .* give another --to"):
        export(trained, tmp_path / "file/shared")


@pytest.mark.parametrize("name", ["ranker:2", "two\nlines", "/"])
def test_a_name_that_no_model_can_have_is_refused(trained, tmp_path, name):
    with pytest.raises(UsageError, match=r"--to must be DIR/NAME, .* printable and without ':'; received "):
        export(trained, tmp_path / name)
    assert names(tmp_path) == []


def test_the_name_is_that_of_the_folder(quick, trained, tmp_path, monkeypatch):
    (tmp_path / "café au lait/below").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "café au lait")
    monkeypatch.chdir(tmp_path / "café au lait/below")
    for target, name in (("..", "café au lait"), (".", "below"), (tmp_path / "linked", "linked")):
        card = export(trained, Path(target)).card.read_text()
        assert card.startswith(f"# {name}, version ")
        assert f" http://127.0.0.1:8501/v1/models/{quote(name)}:predict\n" in card


def test_other_outputs_than_the_newest_version_has_are_told(quick, trained, tmp_path):
    first, second = (export(trained, tmp_path) for _ in range(2))
    assert not [text for text in [*first.warnings, *second.warnings] if "answers" in text]
    path = second.directory / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    outputs = saved.meta_graphs[0].signature_def["serving_default"].outputs
    outputs["score"].CopyFrom(outputs["like"])
    path.write_bytes(saved.SerializeToString())
    (warning,) = [text for text in export(trained, tmp_path).warnings if "answers" in text]
    assert warning.startswith("version 3 answers finish, like, and version 2 finish, like, score: a client that asks for what ")
    path.write_bytes(b"no model")
    assert not [text for text in export(trained, tmp_path, keep=1).warnings if "answers" in text]


@pytest.fixture
def damaged(trained, tmp_path):
    """A run that a test may damage."""
    shutil.copytree(trained.directory, tmp_path / "run")
    return Run.open(tmp_path / "run")


def test_other_vocabularies_than_the_run_was_trained_with_are_refused(damaged, prepared, tmp_path):
    file = damaged.vocabularies / "word.txt"
    file.write_bytes(b"".join(sorted(file.read_bytes().splitlines(keepends=True), reverse=True)))
    mending = f"restore it from the prepared data, run {prepared.metadata.run}, or train again, in another --run"
    with pytest.raises(CrossDistilError, match=rf"{file} is not the vocabulary that its run was trained with, .*; {mending}"):
        export(damaged, tmp_path / "shared")
    with pytest.raises(CrossDistilError, match=f"{file} is not the vocabulary"):
        live_answers(damaged, [{}])
    file.unlink()
    with pytest.raises(CrossDistilError, match=f"cannot read {file}: No such file or directory; {mending}"):
        export(damaged, tmp_path / "shared")
    assert names(tmp_path) == ["run"]


def test_a_sample_without_rows_is_refused_at_once(damaged, tmp_path):
    for text, words in (("", "has no rows to check the export with"), ("{", "cannot read .*/sample.jsonl: ")):
        damaged.sample_file.write_text(text)
        with pytest.raises(CrossDistilError, match=rf"{words}.*; restore it from the prepared data, run "):
            export(damaged, tmp_path / "shared")
    assert names(tmp_path) == ["run"]


class Disturbed(ServedModel):
    """Writes weights that are not the live model's."""

    def save(self, directory):
        bias = min(self.student_variables, key=lambda variable: variable.shape.num_elements())
        was = bias.numpy()
        bias.assign(was + 0.01)
        super().save(directory)
        bias.assign(was)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run whose export is soon done."""
    features = [{"name": "user", "kind": "categorical", "dim": 3}]
    model, experiment = small_model(features=features, model={"backbone": "shared_bottom", "towers": [4]})
    return small_run(tmp_path_factory.mktemp("small"), model, experiment)


def test_a_model_that_answers_otherwise_than_the_live_one_is_not_published(small, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "ServedModel", Disturbed)
    with pytest.raises(CrossDistilError, match="the exported model is not the live one"):
        export(small, tmp_path)
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


# The weights, or else the graph, are the first that find no room.
@pytest.mark.parametrize("size", [pytest.param(100, marks=pytest.mark.slow), 10_000])
def test_a_disk_that_takes_no_more_leaves_nothing(small, tmp_path, size):
    with no_room_for_more_than(size), pytest.raises(CrossDistilError, match=f"cannot export to {tmp_path}: .*File too large"):
        export(small, tmp_path)
    assert names(tmp_path) == []
