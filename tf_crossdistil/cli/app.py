# SPDX-License-Identifier: Apache-2.0
"""Every subcommand of `crossdistil`."""

import typer

from tf_crossdistil import __version__
from tf_crossdistil.cli import (
    compare_command,
    data_commands,
    demo_command,
    export_command,
    load_test_command,
    model_commands,
    serving_commands,
    skew_command,
    tune_command,
)

app = typer.Typer(
    help="CrossDistil multi-task ranking: from raw logs to a served student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (
    demo_command,
    data_commands,
    model_commands,
    export_command,
    compare_command,
    tune_command,
    serving_commands,
    load_test_command,
    skew_command,
):
    module.add_to(app)


@app.callback(invoke_without_command=True)
def crossdistil(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """CrossDistil multi-task ranking: from raw logs to a served student."""
    if version:
        print(__version__)
        raise typer.Exit
