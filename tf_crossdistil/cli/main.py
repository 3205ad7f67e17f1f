"""The `crossdistil` command: every subcommand, and how errors and Ctrl-C end it."""

import os
import sys

import typer

from tf_crossdistil import __version__
from tf_crossdistil.cli import data_commands, demo_command, model_commands, serving_commands
from tf_crossdistil.errors import CrossDistilError

INTERRUPTED = 130

app = typer.Typer(
    help="CrossDistil multi-task ranking: from raw logs to a served student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (demo_command, data_commands, model_commands, serving_commands):
    module.add_to(app)


@app.callback(invoke_without_command=True)
def crossdistil(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """CrossDistil multi-task ranking: from raw logs to a served student."""
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line; exit code 0, 1 for a fault, 2 for wrong use, 130 after Ctrl-C."""
    try:
        app(standalone_mode=True)
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; what was unfinished is not used by later commands", file=sys.stderr)
        # Threads of a pipeline that was running would hold the process up.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
