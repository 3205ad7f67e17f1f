"""Options of the preprocessing and of Beam, checked before any work starts."""

import argparse
import difflib
import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import NoReturn

from pipelines.beam import PipelineOptions
from pipelines.runners.local import DEFAULT_RUNNER, checked_runner
from tf_crossdistil.errors import UsageError

DEFAULT_MAX_BAD_FRACTION = 0.01


class RaisingParser(argparse.ArgumentParser):
    """Raises in place of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`."""
        raise UsageError(f"{message}; see --help")


class PreprocessOptions(PipelineOptions):
    """What the preprocessing is asked for, next to Beam's own options."""

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options to any parser."""
        cls._add_argparse_args(parser)

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", nargs="+", action="extend", metavar="GLOB", help="files of logs, or patterns for them")
        parser.add_argument("--output", metavar="DIR", help="where runs are kept; LATEST there names the newest")
        parser.add_argument(
            "--max-bad-fraction",
            type=float,
            default=DEFAULT_MAX_BAD_FRACTION,
            metavar="FRACTION",
            help="share of rows that may go to dead letters before the run fails (default 0.01)",
        )


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """Beam's options from its command line, with the runner named.

    Raises:
        UsageError: an option or its value is none that Beam knows, or the runner cannot be used.
    """
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            parsed, unknown = parsers[0].parse_known_args(list(arguments))
    except SystemExit as error:
        raise UsageError(
            f"{complaint.getvalue().strip().rpartition('error: ')[2]}; see --help and Beam's documentation"
        ) from error
    if unknown:
        name = unknown[0].partition("=")[0]
        known = [option for action in parsers[0]._actions for option in action.option_strings]
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise UsageError(f"'{name}' is no option of ours or of Beam{hint}")
    return PipelineOptions(list(arguments), runner=checked_runner(parsed.runner or DEFAULT_RUNNER))
