# SPDX-License-Identifier: Apache-2.0
"""From raw logs to a prepared data set: `python -m pipelines.preprocess CONFIG --input GLOB --output DIR`."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipelines.beam import FileSystems, PipelineOptions, StandardOptions
from pipelines.checking.validate import Validator
from pipelines.inspection import show_prepared, wide_console
from pipelines.options import DEFAULT_MAX_BAD_FRACTION, PreprocessOptions, beam_options
from pipelines.pipeline import Job, run_pipeline
from pipelines.runners.local import DEFAULT_RUNNER, checked_runner
from pipelines.runs.drift import DEFAULT_DRIFT_BOUND, extra_column_warnings
from pipelines.runs.leftovers import remove_leftovers
from pipelines.runs.lock import locked
from pipelines.runs.manifest import Run, choose_run, run_id
from pipelines.runs.metadata import summarize, unlabelled_warnings
from pipelines.runs.previous import compared, find_previous, open_frozen
from pipelines.runs.progress import shown_progress
from pipelines.runs.reports import read_reports
from pipelines.runs.storage import run_path
from pipelines.runs.unchanged import check_unchanged
from pipelines.sources.blocks import Reader
from pipelines.sources.inputs import InputInfo, find_inputs, make_reader, plan_ranges
from pipelines.sources.joins import unmatched_warnings
from pipelines.survey.precision import precision_warnings
from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.schema import RUN_PREFIX, PreparedData

_EXAMPLE = """\
Example:
  %(prog)s configs/kuairand.yaml --input 'logs/*.tsv' --output prepared/kuairand \\
      --direct_running_mode multi_processing --direct_num_workers 2

Tomorrow's logs, with the same vocabularies:
  %(prog)s configs/kuairand.yaml --input 'logs/tomorrow/*.tsv' --output prepared/tomorrow \\
      --vocabulary-from prepared/kuairand

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
    """Runs a command line, of which `program` is the name in its help; raises what `run_job` raises."""
    if {"-h", "--help"} & set(argv):
        _help(program).parse_args(["--help"])
    options = beam_options(argv)
    config = options.view_as(PreprocessOptions).config
    if not config:
        raise UsageError("CONFIG is missing; see --help")
    run_job(load_config(config), options)


def prepare(
    experiment: Experiment,
    inputs: Sequence[str],
    output: str | Path,
    beam_arguments: Sequence[str] = (),
    max_bad_fraction: float = DEFAULT_MAX_BAD_FRACTION,
    vocabulary_from: str | Path | None = None,
    global_shuffle: bool = False,
    force: bool = False,
    drift_bound: float = DEFAULT_DRIFT_BOUND,
    quiet: bool = False,
) -> PreparedData:
    """Prepares logs, or finds them prepared: a run of the same inputs and configuration is not made twice.

    Args:
        experiment: what the logs hold and what records shall hold.
        inputs: paths or patterns of any file system that Beam knows.
        output: directory of runs, on any such file system.
        beam_arguments: Beam's command line options, such as `--direct_num_workers=2`.
        max_bad_fraction: share of rows that may go to dead letters, 0 to 1.
        vocabulary_from: the prepared data set, or run of one, whose vocabularies and numeric statistics are taken over.
        global_shuffle: whether to put the records of each split and tag in random order.
        force: whether to make the run again beside a complete one.
        drift_bound: how far rates may differ from the previous run's without a warning, as a share of the larger, 0 to 1; for
            labels of regression tasks as a share of the larger deviation.
        quiet: whether to show neither progress nor summary.

    Raises:
        UsageError: an option cannot be.
        CrossDistilError: the logs cannot be prepared; nothing is published then.
    """
    options = beam_options(
        beam_arguments,
        input=list(inputs),
        output=str(output),
        max_bad_fraction=max_bad_fraction,
        vocabulary_from=None if vocabulary_from is None else str(vocabulary_from),
        global_shuffle=global_shuffle,
        force=force,
        drift_bound=drift_bound,
    )
    return run_job(experiment, options, quiet)


