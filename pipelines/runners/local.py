# SPDX-License-Identifier: Apache-2.0
"""Beam's runners: which may be named, and how the one of a run is made."""

from typing import Any

from pipelines.beam import DirectOptions, FnApiRunner, PipelineOptions, StandardOptions, create_runner
from pipelines.runners.processes import ProcessEnvironment
from pipelines.runs.storage import RunPath
from tf_crossdistil.errors import UsageError

DEFAULT_RUNNER = "FnApiRunner"

# The first two try to download another engine and fall back silently on the third.
_LOCAL = ("DirectRunner", "SwitchingDirectRunner", DEFAULT_RUNNER)
_REFUSED = {"DaskRunner": "it runs only the last branch of a pipeline and reports success, so data would be lost"}
_NOT_FOR_LOGS = ("InteractiveRunner", "TestDataflowRunner", "TestDirectRunner")
_USABLE = [DEFAULT_RUNNER, *(name for name in StandardOptions.KNOWN_RUNNER_NAMES if name not in (*_LOCAL, *_NOT_FOR_LOGS))]


def checked_runner(asked: str) -> str:
    """The name of the runner to use where a user asked for one.

    Raises:
        UsageError: Beam has no such runner here, or it loses data.
    """
    name = asked.rpartition(".")[2]
    if name in _REFUSED:
        raise UsageError(f"{name} cannot be used: {_REFUSED[name]}; leave --runner out to use {DEFAULT_RUNNER}")
    try:
        found = type(create_runner(asked)).__name__
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        raise UsageError(
            f"--runner {asked} cannot be used, since no such runner is installed; expected one of {', '.join(_USABLE)}, or the "
            f"full name of a class; leave it out to use {DEFAULT_RUNNER}"
        ) from error
    return DEFAULT_RUNNER if found in _LOCAL else asked


def make_runner(options: PipelineOptions, run: RunPath) -> Any:
    """The runner that checked options name, for the run in a directory; its worker processes, if it has some, are ours."""
    name, direct = options.view_as(StandardOptions).runner, options.view_as(DirectOptions)
    if name != DEFAULT_RUNNER or direct.direct_running_mode != "multi_processing":
        return create_runner(name)
    # Any mode that the runner knows would replace the environment.
    direct.direct_running_mode = "given_environment"
    return FnApiRunner(default_environment=ProcessEnvironment(run))
