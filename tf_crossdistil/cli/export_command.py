# SPDX-License-Identifier: Apache-2.0
"""The command that publishes a trained run as a served model: export."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from tf_crossdistil.cli.ending import raise_or_end
from tf_crossdistil.model_versions import HIGHEST_VERSION
from tf_crossdistil.startup import load_tensorflow
from tf_crossdistil.training.interruption import TERMINATED, Terminated


def export(
    run: Annotated[Path, typer.Option(metavar="DIR", help="The --run of `crossdistil train`.")],
    to: Annotated[Path, typer.Option(metavar="DIR/NAME", help="The model's folder; NAME is what clients ask for.")],
    version: Annotated[
        int | None, typer.Option(min=1, max=HIGHEST_VERSION, help="Default: one more than the newest there.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:TASK=NUMBER,...",
            help="A further output `score`: `weights:` for the sum of NUMBER times probability (or a regression's value), "
            "`powers:` for the product of probability to the power of NUMBER.",
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Remove all but the newest N versions; default: keep all.")
    ] = None,
) -> None:
    """Publish the students of a run's best epoch as a version of a model for TF Serving, with a model card.

    The version is written aside, compared with the live model and renamed, so that it appears whole or not at all.

    Examples: `crossdistil export --run runs/1 --to models/kuairand`

    `crossdistil export --run runs/1 --to models/kuairand --score weights:is_click=1,long_view=0.5 --keep 3`
    """
    with _tidy_end():
        load_tensorflow()
        from tf_crossdistil.export.publish import export as export_run
        from tf_crossdistil.export.score import Score
        from tf_crossdistil.models.run import Run

        opened = Run.open(run)
        fused = None if score is None else Score.parse(score, opened.experiment.task_names)
        console = Console(stderr=True)
        with console.status("exporting"):
            exported = export_run(opened, to, version, fused, keep)
    for line in (
        *(f"warning: {warning}" for warning in exported.warnings),
        f"exported {exported.variables} variables, {exported.bytes:,} bytes, to {exported.directory}",
        f"it answers as the live model does, to {exported.difference:.1e}",
        f"model card: {exported.card}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(export)


@contextmanager
def _tidy_end() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what was written aside is removed."""
    usual = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sentence = "stopped by SIGTERM; an unfinished version is not published"
    raise_or_end(Terminated(sentence), TERMINATED, sentence)
