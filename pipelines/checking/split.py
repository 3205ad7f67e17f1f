# SPDX-License-Identifier: Apache-2.0
"""Which split a row belongs to."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.checking.columns import Columns, decoded
from pipelines.checking.faults import Fault, number_faults, text_faults
from pipelines.checking.times import is_instant, parse_times, seconds
from pipelines.fingerprint import fingerprint64
from tf_crossdistil.config import SPLITS, HashSplit, NamedSplit, Split, TimeSplit

# Stands between the texts of a key, so that (a, bc) and (ab, c) are two keys.
_SEPARATOR = "\x1f"
_UNKNOWN = -1


class Splitter(ABC):
    """Places rows by `columns` of the logs."""

    columns: list[str]

    @abstractmethod
    def place(self, columns: Columns) -> tuple[NDArray[np.int8], list[Fault]]:
        """The split of every row, `[rows]`, as its position in `tf_crossdistil.config.SPLITS`, and what is wrong with rows."""


class _ByHash(Splitter):
    """By the hash of the key: the same for the same key in whatever data."""

    def __init__(self, split: HashSplit) -> None:
        self.columns = list(split.key)
        self._bounds = (split.fractions[0], 1.0 - split.fractions[2])

    def place(self, columns: Columns) -> tuple[NDArray[np.int8], list[Fault]]:
        texts = [columns.texts(name) for name in self.columns]
        key = pc.binary_join_element_wise(*(column.as_rows() for column in texts), pa.scalar(_SEPARATOR, pa.large_string()))
        position = (fingerprint64(key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        faults = [fault for name, column in zip(self.columns, texts, strict=True) for fault in text_faults(name, column)]
        return _part(position, self._bounds), faults


class _ByTime(Splitter):
    """By a number, or a date or time."""

    def __init__(self, split: TimeSplit) -> None:
        self.columns = [split.column]
        self._column = split.column
        self._bounds = split.bounds
        self._is_calendar = split.is_calendar

    def place(self, columns: Columns) -> tuple[NDArray[np.int8], list[Fault]]:
        if self._is_calendar:
            values, faults = _read_times(self._column, columns)
        else:
            values = columns.numbers(self._column).values
            faults = number_faults(self._column, columns, required=True)
        return _part(values, self._bounds), faults


class _ByName(Splitter):
    """By a column that names the split."""

    def __init__(self, split: NamedSplit) -> None:
        self.columns = [split.column]
        self._column = split.column
        names = [(name.strip(), position) for position, key in enumerate(SPLITS) for name in getattr(split, key)]
        self._names = [name for name, _ in names]
        self._positions = np.array([*(position for _, position in names), _UNKNOWN], np.int8)

    def place(self, columns: Columns) -> tuple[NDArray[np.int8], list[Fault]]:
        texts = columns.texts(self._column)
        known = pc.index_in(texts.values, pa.array(self._names, pa.string())).fill_null(len(self._names)).to_numpy()
        splits = self._positions[known][texts.codes]
        expected = f"the name of a split, one of {', '.join(map(repr, self._names))}"
        unknown = Fault("unknown_split", self._column, expected, np.flatnonzero(splits == _UNKNOWN))
        return splits, [*text_faults(self._column, texts), unknown]


SPLITTERS: dict[str, Any] = {"hash": _ByHash, "time": _ByTime, "column": _ByName}


def make_splitter(split: Split) -> Splitter:
    """The splitter of a configuration."""
    splitter: Splitter = SPLITTERS[split.by](split)
    return splitter


def _read_times(name: str, columns: Columns) -> tuple[NDArray[np.float64], list[Fault]]:
    """Seconds since 1970 `[rows]`, and what is wrong with rows."""
    stored = decoded(columns.stored[name])
    faults: list[Fault] = []
    if is_instant(stored.type):
        values = seconds(stored)
    else:
        texts = columns.texts(name)
        faults = text_faults(name, texts)
        values = parse_times(texts.values)[texts.codes]
    expected = "a date or time in ISO 8601, such as 2026-01-31 or 2026-01-31T08:00:00Z"
    return values, [*faults, Fault("not_a_time", name, expected, np.flatnonzero(np.isnan(values)))]


def _part(values: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.int8]:
    """How many bounds each value reaches."""
    return (values >= bounds[0]).astype(np.int8) + (values >= bounds[1])