def run_job(experiment: Experiment, options: PipelineOptions, quiet: bool = False) -> PreparedData:
    """Does what `PreprocessOptions` among `options`, which a scheduler may have made, ask for; see `prepare`.

    Raises:
        UsageError: an option cannot be.
        CrossDistilError: the logs cannot be prepared; nothing is published then.
    """
    settings = options.view_as(PreprocessOptions)
    settings.check()
    standard = options.view_as(StandardOptions)
    standard.runner = checked_runner(standard.runner or DEFAULT_RUNNER)
    _keep_beam_quiet(quiet)
    # File systems are asked before there is a pipeline that would tell them.
    FileSystems.set_options(options)
    started = time.monotonic()
    console = wide_console(stderr=True, quiet=quiet)
    inputs = find_inputs(_reader(experiment), settings.input)
    frozen = open_frozen(settings.vocabulary_from, experiment) if settings.vocabulary_from else None
    output = run_path(settings.output)
    with locked(output):
        for sentence in remove_leftovers(output):
            console.print(sentence, highlight=False, soft_wrap=True)
        identity = run_id(experiment, inputs, frozen, settings.global_shuffle)
        run, earlier = choose_run(output, identity, settings.force)
        if earlier:
            _check_bad_fraction(earlier, settings.max_bad_fraction)
            run.make_latest()
            console.print(
                f"inputs and configuration are those of {run.directory}; nothing to do", highlight=False, soft_wrap=True
            )
            return earlier
        if run.identity != identity and not settings.force:
            console.print(
                f"what there is of {output}/{RUN_PREFIX}{identity} is damaged and is made again as {run.directory}; remove it "
                "when nothing reads it",
                highlight=False,
                soft_wrap=True,
            )
        data = _make(run, experiment, inputs, frozen, options, console)
    show_prepared(data, console)
    seconds = time.monotonic() - started
    console.print(f"{seconds:,.1f} s, {data.metadata.rows_in / seconds:,.0f} rows/s", highlight=False)
    return data


def _check_bad_fraction(earlier: PreparedData, most: float) -> None:
    """Holds a run that is there already to the bound of today."""
    bad, rows = sum(earlier.metadata.dead_letters.values()), earlier.metadata.rows_in
    if bad > most * rows:
        raise CrossDistilError(
            f"{earlier.directory}, made of the same inputs and configuration, has {bad:,} bad rows of {rows:,} "
            f"({bad / rows:.2%}, at most {most:.2%} may be); mend the logs, or raise --max-bad-fraction"
        )


def _make(
    run: Run,
    experiment: Experiment,
    inputs: Sequence[InputInfo],
    frozen: PreparedData | None,
    options: PipelineOptions,
    console: Console,
) -> PreparedData:
    settings = options.view_as(PreprocessOptions)
    reader = _reader(experiment)
    planned = plan_ranges(reader, inputs)
    previous, warnings = find_previous(run.output, run, experiment.schema_hash())
    warnings += extra_column_warnings(planned.extra_columns)
    job = Job(
        experiment=experiment,
        run=run.directory,
        attempt=run.begin(),
        ranges=tuple(planned.ranges),
        max_bad_fraction=settings.max_bad_fraction,
        frozen=frozen.directory if frozen else None,
        global_shuffle=settings.global_shuffle,
    )
    try:
        with shown_progress(run.directory, planned.ranges, console, settings.global_shuffle):
            run_pipeline(job, options)
        run.check_current()
        reports = read_reports(run.directory, len(planned.ranges))
        metadata = summarize(experiment, run.identity, inputs, reports)
        warnings += unmatched_warnings(reports.survey.unmatched, metadata.rows_in)
        warnings += precision_warnings(experiment, reports.survey.labels, reports.survey.numeric)
        warnings += unlabelled_warnings(metadata)
        metadata = metadata.model_copy(update={"global_shuffle": settings.global_shuffle, "warnings": warnings})
        metadata = compared(metadata, previous, frozen.metadata if frozen else None, settings.drift_bound)
        check_unchanged(reader, settings.input, inputs, planned.ranges)
        return run.publish(metadata, reports)
    except BaseException:
        run.discard()
        raise


def _reader(experiment: Experiment) -> Reader:
    return make_reader(experiment.source, Validator(experiment).columns)


def _keep_beam_quiet(quiet: bool) -> None:
    logging.getLogger("apache_beam").setLevel(logging.ERROR if quiet else logging.WARNING)
    for step in ("common", "worker"):
        # Every exception of a worker is logged there with its traceback, before it is raised here.
        logging.getLogger(f"apache_beam.runners.{step}").setLevel(logging.CRITICAL)


def _help(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Prepares raw logs: checks, splits and encodes them into TFRecords per split and label combination.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("CONFIG", help="YAML file of the experiment")
    PreprocessOptions.add_to(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
