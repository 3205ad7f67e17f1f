# SPDX-License-Identifier: Apache-2.0
"""Commands around data: generate, prepare, inspect."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tf_crossdistil.cli.progress import progress_bar


def generate(
    rows: Annotated[int, typer.Option(min=1, help="How many log rows.")],
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    truth: Annotated[bool, typer.Option("--truth", help="Add the true probabilities, for the best reachable metrics.")] = False,
) -> None:
    """Write synthetic TikTok-like logs.

    Example: `crossdistil generate --rows 200000 --seed 0 --out logs.csv --truth`
    """
    from pipelines.synthetic import write_logs

    console = Console(stderr=True)
    with progress_bar("generating", rows, console) as advance:
        write_logs(out, rows, seed, truth, advance)
    console.print(f"wrote {rows:,} rows to {out}", highlight=False)


def prepare(context: typer.Context) -> None:
    """Turn raw logs into a prepared data set with Apache Beam."""
    from pipelines.preprocess import run_command

    run_command(context.args, context.command_path)


def inspect(
    data: Annotated[
        str, typer.Argument(metavar="DIR", help="The --output of `crossdistil prepare`, such as gs://bucket/data.")
    ],
) -> None:
    """Show counts per split and tag, rates, vocabularies and warnings of a prepared data set.

    Example: `crossdistil inspect data/`
    """
    from pipelines.inspection import show_prepared, wide_console
    from pipelines.runs.storage import open_prepared, run_path

    show_prepared(open_prepared(run_path(data)), wide_console())


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command()(generate)
    # The pipeline has a parser of its own, which knows Beam's options; its --help is what the user should see.
    passing_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=passing_on)(prepare)
    app.command()(inspect)
