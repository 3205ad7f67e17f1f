# SPDX-License-Identifier: Apache-2.0
"""The job of the Dataflow flex template: a pipeline of one step, whose worker runs `python -m pipelines.preprocess`.

A flex template's launcher must not wait for its job, but the preprocessing publishes when its pipeline has ended. So the whole
command runs on one machine of Dataflow, with a process a core. To spread a run over many machines, start the command with
`--runner DataflowRunner` from a place that stays until it ends.

Not run on Dataflow where it was written; a test runs it with Beam's local runner.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from pipelines.beam import PipelineOptions, beam
from pipelines.options import PreprocessOptions

_LAST_CHARACTERS = 4000


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments for the preprocessing, and those for the job around it.

    Parameters of a template have names such as `max_bad_fraction`, which stand for options such as `--max-bad-fraction`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    PreprocessOptions.add_to(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    ours, others = [], []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        option = name.replace("_", "-")
        if option in known:
            ours.append(f"{option}{equals}{value}")
        else:
            others.append(argument)
    return ours, others


def run_command(arguments: Sequence[str]) -> None:
    """Runs the preprocessing with a process for every core of this machine.

    Raises:
        RuntimeError: it failed, for the reason that it gives.
    """
    command = [sys.executable, "-m", "pipelines.preprocess", *arguments, "--direct_running_mode=multi_processing"]
    # A worker count of 0 is one for every core.
    result = subprocess.run([*command, "--direct_num_workers=0"], capture_output=True, text=True, check=False)
    print(result.stderr, file=sys.stderr)
    if result.returncode:
        raise RuntimeError(f"preprocessing ended with {result.returncode}: {result.stderr[-_LAST_CHARACTERS:]}")


def main() -> None:
    """Submits the job and does not wait for it."""
    ours, others = split_arguments(sys.argv[1:])
    pipeline = beam.Pipeline(options=PipelineOptions(others))
    _ = pipeline | "arguments" >> beam.Create([ours]) | "prepare" >> beam.Map(run_command)
    pipeline.run()
