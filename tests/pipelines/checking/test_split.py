# SPDX-License-Identifier: Apache-2.0
"""Which split a row belongs to."""

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.checking.dead_letters import dead_letters
from tests.pipelines.checking.checked_rows import Make, check
from tf_crossdistil.config import Experiment


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
