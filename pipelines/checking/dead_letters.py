# SPDX-License-Identifier: Apache-2.0
"""Dead letters: the rows that became no record, each with a reason, a sentence and the row as it was."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time
from heapq import merge
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.checking.columns import NOT_UTF8
from pipelines.checking.validate import Rows
from pipelines.sources.blocks import Block

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class DeadLetter:
    """One bad row; `position` counts from 0 in its range, `raw` is the row by column, or its text."""

    position: int
    reason: str
    message: str
    raw: dict[str, Any] | str

    def line(self, path: str, first_row: int) -> bytes:
        """The row's line in a dead letter file; `first_row` is the number of the range's first row in its file, from 1."""
        content = {
            "file": path,
            "row": first_row + self.position,
            "reason": self.reason,
            "message": self.message,
            "raw": self.raw,
        }
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def dead_letters(block: Block, rows: Rows) -> Iterator[DeadLetter]:
    """The bad rows of a checked block, in order."""
    rejected = (DeadLetter(row.position, row.reason, row.message, row.raw) for row in block.rejected)
    failed = (_failed(block, rows, row) for row in np.flatnonzero(~rows.good).tolist())
    return merge(rejected, failed, key=lambda letter: letter.position)


def first_bad(block: Block, rows: Rows) -> tuple[int, str] | None:
    """Position in the range and message of the first bad row, if there is one."""
    return next(((letter.position, letter.message) for letter in dead_letters(block, rows)), None)


def count_reasons(block: Block, rows: Rows) -> Counter[str]:
    """The bad rows of a checked block by reason."""
    counts = Counter(row.reason for row in block.rejected)
    for fault, count in zip(rows.faults, np.bincount(rows.fault_of[~rows.good], minlength=len(rows.faults)), strict=True):
        counts[fault.reason] += int(count)
    return +counts


def _failed(block: Block, rows: Rows, row: int) -> DeadLetter:
    fault = rows.faults[rows.fault_of[row]]
    raw = {name: _raw(column[row]) for name, column in block.columns.items()}
    received = raw[fault.column]
    if isinstance(received, list | dict):
        received = json.dumps(received, ensure_ascii=False)
    shown = received[:_SHOWN_CHARACTERS] if isinstance(received, str) else received
    return DeadLetter(int(block.positions[row]), fault.reason, fault.message(shown), raw)


def _raw(value: Any) -> Any:
    """A `pa.Scalar` as JSON can hold it."""
    # Only where pandas is installed does Arrow have a Python value for nanoseconds.
    if getattr(value.type, "unit", "") == "ns":
        return _arrow_text(value)
    try:
        return _plain(value.as_py())
    except (ValueError, OverflowError, LookupError):
        # Arrow holds times that Python does not: years beyond 9999, unknown zones.
        return _arrow_text(value)


def _arrow_text(value: Any) -> str:
    return " ".join(str(pa.array([value], value.type)).split())


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "mark_not_utf8")
    if isinstance(value, str):
        return value.replace(NOT_UTF8, "")
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(part) for name, part in value.items()}
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return value.isoformat() if isinstance(value, date | time) else str(value)
