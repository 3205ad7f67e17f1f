# SPDX-License-Identifier: Apache-2.0
"""A benchmark of several parts: which are run, and how their numbers are shown and kept."""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.goals import GOALS
from benchmarks.numbers_file import add_json_option, write_numbers

# Measures numbers by name, in a folder of its own.
Part = Callable[[argparse.Namespace, Path], dict[str, float]]


def run_parts(parser: argparse.ArgumentParser, parts: Mapping[str, Part], title: str) -> None:
    """Runs the parts that the command line asks for, prints the numbers, and writes them as JSON on request.

    Args:
        parser: with the options of the parts; `--only` and `--json` are added.
        parts: by name.
        title: of the table.
    """
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="parts to run (default all)")
    add_json_option(parser)
    arguments = parser.parse_args()
    result: dict[str, float] = {}
    for part in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            result |= parts[part](arguments, Path(folder))
    _show(result, title)
    write_numbers(arguments.json, result)


def _show(result: Mapping[str, float], title: str) -> None:
    table = Table("number", title=title)
    table.add_column("measured", justify="right")
    table.add_column("goal", justify="right")
    for name, value in result.items():
        table.add_row(name, f"{value:,.2f}" if value < 1000 else f"{value:,.0f}", str(GOALS.get(name, "")))
    Console().print(table)
