# SPDX-License-Identifier: Apache-2.0
"""What calls of a comparison leave to later ones: each method's chosen setting, and every finished cell.

OUT/cells/METHOD/chosen.json            the setting whose cells are the method's results, and the seed that it was chosen with
OUT/cells/METHOD/SETTING/seed=N/        a cell
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_crossdistil.comparison.cells import Cell, CellResult, read_json
from tf_crossdistil.comparison.method_names import configured
from tf_crossdistil.comparison.settings import Setting, value_at
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.local_files import write_json
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import PreparedData

CELLS_FOLDER = "cells"
_CHOICE_FILE = "chosen.json"


@dataclass(frozen=True)
class Choice:
    """The `values` of a method's chosen setting; `seed` is that of its first tuning, None where it was never tuned."""

    values: dict[str, Any]
    seed: int | None


@dataclass
class KeptCells:
    """The finished cells of a folder that belong to one configuration and data.

    Attributes:
        results: those of each method's chosen setting, by method and seed.
        grids: the tuned settings of each tuned method, with the seed that chose.
        others: how many are of another configuration or other data, or damaged.
    """

    results: dict[tuple[str, int], CellResult] = field(default_factory=dict)
    grids: dict[str, list[CellResult]] = field(default_factory=dict)
    others: int = 0


def method_folder(out: Path, method: str) -> Path:
    """Where the cells of a method are, whose full name is given."""
    return out / CELLS_FOLDER / method.replace(":", ".")


def read_choice(folder: Path) -> Choice | None:
    """What was chosen for the method of a folder; None before the first choice.

    Raises:
        CrossDistilError: the file is damaged.
    """
    path = folder / _CHOICE_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        return Choice(dict(content["set"]), content["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise CrossDistilError(f"{path} is damaged: it lacks 'set' and 'seed'; remove it and compare again") from error


def write_choice(folder: Path, choice: Choice) -> None:
    """Keeps a choice for later calls.

    Raises:
        CrossDistilError: the file cannot be written.
    """
    # Not there where the first training could not even begin.
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _CHOICE_FILE, {"set": choice.values, "seed": choice.seed})


def kept_cells(out: Path, setting: Setting, split: str, data: PreparedData) -> KeptCells:
    """Reads all cells that are measured on the split.

    Args:
        out: the folder of the comparison.
        setting: any of the comparison; cells may differ from it in method, seed and tuned values.
        split: what was measured.
        data: what they must be trained on.
    """
    kept = KeptCells()
    for folder in sorted(path.parent for path in (out / CELLS_FOLDER).glob(f"*/{_CHOICE_FILE}")):
        choice = read_choice(folder)
        assert choice is not None
        chosen = Setting(choice.values, setting.experiment).folder
        for path in sorted(folder.glob(f"*/seed=*/{split}.json")):
            is_chosen, is_grid = path.parts[-3] == chosen, path.parts[-2] == f"seed={choice.seed}"
            if not is_chosen and not is_grid:
                continue
            try:
                result = _result(path.parent, choice, setting, split, data)
            except CrossDistilError:
                result = None
            if result is None:
                kept.others += is_chosen
                continue
            if is_chosen:
                kept.results[result.method, result.seed] = result
            # Another call may have tuned other keys, or none.
            if is_grid and path.parts[-3] == result.setting.folder:
                kept.grids.setdefault(result.method, []).append(result)
    return kept


def _result(directory: Path, choice: Choice, setting: Setting, split: str, data: PreparedData) -> CellResult | None:
    """The result of a cell; None where it is of another configuration or other data."""
    run = Run.open(directory)
    experiment = run.experiment
    method, seed = experiment.method_name, experiment.training.seed
    tuned = {*choice.values, *setting.values}
    is_same = _content(experiment, tuned) == _content(configured(setting.experiment, method, seed), tuned)
    if not is_same or run.metadata.run != data.metadata.run or run.metadata.schema_hash != data.metadata.schema_hash:
        return None
    own = Setting({key: value_at(experiment, key) for key in choice.values}, experiment)
    return Cell(method, seed, own, experiment, directory).kept_result(run, split)


def _content(experiment: Experiment, left_out: Iterable[str]) -> dict[str, Any]:
    """The configuration without some keys."""
    content = experiment.model_dump(mode="json")
    for key in left_out:
        *sections, last = key.split(".")
        part: Any = content
        for section in sections:
            part = part.get(section) if isinstance(part, dict) else None
        if isinstance(part, dict):
            part.pop(last, None)
    return content
