# SPDX-License-Identifier: Apache-2.0
"""The option `--json` of every benchmark, and the file that it names."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--json FILE`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the result")


def write_numbers(path: Path | None, numbers: Mapping[str, float]) -> None:
    """Writes numbers by name, unless no file is asked for."""
    if path is not None:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def read_numbers(path: Path) -> dict[str, float]:
    """What `write_numbers` wrote."""
    numbers: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return numbers
