# SPDX-License-Identifier: Apache-2.0
"""The command that searches for hyper-parameters: tune."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tf_crossdistil.cli.ending import resumable
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.startup import load_tensorflow


def tune(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file, with a `tuning` section.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The --output of `crossdistil prepare`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the study, its runs and what was found are kept.")],
    trials: Annotated[int, typer.Option(min=1, metavar="N", help="How many, those of earlier calls included.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the configuration; may be repeated.")
    ] = None,
) -> None:
    """Search for the settings that are best on validation data. Asked again, it goes on where it was.

    SIGTERM and Ctrl-C end it with 143 and 130; the trial at work is run again by the next call.

    Example: `crossdistil tune configs/kuairand.yaml --data data --out tuned --trials 50`
    """
    with resumable():
        from tf_crossdistil.tuning.space import Space

        space = Space.of(load_config(config, overrides))
        prepared = PreparedData.open(data)
        load_tensorflow()
        from tf_crossdistil.tuning.report import BEST_FILE, best_trials, write_report
        from tf_crossdistil.tuning.search import BEST_LINK
        from tf_crossdistil.tuning.search import tune as search

        result = search(space, prepared, out, trials, Console(stderr=True))
    write_report(result, space, out)
    if result.best is None:
        last = result.trials[-1].error
        raise CrossDistilError(
            f"no trial of {len(result.trials)} ended well; {out / 'trials.json'} says why, of the last: {last}"
        )
    screen = Console()
    screen.print(best_trials(result))
    screen.print(
        f"the best run is {out / BEST_LINK}; train its settings anew with: "
        f"crossdistil train {out / BEST_FILE} --data {data} --run DIR",
        highlight=False,
        soft_wrap=True,
    )


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(tune)
