# SPDX-License-Identifier: Apache-2.0
"""Dates and times: Arrow's types and ISO 8601 text, as seconds and as text."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_ISO_8601 = (
    r"^(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?:[Zz]|(?P<sign>[-+])(?P<offset_hour>[0-9]{2})(?::?(?P<offset_minute>[0-9]{2}))?)?)?$"
)
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MICROSECONDS = 10**6
_DAY = 86_400


def is_temporal(kind: Any) -> bool:
    """Whether an Arrow type is a date, a time or a duration."""
    types = pa.types
    return any(test(kind) for test in (types.is_timestamp, types.is_date, types.is_time, types.is_duration))


def is_instant(kind: Any) -> bool:
    """Whether an Arrow type is a date or a time on the calendar."""
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def seconds(column: Any) -> NDArray[np.float64]:
    """Seconds `[rows]` of a temporal column, to the microsecond; since 1970 in UTC, or midnight. NaN where it is null."""
    kind = column.type
    unit = 1 if pa.types.is_date32(kind) else 10**3 if pa.types.is_date64(kind) else _UNITS[kind.unit]
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    ticks = column.cast(whole).fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_date32(kind):
        ticks = ticks.astype(np.int64) * _DAY
    elif unit > _MICROSECONDS:
        ticks, unit = ticks // (unit // _MICROSECONDS), _MICROSECONDS
    return np.where(column.is_null().to_numpy(zero_copy_only=False), np.nan, ticks / unit)


def temporal_text(values: Any) -> Any:
    """ISO 8601 `pa.StringArray` of dates and times, the same in whatever unit they are stored.

    A timestamp with a zone is given in UTC and ends in `Z`.
    """
    kind = values.type
    if not pa.types.is_timestamp(kind):
        return _without_zeros(values.cast(pa.string()))
    local = values.cast(pa.int64()).cast(pa.timestamp(kind.unit)).cast(pa.string())
    text = _without_zeros(pc.replace_substring_regex(local, r"([0-9]) ", r"\1T", max_replacements=1))
    return pc.binary_join_element_wise(text, "Z", "") if kind.tz else text


def _without_zeros(text: Any) -> Any:
    return pc.replace_substring_regex(text, r"\.0+$|(\.[0-9]*[1-9])0+$", r"\1")


def parse_times(texts: Any) -> NDArray[np.float64]:
    """Seconds since 1970 `[n]` that ISO 8601 texts stand for, without an offset in UTC; NaN where a text is no time.

    A text is a date, or a date and a time: `2026-01-31`, `2026-01-31T08:00`, `2026-01-31 08:00:00.5+01:00`.
    """
    parts = pc.extract_regex(texts, _ISO_8601)

    def part(name: str) -> NDArray[np.int64]:
        digits = pc.struct_field(parts, name)
        return pc.if_else(pc.equal(digits, ""), "0", digits).fill_null("0").cast(pa.int64()).to_numpy(zero_copy_only=False)

    month, day, hour, minute, second = (part(name) for name in ("month", "day", "hour", "minute", "second"))
    offset_hour, offset_minute = part("offset_hour"), part("offset_minute")
    months = ((part("year") - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    fraction = pc.utf8_rpad(pc.struct_field(parts, "fraction").fill_null(""), 9, "0").cast(pa.int64()).to_numpy()
    sign = np.where(pc.equal(pc.struct_field(parts, "sign"), "-").fill_null(False).to_numpy(zero_copy_only=False), -1, 1)
    whole = days.astype(np.int64) * _DAY + hour * 3600 + minute * 60 + second - sign * (offset_hour * 3600 + offset_minute * 60)
    valid = parts.is_valid().to_numpy(zero_copy_only=False) & (month >= 1) & (month <= 12) & (day >= 1)
    valid &= (days.astype("datetime64[M]") == months) & (hour < 24) & (minute < 60) & (second < 60)
    valid &= (offset_hour < 24) & (offset_minute < 60)
    return np.where(valid, (whole * _MICROSECONDS + fraction // 1000) / _MICROSECONDS, np.nan)
