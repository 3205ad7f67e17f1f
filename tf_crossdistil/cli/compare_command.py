# SPDX-License-Identifier: Apache-2.0
"""The command that compares methods: compare."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tf_crossdistil.cli.ending import resumable
from tf_crossdistil.comparison.settings import grid
from tf_crossdistil.comparison.sweep_plan import sweep_plan
from tf_crossdistil.config import SPLITS, duplicates
from tf_crossdistil.errors import UsageError
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.startup import load_tensorflow

# A file or a pipe has room for long names.
_WIDE = 160


def compare(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The --output of `crossdistil prepare`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where cells and results are kept.")],
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Backbones and distillation methods, each with +ctfm, +gkd or both behind it where its towers learn from each "
            "other, such as mmoe,mmoe+ctfm+gkd.",
        ),
    ],
    seeds: Annotated[str, typer.Option(metavar="N,...", help="Each method is trained with each of them.")] = "0",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the configuration; may be repeated.")
    ] = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,...", help="Choose for each method by validation data and the first seed; may be repeated."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="What is measured: train, validation or test.")] = "test",
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The one of --methods that others are compared with; default single, else ple, else the first.",
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(metavar="EPOCHS", min=1, help="Every training ends after so many epochs at the latest.")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,...", help="Train --sweep-methods with each value too, for a figure; may be repeated."),
    ] = None,
    sweep_methods: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Of --methods; default the configuration's own method.")
    ] = None,
    sweep_seeds: Annotated[str | None, typer.Option(metavar="N,...", help="Of --seeds; default all of them.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Trainings at a time; default one for two cores, and one where there is a GPU."),
    ] = None,
) -> None:
    """Train methods with several seeds under one budget and say how they differ. Asked again, it goes on where it was.

    Writes tables, figures and a report page into --out.

    A backbone is trained without distillation, a distillation method on the configuration's backbone. A name with suffixes
    has just those values of model.mutual; one without has what the configuration says, and tables call it by that. SIGTERM
    and Ctrl-C end it with 143 and 130.

    Example: `crossdistil compare configs/kuairand.yaml --data data --out compared --methods ple,ple+gkd,crossdistil`
    """
    if split not in SPLITS:
        raise UsageError(f"--split must be one of {', '.join(SPLITS)}; received '{split}'")
    names, numbers = _listed("--methods", methods), _numbers("--seeds", seeds)
    swept_names = () if sweep_methods is None else _listed("--sweep-methods", sweep_methods)
    swept_numbers = () if sweep_seeds is None else _numbers("--sweep-seeds", sweep_seeds)
    if not sweep and (swept_names or swept_numbers):
        raise UsageError("--sweep-methods and --sweep-seeds say what --sweep trains; give a --sweep, or leave them out")
    values = _within_budget(budget, overrides or [], [*(tune or []), *(sweep or [])])
    with resumable():
        settings = grid(config, values, tune or [])
        prepared = PreparedData.open(data)
        plan = sweep_plan(config, values, sweep or [], settings, swept_names, swept_numbers, numbers)
        load_tensorflow()
        from tf_crossdistil.comparison.cell_runner import usual_jobs
        from tf_crossdistil.comparison.compare import compare as compare_methods
        from tf_crossdistil.comparison.comparison_files import write_comparison
        from tf_crossdistil.comparison.comparison_table import Figures, comparison_tables

        told = Console(stderr=True)
        comparison = compare_methods(settings, names, numbers, prepared, out, split, told, baseline, plan, jobs or usual_jobs())
    figures = Figures.of(comparison)
    write_comparison(out, figures, settings[0].experiment, prepared, shlex.join(["crossdistil", *sys.argv[1:]]))
    screen = Console(width=None if sys.stdout.isatty() else _WIDE)
    for part in comparison_tables(figures):
        screen.print(part)
    told.print(f"report: {out / 'report.html'}", highlight=False, soft_wrap=True)
    if comparison.missing:
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(compare)


def _listed(option: str, text: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise UsageError(f"{option} needs values divided by commas; received '{text}'")
    if twice := duplicates(items):
        raise UsageError(f"{option} names '{twice[0]}' twice; name each once")
    return items


def _numbers(option: str, text: str) -> list[int]:
    items = _listed(option, text)
    if not all(item.isdecimal() for item in items):
        raise UsageError(f"{option} needs whole numbers from 0, divided by commas; received '{text}'")
    numbers = [int(item) for item in items]
    if twice := duplicates([str(number) for number in numbers]):
        raise UsageError(f"{option} names '{twice[0]}' twice; name each once")
    return numbers


def _within_budget(budget: int | None, overrides: list[str], tried: list[str]) -> list[str]:
    """The overrides with those of the budget, which nothing else may give."""
    if budget is None:
        return overrides
    if "training.epochs" in [text.partition("=")[0] for text in [*overrides, *tried]]:
        raise UsageError("--budget gives training.epochs, and so does another option; leave one out")
    return [*overrides, f"training.epochs={budget}"]
