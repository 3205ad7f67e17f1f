# SPDX-License-Identifier: Apache-2.0
"""Drift of data: what rates and labels of a run differ from those of the run before it, beyond a bound and beyond chance."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tf_crossdistil.config import SPLITS
from tf_crossdistil.schema import Metadata

DEFAULT_DRIFT_BOUND = 0.2
_SMALLEST_DIFFERENCE = 0.001
# Of single precision, in which labels are held.
_ROUNDING = 2.0**-23
_STANDARD_ERRORS = 4.0
_NAMED_COLUMNS = 10


@dataclass(frozen=True)
class Rate:
    """A share of `rows` observations."""

    share: float
    rows: float

    def differs(self, other: "Rate", bound: float) -> bool:
        """Whether the two are further apart than `bound`, relative to the larger, and than chance would put them."""
        apart = abs(self.share - other.share)
        pooled = (self.share * self.rows + other.share * other.rows) / (self.rows + other.rows)
        error = math.sqrt(pooled * (1 - pooled) * (1 / self.rows + 1 / other.rows))
        allowed = max(bound * max(self.share, other.share), _SMALLEST_DIFFERENCE, _STANDARD_ERRORS * error)
        return apart > allowed

    def __str__(self) -> str:
        return f"{self.share:.2%}"


@dataclass(frozen=True)
class Level:
    """The mean or the deviation of numbers: its `value`, its standard `error`, and the numbers' own `deviation`."""

    value: float
    error: float
    deviation: float

    def differs(self, other: "Level", bound: float) -> bool:
        """Whether the two are further apart than `bound`, relative to the larger deviation, and than chance would put them."""
        error = math.hypot(self.error, other.error)
        return abs(self.value - other.value) > max(bound * max(self.deviation, other.deviation), _STANDARD_ERRORS * error)

    def __str__(self) -> str:
        return f"{self.value:.6g}"


_Observed = TypeVar("_Observed", Rate, Level)


def drift_warnings(before: Metadata, now: Metadata, bound: float) -> list[str]:
    """A sentence for every rate, and every mean or deviation of labels, of a split that drifted.

    `bound` is relative to the larger of two rates, or to the larger of two deviations of a label.
    """
    warnings = []
    for split in SPLITS:
        drifted = {
            **_drifted(_rates(before, split), _rates(now, split), bound),
            **_drifted(_levels(before, split), _levels(now, split), bound),
        }
        warnings += [
            f"{what} of the {split} split is {found}, but was {known} in run {before.run}"
            for what, (known, found) in drifted.items()
        ]
    return warnings


def _drifted(
    before: Mapping[str, _Observed], now: Mapping[str, _Observed], bound: float
) -> dict[str, tuple[_Observed, _Observed]]:
    shared = {what: (before[what], found) for what, found in now.items() if what in before}
    return {what: (known, found) for what, (known, found) in shared.items() if found.differs(known, bound)}


def unseen_split(build: Metadata) -> str:
    """The split that tells best what a vocabulary misses: not the training split, which it was made of, if there is another."""
    return next((split for split in reversed(SPLITS) if build.counts.get(split)), SPLITS[0])


def oov_warnings(build: Metadata, now: Metadata, bound: float) -> list[str]:
    """A sentence for every feature of a split that `build`'s vocabulary covers worse than `build`'s own `unseen_split`."""
    warnings = []
    unseen = unseen_split(build)
    known = {name: rate for kind, name, rate in _split_rates(build, unseen) if kind == "oov"}
    for split in SPLITS:
        for kind, name, rate in _split_rates(now, split):
            if kind == "oov" and name in known and rate.share > known[name].share and rate.differs(known[name], bound):
                warnings.append(
                    f"{rate.share:.2%} of the values of '{name}' in the {split} split are out of the vocabulary of run "
                    f"{build.run}, but only {known[name].share:.2%} of its own {unseen} split were; a full build may be due"
                )
    return warnings


def extra_column_warnings(extra: Mapping[str, list[str]]) -> list[str]:
    """A sentence for every set of columns that some files, by path, have and nobody reads."""
    paths = defaultdict(list)
    for path, columns in extra.items():
        paths[tuple(sorted(columns))].append(path)
    return [
        f"{_listed(columns)} of {files[0]}{f' and {len(files) - 1:,} more' if files[1:] else ''} "
        f"{'are columns' if columns[1:] else 'is a column'} that the configuration does not read"
        for columns, files in paths.items()
    ]


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _NAMED_COLUMNS:,} more" if len(columns) > _NAMED_COLUMNS else ""
    return ", ".join(f"'{column}'" for column in columns[:_NAMED_COLUMNS]) + more


def _rates(metadata: Metadata, split: str) -> dict[str, Rate]:
    titles = {
        "positive": "the positive rate of task",
        "labelled": "the share of rows that have the label of task",
        "missing": "the missing rate of",
        "oov": "the out-of-vocabulary rate of",
    }
    return {f"{titles[kind]} '{name}'": rate for kind, name, rate in _split_rates(metadata, split)}


def _levels(metadata: Metadata, split: str) -> dict[str, Level]:
    """Means and deviations of labels, with the errors that normal numbers' have."""
    rates, rows = metadata.rates.get(split), sum(metadata.counts.get(split, {}).values())
    if rates is None:
        return {}
    result = {}
    for task, mean in rates.mean.items():
        deviation, labelled = rates.deviation[task], rows * rates.labelled[task]
        error = max(deviation / math.sqrt(labelled), _ROUNDING * abs(mean))
        result[f"the mean label of task '{task}'"] = Level(mean, error, deviation)
        result[f"the label's deviation of task '{task}'"] = Level(deviation, error / math.sqrt(2), deviation)
    return result


def _split_rates(metadata: Metadata, split: str) -> Iterator[tuple[str, str, Rate]]:
    rates, rows = metadata.rates.get(split), sum(metadata.counts.get(split, {}).values())
    if rates is None or not rows:
        return
    yield from (("positive", task, Rate(share, rows * rates.labelled.get(task, 1.0))) for task, share in rates.positive.items())
    yield from (("labelled", task, Rate(share, rows)) for task, share in rates.labelled.items())
    yield from (("missing", feature, Rate(share, rows)) for feature, share in rates.missing.items())
    for feature, share in rates.oov.items():
        # Values of one row go together, so rows that have any are what is observed.
        if observed := rows * (1 - rates.missing.get(feature, 0.0)):
            yield "oov", feature, Rate(share, observed)
