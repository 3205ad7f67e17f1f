# SPDX-License-Identifier: Apache-2.0
"""The same logs give the same files, byte by byte, whatever runs the pipeline."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.preprocess import prepare
from tests.pipelines.runners.portable_services import portable_services
from tests.pipelines.varied_logs import SECTIONS, write_logs
from tests.pipelines.written_files import digests
from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import PreparedData

MODES = {
    "multi_threading": ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
    "multi_processing": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
}
REPEATED = "--direct_runner_bundle_repeat=1"
slow = pytest.mark.slow

Digests = dict[str, str]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_logs(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def config(experiment: Callable[..., Experiment]) -> Experiment:
    return experiment(**SECTIONS)


@pytest.fixture(scope="module")
def references(config: Experiment, logs: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Digests]:
    """What one process makes of the logs, in the order of the input or shuffled."""
    made: dict[bool, Digests] = {}

    def make(shuffled: bool) -> Digests:
        if shuffled not in made:
            output = tmp_path_factory.mktemp("reference")
            prepare(config, [logs], output, global_shuffle=shuffled, quiet=True)
            made[shuffled] = digests(output)
        return made[shuffled]

    return make


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with portable_services(tmp_path_factory.mktemp("services")) as options:
        yield options


@pytest.mark.parametrize(
    "arguments, shuffled",
    [
        pytest.param([REPEATED], False, id="repeated"),
        pytest.param(MODES["multi_processing"], False, id="multi_processing", marks=slow),
        pytest.param(MODES["multi_threading"], False, id="multi_threading", marks=slow),
        pytest.param([*MODES["multi_threading"], REPEATED], False, id="multi_threading-repeated", marks=slow),
        pytest.param([*MODES["multi_processing"], REPEATED], False, id="multi_processing-repeated", marks=slow),
        pytest.param([REPEATED], True, id="shuffled-repeated", marks=slow),
        pytest.param(MODES["multi_threading"], True, id="shuffled-multi_threading", marks=slow),
        pytest.param(MODES["multi_processing"], True, id="shuffled-multi_processing", marks=slow),
        pytest.param([*MODES["multi_processing"], REPEATED], True, id="shuffled-multi_processing-repeated", marks=slow),
    ],
)
def test_local_modes_give_the_same_bytes(
    arguments: list[str],
    shuffled: bool,
    config: Experiment,
    logs: str,
    references: Callable[[bool], Digests],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    expected = references(shuffled)
    capfd.readouterr()
    prepare(config, [logs], tmp_path, arguments, global_shuffle=shuffled, quiet=True)
    assert capfd.readouterr() == ("", "")
    assert digests(tmp_path) == expected


@slow
@pytest.mark.parametrize("shuffled", [True, False])
def test_the_portable_job_server_gives_the_same_bytes(
    shuffled: bool,
    config: Experiment,
    logs: str,
    portable: list[str],
    references: Callable[[bool], Digests],
    tmp_path: Path,
) -> None:
    """From the command line, since Beam keeps the services that it has met for the life of a process."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config.model_dump(mode="json", include={"tasks"}), **SECTIONS}))
    command = [sys.executable, "-m", "pipelines.preprocess", f"{tmp_path}/config.yaml", "--input", logs]
    command += ["--output", f"{tmp_path}/output", *portable, *["--global-shuffle"] * shuffled]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    assert digests(tmp_path / "output") == references(shuffled)


def test_the_logs_try_what_could_differ(
    references: Callable[[bool], Digests], config: Experiment, logs: str, tmp_path: Path
) -> None:
    """Several ranges with records, dead letters and every kind of feature; no file left over from the work."""
    data: PreparedData = prepare(config, [logs], tmp_path, quiet=True)
    metadata = json.loads((data.directory / "metadata.json").read_text())
    assert len(list(data.directory.glob("train/tag=11/*"))) == len(list(data.directory.glob("dead_letter/*"))) == 5
    assert set(metadata["vocabularies"]) == {"user", "city", "words"} and metadata["truncated"]["words"] > 0
    assert metadata["numeric"]["at"]["boundaries"] and metadata["dead_letters"]
    listed = {entry.path for entry in data.manifest.files} | {"manifest.json", "_SUCCESS"}
    assert {str(path.relative_to(data.directory)) for path in data.directory.rglob("*") if path.is_file()} == listed
    assert digests(tmp_path) == references(False)
