# SPDX-License-Identifier: Apache-2.0
"""Labels of regression tasks: numbers of any stored type, and what is none."""

import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.checking.dead_letters import dead_letters
from pipelines.checking.validate import Validator
from pipelines.sources.blocks import Block
from tf_crossdistil.config import Experiment

Make = Callable[..., Experiment]
CLICK = {"name": "click", "column": "c"}
RATING = {"name": "rating", "column": "r", "kind": "regression"}


def labels_or_reasons(config: Experiment, columns: dict[str, Any]) -> list[list[float | None] | str]:
    """By row, what it holds for each task, or why it is bad."""
    arrays = {name: pa.array(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    block = Block({"user": pa.array(["u"] * count), **arrays}, np.arange(count))
    rows = Validator(config)(block.columns)
    assert rows.labels.dtype == np.float32 and rows.labels.T.flags.c_contiguous, "each column lies in one piece"
    reasons = {letter.position: letter.reason for letter in dead_letters(block, rows)}
    return [
        reasons.get(row) or [None if np.isnan(label) else float(label) for label in labels]
        for row, labels in enumerate(rows.labels)
    ]


@pytest.mark.parametrize(
    "values, expected",
    [
        (["4.5", " 3 ", "-1e2", ".5", "+0", "007"], [4.5, 3, -100, 0.5, 0, 7]),
        (["", " ", None], ["label_missing"] * 3),
        (["nan", "NaN", "inf", "-inf", "1e39", "four", "4,5", "true", "0x1"], ["not_a_number"] * 9),
        ([5, -3, None], [5, -3, "label_missing"]),
        ([4.5, float("nan"), float("inf"), -float("inf"), 1e39, None], [4.5, *["not_a_number"] * 4, "label_missing"]),
        (pa.array([4.5, float("nan")], pa.float16()), [4.5, "not_a_number"]),
        ([decimal.Decimal("4.50"), decimal.Decimal("-0.25"), None], [4.5, -0.25, "label_missing"]),
        (pa.array([decimal.Decimal("3.75")], pa.decimal256(60, 2)), [3.75]),
        ([True, False], [1, 0]),
        ([b"2.5", b"\xff"], [2.5, "not_utf8"]),
        ([[4.0], None], ["wrong_type", "label_missing"]),
        (pa.array(["1", "2.5", "1", "x"]).dictionary_encode(), [1, 2.5, 1, "not_a_number"]),
    ],
)
def test_numbers_of_any_type(experiment: Make, values: Any, expected: list[float | str]) -> None:
    columns = {"r": values, "c": ["1"] * len(values)}
    found = labels_or_reasons(experiment(tasks=[CLICK, RATING]), columns)
    assert found == [label if isinstance(label, str) else [1, label] for label in expected]
    optional = labels_or_reasons(experiment(tasks=[CLICK, RATING | {"optional": True}]), columns)
    assert optional == [[1, None] if label == "label_missing" else label for label in found]


def test_a_label_means_something_where_its_condition_holds(experiment: Make) -> None:
    columns = {"r": ["4", "", "x", "2", "", "x", "inf"], "c": ["1", "1", "1", "0", "0", "0", "0"]}
    given = RATING | {"given": "click"}
    expected = [[4, 1], "label_missing", "not_a_number", *[[None, 0]] * 4]
    assert labels_or_reasons(experiment(tasks=[given, CLICK]), columns) == expected
    expected[1] = [None, 1]
    assert labels_or_reasons(experiment(tasks=[given | {"optional": True}, CLICK]), columns) == expected


def test_a_binary_task_may_read_the_same_column(experiment: Make) -> None:
    like = {"name": "like", "column": "r", "at_least": 4}
    config = experiment(tasks=[like, RATING])
    assert labels_or_reasons(config, {"r": ["4", "3.5", "x", ""]}) == [[1, 4], [0, 3.5], "not_a_number", "label_missing"]
    assert labels_or_reasons(config, {"r": [4.5, 1.0]}) == [[1, 4.5], [0, 1]]
    assert Validator(config).columns == ["r", "user"], "it is read once"


def test_the_message_names_column_and_value(experiment: Make) -> None:
    config = experiment(tasks=[CLICK, RATING])
    block = Block({name: pa.array([value]) for name, value in (("user", "u"), ("c", "1"), ("r", "four"))}, np.arange(1))
    (letter,) = dead_letters(block, Validator(config)(block.columns))
    assert letter.message == "column 'r' must hold finite numbers; received 'four'"
