# SPDX-License-Identifier: Apache-2.0
"""README and guides have the numbers of the files that `make bench` wrote, and defaults.md the defaults of the code."""

import json
import re
from pathlib import Path

import pytest

from tf_crossdistil.config import Distillation, EarlyStopping, Training

DOCS = Path(__file__).parents[1] / "docs"
MEASURED = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))["numbers"]
    for path in (DOCS.parent / "benchmarks" / "measured").glob("*.json")
}
NUMBERS = {key: value for numbers in MEASURED.values() for key, value in numbers.items()}
TASKS = MEASURED["tasks"]
# Every row of README's table about speed, in its order.
SPEED = [
    "| a Beam pipeline that handles rows one by one | {cheaper_than_beam_rows:.1f} times cheaper |",
    "| a polars script that makes a message a row | {cheaper_than_polars:.1f} times cheaper |",
    "| an expert's polars script with gzip's quickest level | {cheaper_than_polars_expert_quick:.1f} times cheaper |",
    "| plain PLE by DeepCTR, 4.7 million embedding rows | {examples_over_deepctr_4_7m:.1f} times as fast |",
    "| the same by torch-rechub | {examples_over_torch_rechub_4_7m:.1f} times as fast |",
    "| plain PLE by DeepCTR, 33,000 embedding rows | {examples_over_deepctr_33k:.2f} times as fast |",
    "| the same by torch-rechub | {examples_over_torch_rechub_33k:.2f} times as fast |",
    "| a step of our plain PLE | {step_crossdistil_over_plain:.2f} times as long |",
    "| training on the rows that are read | {input_over_training:.1f} times as fast |",
    "| all that training has, students and teachers | {latency_over_training_model_64:.2f} times as long |",
    "| DeepCTR, which takes ids: ours given ids | {latency_ids_over_deepctr_64:.2f} times as long |",
    "| DeepCTR, which takes ids: ours given texts | {latency_over_deepctr_64:.2f} times as long |",
]
SENTENCES = {
    "datasets.md": [
        "({negatives_reviews:,.0f} reviews) took {negatives_cpu_seconds:.0f} s of processor time and "
        "{negatives_gigabytes:.2f} GB",
    ],
    "serving.md": [
        "a folder of {megabytes_version:.0f} MB: {megabytes_memory_first_version:.0f} MB more for the first version, "
        "{megabytes_memory_second_version:.0f} MB for the second",
        "64 rows of different users and items {milliseconds_64_different_rows:.1f} ms, 64 times the same row "
        "{milliseconds_64_same_rows:.1f} ms; 1024 rows {milliseconds_1024_different_rows:.1f} ms and "
        "{milliseconds_1024_same_rows:.1f} ms",
    ],
    "skew.md": [
        "{skew_training_rows:,.0f} training rows with nine features, {skew_training_rows_per_second:,.0f} a second, in "
        "{skew_gigabytes:.2f} GB",
        "{skew_microseconds_a_row_json:.0f} microseconds a row as lines of JSON and "
        "{skew_microseconds_a_row_prediction_logs:.0f} as PredictionLogs of 8 rows",
    ],
    "tuning.md": ["by {tune_megabytes_a_trial:.1f} MB a trial"],
}
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


def test_readmes_speed_is_what_was_measured():
    part = (DOCS.parent / "README.md").read_text(encoding="utf-8").split("\n## Speed\n")[1].split("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    # The head and the line below it come first.
    for row, expected in zip(rows[2:], SPEED, strict=True):
        assert row.endswith(expected.format(**NUMBERS).removeprefix("|")), row


@pytest.mark.parametrize("page", SENTENCES)
def test_what_a_guide_says_was_measured(page):
    flowing = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    for sentence in SENTENCES[page]:
        assert sentence.format(**NUMBERS) in flowing


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
