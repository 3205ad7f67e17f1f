# SPDX-License-Identifier: Apache-2.0
"""Commands around models: train, evaluate."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tf_crossdistil.cli.ending import resumable
from tf_crossdistil.cli.json_file import check_json_file, write_json_file
from tf_crossdistil.cli.progress import progress_bar
from tf_crossdistil.config import SPLITS
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import UsageError
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.startup import load_tensorflow, quiet_tensorflow


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The --output of `crossdistil prepare`.")],
    run: Annotated[Path, typer.Option(metavar="DIR", help="Where everything about this run is kept.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the configuration; may be repeated.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint of --run; start where there is none.")
    ] = False,
    warm_start: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Start from the best epoch of a former run, whose vocabularies may differ."),
    ] = None,
) -> None:
    """Train students and teachers together.

    SIGTERM and Ctrl-C finish the step, save, and end with 143 and 130; the same command with --resume goes on from there.

    Example: `crossdistil train configs/kuairand.yaml --data data --run runs/1 --set training.epochs=3`
    """
    with resumable():
        experiment = load_config(config, overrides)
        prepared = PreparedData.open(data)
        with quiet_tensorflow():
            from tf_crossdistil.training.strategies.registry import find_strategy
            from tf_crossdistil.training.trainer import train as train_run
        # Workers must meet before anything is computed.
        strategy = find_strategy(experiment)
        load_tensorflow()
        train_run(experiment, prepared, run, Console(stderr=True), resume, warm_start, strategy=strategy)


def evaluate(
    run: Annotated[Path, typer.Option(metavar="DIR", help="The --run of `crossdistil train`.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The --output of `crossdistil prepare`.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the metrics as JSON, too.")] = None,
    bootstrap: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Add 95 % intervals from N resamples, such as 200: of whole groups where evaluation.group_by is set "
            "(the cluster bootstrap), of rows otherwise.",
        ),
    ] = None,
) -> None:
    """Measure the best epoch of a run on a whole split. The run keeps what was measured, for the model card of `export`.

    Example: `crossdistil evaluate --run runs/1 --data data --split test --json metrics.json --bootstrap 200`
    """
    if split not in SPLITS:
        raise UsageError(f"--split must be one of {', '.join(SPLITS)}; received '{split}'")
    check_json_file(json_file)
    prepared = PreparedData.open(data)
    load_tensorflow()
    from tf_crossdistil.evaluation.evaluate import evaluate as evaluate_run
    from tf_crossdistil.evaluation.tables import result_table
    from tf_crossdistil.metrics.bootstrap import bootstrap_intervals
    from tf_crossdistil.models.run import Run

    opened = Run.open(run)
    with progress_bar(f"evaluating {split}", prepared.rows(split), Console(stderr=True)) as advance:
        result = evaluate_run(opened, prepared, split, advance)
    if bootstrap is not None:
        with progress_bar("resampling", bootstrap, Console(stderr=True)) as advance:
            intervals = bootstrap_intervals(opened.experiment, result.predictions, bootstrap, advance)
        result.summary["intervals"] = intervals
    Console().print(result_table([(result.name, result.summary)]))
    write_json_file(json_file, result.summary)


def add_to(app: typer.Typer) -> None:
    """Registers the commands."""
    for command in (train, evaluate):
        app.command()(command)
