# SPDX-License-Identifier: Apache-2.0
"""Weights, numbers and truths, and what is said about rows that are bad."""

import decimal
import json
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from pipelines.checking.dead_letters import count_reasons, dead_letters
from pipelines.sources.blocks import RejectedRow
from tests.pipelines.checking.checked_rows import Make, check


@pytest.mark.parametrize(
    "weights, reasons",
    [
        (["1", " 0.5 ", "0", "3e38"], [None] * 4),
        (["", None, "x", "nan", "inf", "1e39", "-1e39"], ["not_a_number"] * 7),
        (["-0.1", "-0"], ["negative_weight", None]),
        ([1.0, float("nan"), None, float("inf"), -1.0], [None, *["not_a_number"] * 3, "negative_weight"]),
        ([1, 0, -3], [None, None, "negative_weight"]),
        ([b"1", b"\xff"], [None, "not_utf8"]),
        ([[1.0], None], ["wrong_type", "not_a_number"]),
    ],
)
def test_sample_weights(experiment: Make, weights: list[Any], reasons: list[str | None]) -> None:
    config = experiment(tasks=[{"name": "t", "column": "t"}], sample_weight="w")
    block, rows = check(config, {"user": ["u"] * len(weights), "t": ["1"] * len(weights), "w": weights})
    letters = {letter.position: letter for letter in dead_letters(block, rows)}
    assert [letters[row].reason if row in letters else None for row in range(len(weights))] == reasons
    assert all("column 'w'" in letter.message for letter in letters.values())


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


def test_a_truth_is_a_probability(experiment: Make) -> None:
    config = experiment(tasks=[{"name": "t", "column": "t", "truth": "p"}])
    block, rows = check(config, {"user": ["u"] * 5, "t": ["1"] * 5, "p": ["0", "1", "1.01", "-1e-9", "1e300"]})
    found = [(letter.position, letter.reason) for letter in dead_letters(block, rows)]
    assert found == [(2, "not_a_probability"), (3, "not_a_probability"), (4, "not_a_probability")]


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


STRUCTS = pa.array([{"a": b"\xff", "b": [1.5, float("nan")]}, None])


@pytest.mark.parametrize("use", ["user", "finish", "number", "tags", "at"])
def test_values_of_a_wrong_type_are_dead_letters(experiment: Make, use: str) -> None:
    config = experiment(
        tasks=[{"name": "finish", "column": "finish"}],
        features=[
            {"name": "user", "kind": "categorical"},
            {"name": "number", "kind": "numeric"},
            {"name": "tags", "kind": "multi_value"},
        ],
        split={"by": "time", "column": "at", "boundaries": [1, 2]},
    )
    columns: dict[str, Any] = {"user": ["u"] * 2, "finish": [1] * 2, "number": [1] * 2, "tags": [["a"]] * 2, "at": [0] * 2}
    block, rows = check(config, {**columns, use: STRUCTS})
    first, *others = dead_letters(block, rows)
    assert (first.position, first.reason) == (0, "wrong_type")
    assert f"column '{use}'" in first.message and '{"a": ' in first.message
    raw = json.loads(first.line("logs", 1))["raw"]
    assert raw[use] == {"a": "\\xff", "b": [1.5, "nan"]}
    missing = {"finish": ["label_missing"], "at": ["not_a_number"]}
    assert [letter.reason for letter in others] == missing.get(use, [])


def test_raw_holds_every_type_as_json(experiment: Make) -> None:
    stored = [
        pa.array([[1, None]]),
        pa.array([[("k", 1.5)]], pa.map_(pa.string(), pa.float64())),
        pa.array([datetime(2026, 1, 31, 8)]),
        pa.array([1], pa.timestamp("ns")),
        pa.array([2**62], pa.timestamp("s")),
        pa.array([decimal.Decimal(2**70)]),
        pa.array([2**64 - 1], pa.uint64()),
    ]
    extra = {f"extra {number}": column for number, column in enumerate(stored)}
    block, rows = check(experiment(), {"user": ["u"], "finish": ["7"], "like": ["0"], **extra})
    (letter,) = dead_letters(block, rows)
    raw = json.loads(letter.line("logs", 1))["raw"]
    values = [raw[name] for name in extra]
    assert values[:3] == [[1, None], [["k", 1.5]], "2026-01-31T08:00:00"]
    assert "1970-01-01 00:00:00.000000001" in values[3] and str(2**62) in values[4]
    assert values[5:] == [str(2**70), 2**64 - 1]


def test_columns_of_nulls_are_missing(experiment: Make) -> None:
    config = experiment(
        features=[
            {"name": "user", "kind": "categorical"},
            {"name": "number", "kind": "numeric"},
            {"name": "tags", "kind": "multi_value", "weights": "w"},
        ]
    )
    columns = {name: pa.nulls(2) for name in ("user", "number", "tags", "w")}
    _, rows = check(config, {"finish": [1, 0], "like": [1, 0], **columns})
    assert rows.good.all()
    assert rows.columns.numbers("number").missing.all() and not rows.lists["tags"].lengths.any()


def test_rejected_rows_keep_their_reason(experiment: Make) -> None:
    block, rows = check(experiment(), {"user": ["u"], "finish": ["1"], "like": ["0"]})
    block.rejected.append(RejectedRow(1, "not JSON", "{", reason="not_json"))
    assert [letter.reason for letter in dead_letters(block, rows)] == ["not_json"]
    assert count_reasons(block, rows) == {"not_json": 1}
