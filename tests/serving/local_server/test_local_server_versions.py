# SPDX-License-Identifier: Apache-2.0
"""Versions that come, go and are broken, seen by a watcher that looks when it is told to."""

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Semaphore, Thread
from unittest.mock import Mock

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from serving.local_server import version_watcher
from serving.local_server.loading import load
from serving.local_server.model_store import ModelStore
from serving.local_server.signature import RequestError
from serving.local_server.version_watcher import VersionWatcher
from tests.serving.served_rows import predict_request
from tests.serving.server_process import COLUMNS
from tf_crossdistil.errors import CrossDistilError

Status = get_model_status_pb2.ModelVersionStatus
INPUTS = {"author": np.array(COLUMNS["author"], object), "duration": np.array(COLUMNS["duration"], np.float32)}
WARM_UP = Path("assets.extra/tf_serving_warmup_requests")


class Watched:
    """A model directory with version 3, its store, and the watcher of both."""

    def __init__(self, directory: Path, versions: Path) -> None:
        self.directory = directory
        self._versions = versions
        self.publish("3", 3)
        self.store = ModelStore(directory.name)
        self.watcher = VersionWatcher(directory, self.store)
        assert self.watcher.load_first() == 3

    def publish(self, origin: str, version: int) -> Path:
        return Path(shutil.copytree(self._versions / origin, self.directory / str(version)))

    def look_twice(self) -> None:
        self.watcher.look()
        self.watcher.look()

    def serving(self) -> int:
        with self.store.use("ranker") as servable:
            assert servable.predict(servable.signature(""), INPUTS)["like"].shape == (4,)
            return servable.version

    def states(self) -> dict[int, int]:
        return {status.version: status.state for status in self.store.status("ranker").model_version_status}


@pytest.fixture
def watched(tmp_path: Path, model: Path):
    made = Watched(tmp_path / "ranker", model)
    yield made
    made.store.close()


