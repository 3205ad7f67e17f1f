# SPDX-License-Identifier: Apache-2.0
"""Numbers in docs/paper.md are those of the files that commands wrote, and docs/defaults.md has the defaults of the code."""

import json
import re
from pathlib import Path

import pytest

from tf_crossdistil.config import Distillation, EarlyStopping, Training

DOCS = Path(__file__).parents[1] / "docs"
TASKS = json.loads((DOCS / "measured" / "tasks.json").read_text(encoding="utf-8"))
NETWORKS = {
    "plain": "plain",
    "`ctfm`": "ctfm",
    "`gkd`": "gkd",
    "both": "both",
    "`crossdistil`": "crossdistil",
    "`crossdistil`, both": "crossdistil_both",
}


def table(page, heading):
    """The cells of the table under a heading, by the first of each row; the head is there too."""
    part = (DOCS / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


COSTS = table("paper.md", "What more tasks and mutual towers cost")


def test_every_network_and_number_of_tasks_that_was_measured_is_in_the_table():
    assert COSTS.keys() == {"network", "---", *NETWORKS}
    shown = {f"step_milliseconds_{NETWORKS[name]}_{count.split()[0]}" for name in NETWORKS for count in COSTS["network"][:4]}
    assert shown == {key for key in TASKS if key.startswith("step_milliseconds")}


@pytest.mark.parametrize("name", NETWORKS)
def test_costs_are_those_of_the_file(name):
    network = NETWORKS[name]
    for tasks, cell in zip((2, 4, 8, 16), COSTS[name][:4], strict=True):
        milliseconds, *times = re.findall(r"[\d.]+", cell)
        assert milliseconds == f"{TASKS[f'step_milliseconds_{network}_{tasks}']:.1f}"
        assert times == ([] if network == "plain" else [f"{TASKS[f'step_{network}_over_plain_{tasks}']:.2f}"])
    if f"multiplications_a_task_{network}" in TASKS:
        numbers = [float(number.replace(",", "")) for number in re.findall(r"([\d,]+) T", COSTS[name][4])]
        assert numbers == [TASKS[f"multiplications_a_task_{network}"], TASKS[f"multiplications_a_pair_{network}"]]
    else:
        assert COSTS[name][4] == ""


def test_the_defaults_are_those_of_the_code():
    known = {
        f"`{key}`": section.model_fields[key].default for section in (Training, Distillation) for key in section.model_fields
    }
    known |= {f"`early_stopping.{key}`": field.default for key, field in EarlyStopping.model_fields.items()}
    text = (DOCS / "defaults.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (`[^|]+`) \| ([\w.]+) \|", text, re.MULTILINE))
    assert len(rows) > 7
    for keys, default in rows.items():
        for key in keys.split(", "):
            assert default == (f"{known[key]:g}" if isinstance(known[key], int | float) else known[key]), key
