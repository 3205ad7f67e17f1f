"""Labels, splits and what is said about rows that are bad."""

import decimal
import itertools
import json
from collections.abc import Callable
from datetime import date, datetime
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


@pytest.mark.parametrize(
    "column, splits",
    [
        (["2026-01-30", "2026-01-31", "2026-02-01T00:59:59+01:00", "2026-02-01", " 2026-02-01 00:00:00Z "], [0, 1, 1, 2, 2]),
        ([datetime(2026, 1, 30, 23, 59, 59), datetime(2026, 1, 31), None, datetime(2027, 1, 1)], [0, 1, "not_a_time", 2]),
        ([date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1)], [0, 1, 2]),
        (["", "1769846400", b"\xff", "2026-02-30"], ["not_a_time", "not_a_time", "not_utf8", "not_a_time"]),
        ([1769846400], ["not_a_time"]),
        ([["2026-01-31"], None], ["wrong_type", "not_a_time"]),
        (pa.array([1769817600 * 10**9 - 1, 1769817600 * 10**9], pa.timestamp("ns", "Asia/Tokyo")), [0, 1]),
        (pa.array(["2026-01-31", "x"]).dictionary_encode(), [1, "not_a_time"]),
    ],
)
def test_calendar_split(experiment: Make, column: Any, splits: list[int | str]) -> None:
    config = experiment(split={"by": "time", "column": "at", "boundaries": ["2026-01-31", "2026-02-01"]})
    assert split_or_reason(config, "at", column) == splits


def test_numeric_time_split_of_timestamps_counts_seconds(experiment: Make) -> None:
    config = experiment(split={"by": "time", "column": "at", "boundaries": [86_400, 172_800]})
    days = [datetime(1970, 1, 1, 23), datetime(1970, 1, 2), datetime(1970, 1, 3), None]
    assert split_or_reason(config, "at", days) == [0, 1, 2, "not_a_number"]


@pytest.mark.parametrize(
    "column, splits",
    [
        (["fit", " held out ", "1", "2", "train", "", None], [0, 2, 1, 1, *["unknown_split"] * 3]),
        ([1, 2, 3, None], [1, 1, "unknown_split", "unknown_split"]),
        ([b"fit", b"\xff"], [0, "not_utf8"]),
        ([["fit"], None], ["wrong_type", "unknown_split"]),
    ],
)
def test_named_split(experiment: Make, column: Any, splits: list[int | str]) -> None:
    split = {"by": "column", "column": "part", "train": ["fit"], "validation": ["1", "2"], "test": ["held out "]}
    assert split_or_reason(experiment(split=split), "part", column) == splits


def split_or_reason(config: Experiment, column: str, values: Any) -> list[int | str]:
    rows = len(values)
    block, checked = check(config, {"user": ["u"] * rows, "finish": ["1"] * rows, "like": ["0"] * rows, column: values})
    reasons = {letter.position: letter.reason for letter in dead_letters(block, checked)}
    return [reasons.get(row, int(checked.splits[row])) for row in range(rows)]


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
