# SPDX-License-Identifier: Apache-2.0
"""Options of the preprocessing and of Beam, checked before any work starts."""

import argparse
import difflib
import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any

from pipelines.beam import PipelineOptions
from pipelines.runners.local import DEFAULT_RUNNER, checked_runner
from pipelines.runs.drift import DEFAULT_DRIFT_BOUND
from tf_crossdistil.errors import UsageError

DEFAULT_MAX_BAD_FRACTION = 0.01


class PreprocessOptions(PipelineOptions):
    """What the preprocessing is asked for, next to Beam's own options."""

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options to any parser."""
        cls._add_argparse_args(parser)

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--config", metavar="FILE", help="the same as CONFIG, for schedulers that give every value a name")
        parser.add_argument("--input", nargs="+", action="extend", metavar="GLOB", help="files of logs, or patterns for them")
        parser.add_argument(
            "--output",
            metavar="DIR",
            help="where runs are kept, local or such as gs://bucket/data; LATEST there names the newest",
        )
        parser.add_argument(
            "--max-bad-fraction",
            type=float,
            default=DEFAULT_MAX_BAD_FRACTION,
            metavar="FRACTION",
            help=f"share of rows that may go to dead letters before the run fails (default {DEFAULT_MAX_BAD_FRACTION})",
        )
        parser.add_argument(
            "--vocabulary-from",
            metavar="RUN",
            help="a prepared data set, or one run of it, whose vocabularies and statistics of numbers are taken over",
        )
        parser.add_argument(
            "--global-shuffle", action="store_true", help="put the records of each split and tag in random order"
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="make the run again, beside the complete one that is there, and point LATEST at it",
        )
        parser.add_argument(
            "--drift-bound",
            type=float,
            default=DEFAULT_DRIFT_BOUND,
            metavar="FRACTION",
            help="warn of positive, missing and out-of-vocabulary rates that differ from the previous run's by more than this "
            "share of the larger, and of labels of regression tasks by more than this share of their deviation "
            f"(default {DEFAULT_DRIFT_BOUND})",
        )

    def check(self) -> None:
        """Checks values that no parser can.

        Raises:
            UsageError: an option is missing or cannot be.
        """
        for option in ("input", "output"):
            if not getattr(self, option):
                raise UsageError(f"--{option} is missing; see --help")
        for option in ("max_bad_fraction", "drift_bound"):
            if not 0 <= (value := getattr(self, option)) <= 1:
                raise UsageError(f"--{option.replace('_', '-')} must be between 0 and 1; received {value}")


def beam_options(arguments: Sequence[str], **ours: Any) -> PipelineOptions:
    """Options from a command line of ours and of Beam, with the runner named; `ours` go before the command line.

    A single argument that belongs to no option is the configuration.

    Raises:
        UsageError: an option or its value is none that we or Beam know, or the runner cannot be used.
    """
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            parsed, rest = parsers[0].parse_known_args(list(arguments))
    except SystemExit as error:
        raise UsageError(
            f"{complaint.getvalue().strip().rpartition('error: ')[2]}; see --help and Beam's documentation"
        ) from error
    if unknown := [argument for argument in rest if argument.startswith("-")]:
        name = unknown[0].partition("=")[0]
        known = [option for action in parsers[0]._actions for option in action.option_strings]
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "see --help and Beam's documentation"
        raise UsageError(f"'{name}' is no option of ours or of Beam; {hint}")
    if len(configs := [*rest, *([parsed.config] if parsed.config else [])]) > 1:
        raise UsageError(f"there must be one CONFIG; received {' and '.join(configs)}; see --help")
    flags = list(arguments)
    for config in rest:
        flags.remove(config)
    runner = checked_runner(parsed.runner or DEFAULT_RUNNER)
    return PipelineOptions(flags, runner=runner, config=configs[0] if configs else None, **ours)
