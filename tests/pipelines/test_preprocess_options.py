# SPDX-License-Identifier: Apache-2.0
"""Options of the command line and of schedulers, and where the configuration may stand."""

from collections.abc import Callable
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import SetupOptions

from pipelines.beam import FnApiRunner, PipelineOptions
from pipelines.options import DEFAULT_MAX_BAD_FRACTION, PreprocessOptions, beam_options
from pipelines.preprocess import main, run_job
from pipelines.runners.local import make_runner
from tests.pipelines.good_logs import GOOD
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import UsageError
from tf_crossdistil.schema import PreparedData


def test_missing_arguments(write_config: Callable[[dict | None], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_config(None)), "--output", "x"]) == 2
    assert capsys.readouterr().err == "error: --input is missing; see --help\n"


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "Example:" in printed
    for option in ("--vocabulary-from", "--global-shuffle", "--max-bad-fraction", "--force", "--drift-bound"):
        assert option in printed


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "direct", "SwitchingDirectRunner", "fnapirunner"])
def test_the_local_runner_by_any_name_downloads_nothing(tmp_path: Path, name: str) -> None:
    options = beam_options([f"--runner={name}", "--direct_running_mode=multi_processing"])
    runner = make_runner(options, tmp_path)
    assert type(runner) is FnApiRunner
    assert "pipelines.runners.worker" in runner._default_environment.command_string


def test_options_of_a_scheduler() -> None:
    """Whoever makes Beam's options out of flags finds ours among them."""
    flags = [
        "--config=x.yaml",
        "--input=a",
        "--input=b",
        "--output=gs://b/d",
        "--force",
        "--global-shuffle",
        "--drift-bound=0.5",
    ]
    options = PipelineOptions([*flags, "--vocabulary-from=v", "--setup_file=./setup.py"])
    ours = options.view_as(PreprocessOptions)
    assert (ours.config, ours.input, ours.output) == ("x.yaml", ["a", "b"], "gs://b/d")
    assert (ours.force, ours.global_shuffle, ours.drift_bound, ours.vocabulary_from) == (True, True, 0.5, "v")
    assert ours.max_bad_fraction == DEFAULT_MAX_BAD_FRACTION
    assert options.view_as(SetupOptions).setup_file == "./setup.py"


def test_a_job_out_of_a_schedulers_options(tmp_path: Path, experiment: Callable[..., Experiment]) -> None:
    (tmp_path / "logs.csv").write_text(GOOD)
    flags = [f"--input={tmp_path}/logs.csv", f"--output={tmp_path}/output", "--setup_file=./setup.py"]
    data = run_job(experiment(), PipelineOptions(flags), quiet=True)
    assert PreparedData.open(tmp_path / "output") == data
    with pytest.raises(UsageError, match="DaskRunner"):
        run_job(experiment(), PipelineOptions([*flags, "--runner=DaskRunner"]), quiet=True)


@pytest.mark.parametrize("place", range(4))
def test_the_configuration_stands_anywhere(
    tmp_path: Path, write_config: Callable[[dict | None], Path], place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs.csv").write_text(GOOD)
    arguments = [
        ["--output", f"{tmp_path}/output"],
        ["--runner", "FnApiRunner"],
        ["--input", f"{tmp_path}/logs.csv", "--force"],
    ]
    arguments.insert(place, [str(write_config(None))])
    assert main([argument for group in arguments for argument in group]) == 0
    assert "200 of 200 rows" in capsys.readouterr().err


def test_the_configuration_by_name(tmp_path: Path, write_config: Callable[[dict | None], Path]) -> None:
    (tmp_path / "logs.csv").write_text(GOOD)
    config = write_config(None)
    assert main([f"--config={config}", f"--input={tmp_path}/logs.csv", f"--output={tmp_path}/output"]) == 0


def test_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--input", "x", "--output", "y"]) == 2
    assert capsys.readouterr().err == "error: CONFIG is missing; see --help\n"