def test_a_new_version_takes_over_and_the_old_one_is_dropped(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    watched.publish("12", 10)
    watched.look_twice()
    assert watched.serving() == 10
    assert watched.states() == {10: Status.AVAILABLE, 3: Status.END}
    assert [status.version for status in watched.store.status("ranker").model_version_status] == [10, 3]
    with (
        pytest.raises(RequestError, match="Servable not found for request: Specific") as caught,
        watched.store.use("ranker", 3),
    ):
        pass
    assert caught.value.code == grpc.StatusCode.NOT_FOUND
    assert capsys.readouterr() == ("serving ranker version 10\n", "")


def test_only_the_newest_version_is_loaded(watched: Watched) -> None:
    for version in (4, 5, 6):
        watched.publish("12", version)
    watched.look_twice()
    assert watched.states() == {6: Status.AVAILABLE, 3: Status.END}


def test_a_version_that_is_being_copied_is_looked_at_again(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    copied = watched.publish("12", 4)
    (copied / "saved_model.pb").rename(watched.directory / "aside")
    watched.look_twice()
    (watched.directory / "aside").rename(copied / "saved_model.pb")
    for number in range(3):
        (copied / f"late {number}").touch()
        watched.watcher.look()
    assert watched.states() == {3: Status.AVAILABLE}
    assert capsys.readouterr() == ("", "")
    watched.watcher.look()
    assert watched.serving() == 4


def truncated_model(version: Path) -> None:
    content = (version / "saved_model.pb").read_bytes()
    (version / "saved_model.pb").write_bytes(content[: len(content) // 2])


def no_model(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"")


def no_variables(version: Path) -> None:
    shutil.rmtree(version / "variables")


def truncated_variables(version: Path) -> None:
    (data,) = version.glob("variables/*.data-*")
    data.write_bytes(data.read_bytes()[:2])


def no_assets(version: Path) -> None:
    shutil.rmtree(version / "assets")


def write_warm_up(version: Path, *logs: prediction_log_pb2.PredictionLog) -> None:
    (version / WARM_UP).parent.mkdir()
    with tf.io.TFRecordWriter(str(version / WARM_UP)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def predict_log(request: predict_pb2.PredictRequest) -> prediction_log_pb2.PredictionLog:
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def failing_warm_up(version: Path) -> None:
    request = predict_request()
    del request.inputs["author"]
    write_warm_up(version, predict_log(predict_request()), predict_log(request))


def long_warm_up(version: Path) -> None:
    write_warm_up(version, *[predict_log(predict_request())] * 1001)


def broken_warm_up(version: Path) -> None:
    (version / WARM_UP).parent.mkdir()
    (version / WARM_UP).write_bytes(b"no record" * 5)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (truncated_model, "Cannot parse file"),
        (no_model, "4 cannot be loaded: "),
        (no_variables, "variables"),
        (truncated_variables, "4 cannot be loaded: "),
        (no_assets, "author.txt"),
        (failing_warm_up, "its warm-up failed: missing input 'author'"),
        (long_warm_up, r"its warm-up failed: Number of warmup records exceeds the maximum \(1000\)"),
        (broken_warm_up, "its warm-up failed: "),
    ],
)
def test_a_broken_version_is_refused_once_and_the_old_one_keeps_serving(
    watched: Watched, spoil: Callable[[Path], None], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(watched.publish("12", 4))
    for _ in range(3):
        watched.look_twice()
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"error: {watched.directory}/4 cannot be loaded: ")
    assert errors.endswith("; version 3 keeps serving\n")
    assert watched.serving() == 3
    assert watched.states() == {4: Status.END, 3: Status.AVAILABLE}
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(watched.store.status("ranker", 4).model_version_status[0].status.error_message)
    assert watched.store.status("ranker", 4).model_version_status[0].status.error_code == 2

    shutil.rmtree(watched.directory / "4")
    watched.publish("12", 4)
    watched.look_twice()
    assert watched.serving() == 4
    assert not watched.store.status("ranker", 4).model_version_status[0].status.error_message


def test_a_refused_version_is_tried_again_a_few_times(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loading = Mock(side_effect=CrossDistilError("the disk is away"))
    monkeypatch.setattr(version_watcher, "load", loading)
    monkeypatch.setattr(version_watcher, "RETRY_SECONDS", (0, 0))
    watched.publish("12", 4)
    for _ in range(6):
        watched.watcher.look()
    assert loading.call_count == 3
    (watched.directory / "4" / "late").touch()
    watched.look_twice()
    assert capsys.readouterr() == ("", "error: the disk is away; version 3 keeps serving\n" * 2)
    monkeypatch.setattr(version_watcher, "load", load)
    watched.watcher.look()
    assert watched.serving() == 4


@pytest.mark.parametrize("name", ["99999999999999999999", str(2**63), "0", "-1", "\u0664", "4a", "9" * 255])
def test_a_folder_whose_name_is_no_version(watched: Watched, name: str) -> None:
    shutil.copytree(watched.directory / "3", watched.directory / name)
    watched.look_twice()
    assert watched.states() == {3: Status.AVAILABLE}
    watched.publish("12", 2**63 - 1)
    watched.look_twice()
    assert watched.serving() == 2**63 - 1


def test_the_watcher_says_what_it_did_not_expect_and_goes_on(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = Semaphore(0)

    def fail(_directory: Path) -> list[Path]:
        looks.release()
        raise ValueError("odd\nname")

    with monkeypatch.context() as patch, watched.watcher.watching(0.01):
        patch.setattr(version_watcher, "version_folders", fail)
        assert all(looks.acquire(timeout=10) for _ in range(3))
    told = f"error: {watched.directory} cannot be looked at for versions: ValueError('odd\\nname'); version 3 keeps serving\n"
    assert capsys.readouterr() == ("", told)


def test_the_warm_up_may_hold_requests_of_every_kind(watched: Watched) -> None:
    example = tf.train.Example()
    example.features.feature["author"].bytes_list.value.append(b"ann")
    example.features.feature["duration"].float_list.value.append(1.0)
    classify, regress = classification_pb2.ClassificationRequest(), regression_pb2.RegressionRequest()
    for request in (classify, regress):
        request.model_spec.signature_name = "predict_examples"
        request.input.example_list.examples.append(example)
    write_warm_up(
        watched.publish("12", 4),
        predict_log(predict_request()),
        prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=classify)),
        prediction_log_pb2.PredictionLog(regress_log=prediction_log_pb2.RegressLog(request=regress)),
    )
    watched.look_twice()
    assert watched.serving() == 4


def test_a_version_is_dropped_after_its_last_request(watched: Watched) -> None:
    watched.publish("12", 4)
    with watched.store.use("ranker") as old:
        changing = Thread(target=watched.look_twice)
        changing.start()
        while watched.states()[3] != Status.UNLOADING:
            pass
        assert watched.serving() == 4
        changing.join(0.2)
        assert changing.is_alive()
        assert old.predict(old.signature(""), INPUTS)["like"].shape == (4,)
    changing.join()
    assert watched.states() == {4: Status.AVAILABLE, 3: Status.END}


def test_removing_the_newest_version_brings_the_one_before_back(watched: Watched) -> None:
    watched.publish("12", 4)
    watched.look_twice()
    shutil.rmtree(watched.directory / "4")
    watched.look_twice()
    assert watched.serving() == 3
    assert watched.states() == {4: Status.END, 3: Status.AVAILABLE}


def test_a_pruned_version_that_serves_is_kept_while_the_next_one_is_broken(watched: Watched) -> None:
    truncated_model(watched.publish("12", 4))
    watched.look_twice()
    shutil.rmtree(watched.directory / "3")
    watched.look_twice()
    assert watched.serving() == 3


def test_the_last_version_is_dropped_when_it_is_removed_but_not_when_the_whole_directory_is_away(watched: Watched) -> None:
    watched.directory.rename(watched.directory.with_name("aside"))
    with pytest.raises(FileNotFoundError):
        watched.watcher.look()
    assert watched.serving() == 3
    watched.directory.with_name("aside").rename(watched.directory)
    shutil.rmtree(watched.directory / "3")
    watched.look_twice()
    with pytest.raises(RequestError, match=r"Servable not found for request: Latest\(ranker\); .* in no version"):
        watched.serving()
    assert watched.states() == {3: Status.END}
    watched.publish("12", 2)
    watched.look_twice()
    assert watched.serving() == 2
