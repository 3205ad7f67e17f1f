"""From raw logs to a prepared data set: `python -m pipelines.preprocess CONFIG --input GLOB --output DIR`."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipelines.checking.validate import Validator
from pipelines.inspection import show_prepared
from pipelines.options import DEFAULT_MAX_BAD_FRACTION, PreprocessOptions, RaisingParser, beam_options
from pipelines.pipeline import Job, run_pipeline
from pipelines.runs.manifest import Run, run_id
from pipelines.runs.progress import shown_progress
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.schema import PreparedData

_EXAMPLE = """\
Example:
  %(prog)s configs/kuairand.yaml --input 'logs/*.tsv' --output prepared/kuairand \\
      --direct_running_mode multi_processing --direct_num_workers 2

Options of Beam follow ours. The runner is FnApiRunner, in this process, unless --runner names another; its
--direct_running_mode is in_memory (default), multi_threading or multi_processing, with --direct_num_workers.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 1 for a fault, 2 for wrong use, 130 when interrupted."""
    try:
        run_command(sys.argv[1:] if argv is None else argv, "python -m pipelines.preprocess")
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was published", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def run_command(argv: Sequence[str], program: str) -> None:
    """Runs a command line, of which `program` is the name in its help; raises what `prepare` raises."""
    ours, beam_arguments = _parse(argv, program)
    prepare(load_config(ours.config), ours.input, ours.output, beam_arguments, ours.max_bad_fraction)


def prepare(
    experiment: Experiment,
    inputs: Sequence[str],
    output: str | Path,
    beam_arguments: Sequence[str] = (),
    max_bad_fraction: float = DEFAULT_MAX_BAD_FRACTION,
    quiet: bool = False,
) -> PreparedData:
    """Prepares logs, or finds them prepared: a run of the same inputs and configuration is not made twice.

    Args:
        experiment: what the logs hold and what records shall hold.
        inputs: paths or patterns of any file system that Beam knows.
        output: local directory of runs.
        beam_arguments: Beam's command line options, such as `--direct_num_workers=2`.
        max_bad_fraction: share of rows that may go to dead letters, 0 to 1.
        quiet: whether to show neither progress nor summary.

    Raises:
        UsageError: an option cannot be.
        CrossDistilError: the logs cannot be prepared; nothing is published then.
    """
    if not 0 <= max_bad_fraction <= 1:
        raise UsageError(f"--max-bad-fraction must be between 0 and 1; received {max_bad_fraction}")
    options = beam_options(beam_arguments)
    console = Console(stderr=True, quiet=quiet)
    logging.getLogger("apache_beam").setLevel(logging.ERROR if quiet else logging.WARNING)
    for step in ("common", "worker"):
        # Every exception of a worker is logged there with its traceback, before it is raised here.
        logging.getLogger(f"apache_beam.runners.{step}").setLevel(logging.CRITICAL)
    files = find_inputs(inputs)
    run = Run(Path(output), run_id(experiment, files))
    if earlier := run.finished():
        run.make_latest()
        console.print(f"inputs and configuration are those of {run.directory}; nothing to do", highlight=False, soft_wrap=True)
        return earlier
    reader = make_reader(experiment.source, Validator(experiment).columns)
    job = Job(experiment, run.directory, tuple(plan_ranges(reader, files)), max_bad_fraction)
    run.begin()
    try:
        with shown_progress(run.directory, console):
            run_pipeline(job, options)
        data = run.publish(experiment, files, len(job.ranges))
    except BaseException:
        run.discard()
        raise
    show_prepared(data, console)
    return data


def _parse(argv: Sequence[str], program: str) -> tuple[argparse.Namespace, list[str]]:
    parser = RaisingParser(
        prog=program,
        description="Prepares raw logs: checks, splits and encodes them into TFRecords per split and label combination.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file of the experiment")
    PreprocessOptions.add_to(parser)
    ours, beam_arguments = parser.parse_known_args(argv)
    for option in ("input", "output"):
        if not getattr(ours, option):
            parser.error(f"--{option} is missing")
    return ours, beam_arguments


if __name__ == "__main__":
    sys.exit(main())
