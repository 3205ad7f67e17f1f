"""Labels, splits and what is said about rows that are bad."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.checking.dead_letters import count_reasons, dead_letters
from pipelines.checking.validate import Rows, Validator
from pipelines.sources.blocks import Block, RejectedRow
from tf_crossdistil.config import Experiment

Make = Callable[..., Experiment]


def check(experiment: Experiment, columns: dict[str, Any]) -> tuple[Block, Rows]:
    block = Block({name: pa.array(values) for name, values in columns.items()}, np.arange(len(next(iter(columns.values())))))
    return block, Validator(experiment)(block.columns)


@pytest.mark.parametrize(
    "rule, values, labels",
    [
        ({}, ["0", " 1 ", "0.0", "1.0", "true", "false"], [0, 1, 0, 1, 1, 0]),
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
    assert [reasons.get(row, int(rows.labels[row, 0])) for row in range(len(values))] == labels


@pytest.mark.parametrize(
    "values, reasons",
    [
        (["1", "", None, "x", "nan", "inf", "1e39", "-3.4e38"], [None, None, None, *["not_a_number"] * 4, None]),
        ([1.0, None, float("nan"), float("inf")], [None, None, "not_a_number", "not_a_number"]),
        ([b"1", b"\xff"], [None, "not_utf8"]),
    ],
)
def test_numeric_feature(experiment: Make, values: list[Any], reasons: list[str | None]) -> None:
    config = experiment(tasks=[{"name": "t", "column": "t"}], features=[{"name": "n", "kind": "numeric"}])
    block, rows = check(config, {"user": ["u"] * len(values), "t": ["1"] * len(values), "n": values})
    found = {letter.position: letter.reason for letter in dead_letters(block, rows)}
    assert [found.get(row) for row in range(len(values))] == reasons


def test_required_numbers_may_not_be_missing(experiment: Make) -> None:
    config = experiment(
        tasks=[{"name": "t", "column": "t", "truth": "p"}], split={"by": "time", "column": "at", "boundaries": [1, 2]}
    )
    _, rows = check(config, {"user": ["u"] * 3, "t": ["1"] * 3, "p": ["", "0.5", "0.5"], "at": ["1", "", "1"]})
    assert rows.good.tolist() == [False, False, True]


def test_the_first_fault_of_a_row_is_told_with_column_and_value(experiment: Make) -> None:
    block, rows = check(experiment(), {"user": [b"\xff", b"u", b"u"], "finish": ["7", "7", "1"], "like": ["", "", "0"]})
    block.rejected.append(RejectedRow(9, "a row must have 3 fields; received 1", "x"))
    letters = list(dead_letters(block, rows))
    assert [(letter.position, letter.reason) for letter in letters] == [
        (0, "not_utf8"),
        (1, "label_not_binary"),
        (9, "wrong_field_count"),
    ]
    assert "column 'finish'" in letters[1].message and "'7'" in letters[1].message
    assert letters[1].raw == {"user": "u", "finish": "7", "like": ""}
    assert count_reasons(block, rows) == {"not_utf8": 1, "label_not_binary": 1, "wrong_field_count": 1}


def test_hash_split_is_the_fingerprint_of_the_joined_key(experiment: Make) -> None:
    users = [f" user {row % 400} " for row in range(2000)]
    items = list(range(2000))
    config = experiment(split={"by": "hash", "key": ["user", "item"], "fractions": [0.5, 0.3, 0.2]})
    _, rows = check(config, {"user": users, "item": items, "finish": ["1"] * 2000, "like": ["0"] * 2000})
    keys = [[f"{user.strip()}\x1f{item}".encode()] for user, item in zip(users, items, strict=True)]
    fingerprints = tf.fingerprint(tf.constant(keys)).numpy().view("<u8").ravel()
    positions = [int(fingerprint) / 2**64 for fingerprint in fingerprints]
    assert rows.splits.tolist() == [0 if position < 0.5 else 1 if position < 0.8 else 2 for position in positions]


def test_fractions_of_zero_get_no_row(experiment: Make) -> None:
    config = experiment(split={"by": "hash", "key": ["user"], "fractions": [0.7, 0.3, 0.0]})
    users = [str(row) for row in range(5000)]
    _, rows = check(config, {"user": users, "finish": ["1"] * 5000, "like": ["0"] * 5000})
    assert set(rows.splits.tolist()) == {0, 1}


@pytest.mark.parametrize("times", [["99", "100", "199.5", "200", "1e9"], [99, 100, 199, 200, 300]])
def test_time_split_sends_boundaries_to_the_later_split(experiment: Make, times: list[Any]) -> None:
    config = experiment(split={"by": "time", "column": "at", "boundaries": [100, 200]})
    _, rows = check(config, {"user": ["u"] * 5, "finish": ["1"] * 5, "like": ["0"] * 5, "at": times})
    assert rows.splits.tolist() == [0, 1, 1, 2, 2]
