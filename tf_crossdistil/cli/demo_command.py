# SPDX-License-Identifier: Apache-2.0
"""The command that shows everything: demo."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything that it makes goes.")] = Path("demo-output"),
    rows: Annotated[int, typer.Option(min=20_000, help="How many log rows.")] = 200_000,
) -> None:
    """Run the whole way on synthetic logs: generate, prepare, train, evaluate, export, serve, ask, report.

    Example: `crossdistil demo --out demo-output`
    """
    from tf_crossdistil.demo import run_demo

    run_demo(out, rows, Console())


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(demo)
