# SPDX-License-Identifier: Apache-2.0
"""Labels of binary tasks: their rules, where they may be missing, and conditions."""

import itertools
from typing import Any

import numpy as np
import pytest

from pipelines.checking.dead_letters import dead_letters
from tests.pipelines.checking.checked_rows import Make, check
from tf_crossdistil.config import Experiment


@pytest.mark.parametrize(
    "rule, values, labels",
    [
        ({}, ["0", " 1 ", "0.0", "1.0", "true", "false", "True", "FALSE"], [0, 1, 0, 1, 1, 0, 1, 0]),
        ({}, [True, False], [1, 0]),
        ({}, [1.0, 0.0], [1, 0]),
        ({}, [1, 0], [1, 0]),
        ({}, ["2", "-1", "yes", "", None], ["label_not_binary"] * 3 + ["label_missing"] * 2),
        ({}, [0.5, None, float("nan")], ["label_not_binary", "label_missing", "label_missing"]),
        ({"positive": "50000+."}, [" 50000+.", "- 50000.", ""], [1, 0, "label_missing"]),
        ({"positive": 5}, ["5", "5.0", "5x", "4"], [1, 1, 0, 0]),
        ({"positive": 5}, [5, 4], [1, 0]),
        ({"positive": "1"}, ["1", "1.0"], [1, 0]),
        ({"positive": True}, [True, False], [1, 0]),
        ({"at_least": 4}, ["4", "3.99", "1e9", "-5", "four", "inf"], [1, 0, 1, 0, "not_a_number", "not_a_number"]),
        ({"at_least": 0}, [0, -1], [1, 0]),
        ({}, [b"1", b"\xff"], [1, "not_utf8"]),
    ],
)
def test_label_rules(experiment: Make, rule: dict[str, Any], values: list[Any], labels: list[int | str]) -> None:
    config = experiment(tasks=[{"name": "task", "column": "label", **rule}])
    block, rows = check(config, {"user": ["u"] * len(values), "label": values})
    reasons = {letter.position: letter.reason for letter in dead_letters(block, rows)}
    assert [reasons.get(row) or int(rows.labels[row, 0]) for row in range(len(values))] == labels


def labels_or_reasons(config: Experiment, columns: dict[str, list[Any]]) -> list[list[float | None] | str]:
    rows = len(next(iter(columns.values())))
    block, checked = check(config, {"user": ["u"] * rows, **columns})
    assert checked.labels.dtype == np.float32
    reasons = {letter.position: letter.reason for letter in dead_letters(block, checked)}
    return [
        reasons.get(row) or [None if np.isnan(label) else float(label) for label in labels]
        for row, labels in enumerate(checked.labels)
    ]


@pytest.mark.parametrize("rule", [{}, {"positive": "1"}, {"at_least": 1}])
def test_an_optional_label_may_be_empty_but_not_wrong(experiment: Make, rule: dict[str, Any]) -> None:
    config = experiment(tasks=[{"name": "t", "column": "t", "optional": True, **rule}])
    assert labels_or_reasons(config, {"t": ["1", "", None, " ", "0"]}) == [[1], [None], [None], [None], [0]]
    assert labels_or_reasons(config, {"t": [1.0, float("nan"), None, 0.0]}) == [[1], [None], [None], [0]]
    wrong = {"{}": "label_not_binary", "{'at_least': 1}": "not_a_number"}.get(str(rule), [0])
    assert labels_or_reasons(config, {"t": ["maybe", ""]}) == [wrong, [None]]


def test_optional_labels_still_need_one_text_a_row(experiment: Make) -> None:
    config = experiment(tasks=[{"name": "t", "column": "t", "optional": True}])
    assert labels_or_reasons(config, {"t": [["1"], None]}) == ["wrong_type", [None]]
    assert labels_or_reasons(config, {"t": [b"\xff", None]}) == ["not_utf8", [None]]


@pytest.mark.parametrize("optional", [False, True])
def test_a_label_means_something_where_its_condition_holds(experiment: Make, optional: bool) -> None:
    config = experiment(
        tasks=[{"name": "buy", "column": "b", "given": "click", "optional": optional}, {"name": "click", "column": "c"}]
    )
    columns = {"b": ["0", "1", "", "0", "1", "", "maybe"], "c": ["1", "1", "1", "0", "0", "0", "0"]}
    assert labels_or_reasons(config, columns) == [
        [0, 1],
        [1, 1],
        [None, 1] if optional else "label_missing",
        [None, 0],
        [None, 0],
        [None, 0],
        [None, 0],
    ]


def test_a_chain_of_conditions_is_followed_in_whatever_order_tasks_stand(experiment: Make) -> None:
    """Against the definition, over all combinations: a label is there where its own condition's label is 1."""
    tasks: dict[str, dict[str, Any]] = {
        "view": {"optional": True},
        "click": {"given": "view", "optional": True},
        "buy": {"given": "click", "optional": True},
        "share": {"given": "view", "optional": True},
    }
    values = list(itertools.product(["0", "1", ""], repeat=4))
    for order in itertools.permutations(tasks):
        config = experiment(tasks=[{"name": name, "column": name, **tasks[name]} for name in order])
        columns = {name: [row[position] for row in values] for position, name in enumerate(tasks)}
        expected = []
        for row in values:
            view, click, buy, share = (float(value) if value else None for value in row)
            click, share = (click, share) if view == 1 else (None, None)
            by_name = {"view": view, "click": click, "buy": buy if click == 1 else None, "share": share}
            expected.append([by_name[name] for name in order])
        assert labels_or_reasons(config, columns) == expected


def test_a_condition_that_cannot_be_read_does_not_hold(experiment: Make) -> None:
    config = experiment(
        tasks=[{"name": "buy", "column": "b", "given": "click"}, {"name": "click", "column": "c", "at_least": 1}]
    )
    block, rows = check(config, {"user": ["u"], "b": [""], "c": ["inf"]})
    assert [(letter.reason, letter.message.split("'")[1]) for letter in dead_letters(block, rows)] == [("not_a_number", "c")]


def test_the_message_of_a_missing_label_tells_the_way_out(experiment: Make) -> None:
    block, rows = check(experiment(), {"user": ["u"], "finish": [""], "like": ["0"]})
    (letter,) = dead_letters(block, rows)
    assert letter.message == (
        "column 'finish' must hold the label of task 'finish' (or give the task 'optional: true'); received ''"
    )
