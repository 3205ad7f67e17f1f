"""The command that compares methods: compare."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from tf_crossdistil.config import SPLITS, Experiment, duplicates
from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import UsageError
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.startup import load_tensorflow

if TYPE_CHECKING:
    from tf_crossdistil.evaluation.cells import Setting

# What the comparison itself sets, and what the user gives instead.
_OWN_KEYS = {"training.seed": "--seeds", "distillation.method": "--methods"}
_TUNE_FORM = "--tune needs KEY=VALUE,VALUE,... such as training.learning_rate=0.001,0.003"


def compare(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="The --output of `crossdistil prepare`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where cells and results are kept.")],
    methods: Annotated[str, typer.Option(metavar="NAME,...", help="Backbones and distillation methods.")],
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
) -> None:
    """Train methods with several seeds under one budget and say how they differ. Asked again, it goes on where it was.

    A backbone is trained without distillation, a distillation method on the configuration's backbone.

    Example: `crossdistil compare configs/kuairand.yaml --data data --out comparison --methods ple,taug,crossdistil --seeds 0,1,2`
    """
    if split not in SPLITS:
        raise UsageError(f"--split must be one of {', '.join(SPLITS)}; received '{split}'")
    names, numbers = _listed("--methods", methods), _numbers(seeds)
    experiments = _grid(config, overrides or [], tune or [])
    prepared = PreparedData.open(data)
    load_tensorflow()
    from tf_crossdistil.evaluation.cells import write_json
    from tf_crossdistil.evaluation.compare import compare as compare_methods
    from tf_crossdistil.evaluation.comparison_table import Figures, comparison_document, comparison_tables

    comparison = compare_methods(_settings(experiments), names, numbers, prepared, out, split, Console(stderr=True))
    figures = Figures.of(comparison)
    write_json(out / "results.json", [result.document() for result in comparison.results])
    write_json(out / "comparison.json", comparison_document(figures))
    for table in comparison_tables(figures):
        Console().print(table)
    if comparison.failures:
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(compare)


def _listed(option: str, text: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise UsageError(f"{option} needs values divided by commas; received '{text}'")
    if twice := duplicates(items):
        raise UsageError(f"{option} names '{twice[0]}' twice")
    return items


def _numbers(text: str) -> list[int]:
    items = _listed("--seeds", text)
    if not all(item.isdecimal() for item in items):
        raise UsageError(f"--seeds needs whole numbers from 0, divided by commas; received '{text}'")
    numbers = [int(item) for item in items]
    if twice := duplicates([str(number) for number in numbers]):
        raise UsageError(f"--seeds names '{twice[0]}' twice")
    return numbers


def _grid(config: Path, overrides: list[str], tune: list[str]) -> list[tuple[dict[str, Any], Experiment]]:
    """The values and the experiment at every point of the grid, one point without values where nothing is tuned."""
    for option, keys in (("--set", overrides), ("--tune", tune)):
        for key in (text.partition("=")[0] for text in keys):
            if key in _OWN_KEYS:
                raise UsageError(f"{option} cannot change {key}, which {_OWN_KEYS[key]} gives")
    axes = [_axis(text) for text in tune]
    keys = [key for key, _ in axes]
    if twice := duplicates(keys):
        raise UsageError(f"--tune names '{twice[0]}' twice; list all its values behind one")
    points = []
    for texts in itertools.product(*(values for _, values in axes)):
        chosen = [f"{key}={text}" for key, text in zip(keys, texts, strict=True)]
        experiment = load_config(config, [*overrides, *chosen])
        points.append(({key: _value(experiment, key) for key in keys}, experiment))
    repeated = [
        values for position, (values, _) in enumerate(points) if values in [earlier for earlier, _ in points[:position]]
    ]
    if repeated:
        raise UsageError(f"--tune lists a value twice: {', '.join(f'{key}={value}' for key, value in repeated[0].items())}")
    return points


def _axis(text: str) -> tuple[str, list[str]]:
    """A key and its values as YAML; a value may be a list, whose commas divide nothing."""
    key, equals, listed = text.partition("=")
    if key == "model.backbone":
        raise UsageError("--tune cannot change model.backbone, which --methods gives")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except (yaml.YAMLError, ValueError):
        values = None
    if not equals or not all(key.split(".")) or not isinstance(values, list) or not values:
        raise UsageError(f"{_TUNE_FORM}; received '{text}'")
    return key, [
        yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip() for value in values
    ]


def _value(experiment: Experiment, key: str) -> Any:
    """The value that the validated configuration has at a key."""
    value: Any = experiment.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


def _settings(points: list[tuple[dict[str, Any], Experiment]]) -> "list[Setting]":
    from tf_crossdistil.evaluation.cells import Setting

    return [Setting(values, experiment) for values, experiment in points]
