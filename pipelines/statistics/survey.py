"""What a first look over the logs finds, merged in whatever order workers finish: it comes out the same."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.dead_letters import count_reasons, first_bad
from pipelines.checking.validate import Rows
from pipelines.sources.blocks import Block
from pipelines.statistics.moments import Moments
from pipelines.statistics.vocabulary import ValueCounts
from tf_crossdistil.config import SPLITS, CategoricalFeature, Experiment, NumericFeature

_TRAIN = SPLITS.index("train")


@dataclass
class RangeSummary:
    """One range: rows in, bad rows by reason, and position and message of the first bad row."""

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_bad: tuple[int, str] | None = None


@dataclass
class Survey:
    """Merged findings; `values`, `moments` and `positives` are over good rows of the training split.

    `values` and `moments` go by column of the logs, which several features may read.
    `positives` `[tasks]` and `training_rows` tell whether every task can be learnt.
    """

    values: dict[str, ValueCounts]
    moments: dict[str, Moments]
    positives: NDArray[np.int64]
    training_rows: int = 0
    ranges: dict[int, RangeSummary] = field(default_factory=dict)

    @classmethod
    def empty(cls, experiment: Experiment) -> "Survey":
        """What is known before any row."""
        return cls(
            values={f.source_column: ValueCounts() for f in experiment.features if isinstance(f, CategoricalFeature)},
            moments={f.source_column: Moments() for f in experiment.features if isinstance(f, NumericFeature)},
            positives=np.zeros(len(experiment.tasks), np.int64),
        )

    def open_range(self, index: int) -> None:
        """Notes that range `index` is looked over, even if it has no rows."""
        self.ranges[index] = RangeSummary()

    def add(self, index: int, block: Block, rows: Rows) -> None:
        """Takes in a checked block of range `index`."""
        summary = self.ranges[index]
        summary.rows += block.rows
        summary.reasons.update(count_reasons(block, rows))
        summary.first_bad = summary.first_bad or first_bad(block, rows)
        training = rows.good & (rows.splits == _TRAIN)
        for column, values in self.values.items():
            values.add(rows.texts[column], training)
        for column, moments in self.moments.items():
            moments.add(rows.numbers[column], training)
        self.positives = self.positives + rows.labels[training].sum(axis=0, dtype=np.int64)
        self.training_rows += int(np.count_nonzero(training))

    def merge(self, other: "Survey") -> None:
        """Takes in the findings of other ranges."""
        self.ranges.update(other.ranges)
        for column, values in self.values.items():
            values.merge(other.values[column])
        for column, moments in self.moments.items():
            moments.merge(other.moments[column])
        self.positives = self.positives + other.positives
        self.training_rows += other.training_rows
