# SPDX-License-Identifier: Apache-2.0
"""Dates and times in Arrow's types and in ISO 8601 text, against Python's own reading."""

from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.checking.columns import Numbers, Texts
from pipelines.checking.times import parse_times

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MOMENT = datetime(2026, 1, 31, 8, 0, 0, 250_000)
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Microseconds are exact within float64 here.
NAIVE = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
MOMENTS = NAIVE | st.builds(lambda moment, zone: moment.replace(tzinfo=zone), NAIVE, ZONES)


def seconds_since_1970(moment: datetime) -> float:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - EPOCH).total_seconds()


def parsed(texts: list[str]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in parse_times(pa.array(texts, pa.string()))]


@settings(max_examples=200, deadline=None)
@given(MOMENTS, st.sampled_from("T "))
def test_times_that_python_writes(moment: datetime, separator: str) -> None:
    assert parsed([moment.isoformat(separator)]) == [seconds_since_1970(moment)]


@settings(max_examples=50, deadline=None)
@given(st.dates())
def test_dates(day: date) -> None:
    assert parsed([day.isoformat()]) == [seconds_since_1970(datetime(day.year, day.month, day.day))]


@pytest.mark.parametrize(
    "text, python",
    [
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31t08:00z", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31 08:00:00.5 +01", "2026-01-31T08:00:00.5+01:00"),
        ("2026-01-31T08:00:00,123456789-0330", "2026-01-31T08:00:00.123456-03:30"),
    ],
)
def test_other_spellings(text: str, python: str) -> None:
    assert parsed([text]) == [seconds_since_1970(datetime.fromisoformat(python))]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "noon",
            "1769846400",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-00",
            "2026-01-31T24:00",
            "2026-01-31T08:60",
        ),
        *(
            "2026-01-31T08:00:60",
            "2026-1-31",
            "20260131",
            "2026-01-31T08",
            "2026-01-31T08:00+25:00",
            "x2026-01-31",
            "2026-01-31 ",
        ),
    ],
)
def test_text_that_is_no_time(text: str) -> None:
    assert parsed([text, "2026-01-31"]) == [None, seconds_since_1970(datetime(2026, 1, 31))]


@pytest.mark.parametrize(
    "column, text, number",
    [
        (pa.array([MOMENT], pa.timestamp("ms")), "2026-01-31T08:00:00.25", seconds_since_1970(MOMENT)),
        (pa.array([MOMENT], pa.timestamp("ns")), "2026-01-31T08:00:00.25", seconds_since_1970(MOMENT)),
        (pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")), "2026-01-31T08:00:00.25Z", seconds_since_1970(MOMENT)),
        (pa.array([0], pa.timestamp("us")), "1970-01-01T00:00:00", 0.0),
        (pa.array([-1], pa.timestamp("ns")), "1969-12-31T23:59:59.999999999", -1e-6),
        (pa.array([date(2026, 1, 31)], pa.date32()), "2026-01-31", seconds_since_1970(datetime(2026, 1, 31))),
        (pa.array([date(1969, 12, 30)], pa.date64()), "1969-12-30", -2 * 86_400.0),
        (pa.array([3_600_000], pa.time32("ms")), "01:00:00", 3600.0),
        (pa.array([1_500_000], pa.time64("us")), "00:00:01.5", 1.5),
        (pa.array([1500], pa.duration("ms")), "1.5", 1.5),
        (pa.array([2000], pa.duration("ms")), "2", 2.0),
        (pa.array([2**62], pa.timestamp("s")), "<value out of range: 4611686018427387904>", float(2**62)),
    ],
)
def test_stored_times_as_text_and_number(column: Any, text: str, number: float) -> None:
    both = pa.concat_arrays([column, pa.nulls(1, column.type)])
    assert Texts.of(both).as_rows().to_pylist() == [text, ""]
    numbers = Numbers.of(both)
    assert numbers.values[0] == number
    assert numbers.missing.tolist() == [False, True]
    assert Texts.of(both.dictionary_encode()).as_rows().to_pylist() == [text, ""]
