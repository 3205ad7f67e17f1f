# SPDX-License-Identifier: Apache-2.0
"""What a first look over the logs finds, merged in whatever order workers finish: it comes out the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.dead_letters import count_reasons, first_bad
from pipelines.checking.validate import Rows
from pipelines.sources.blocks import Block
from pipelines.survey.moments import Moments
from pipelines.survey.quantiles import QuantileCounts
from pipelines.survey.vocabulary import ValueCounts
from tf_crossdistil.config import SPLITS, Experiment, MultiValueFeature, NumericFeature, Task, VocabularyFeature

_TRAIN = SPLITS.index("train")


@dataclass
class RangeSummary:
    """One range: rows in, those of them that were `read` into columns, bad rows by reason, position and message of the first
    bad row, and rows that joined tables lack.
    """

    rows: int = 0
    read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_bad: tuple[int, str] | None = None
    unmatched: Counter[str] = field(default_factory=Counter)


@dataclass
class Survey:
    """Merged findings; all but `ranges` and `labels` are over good rows of the training split.

    `values` go by the feature that owns the vocabulary; `moments`, and `quantiles` where they are asked for, by column of
    the logs, with that of the sample weight. `positives` and `negatives`, by binary task, and `training_rows` tell whether
    every such task can be learnt. `labels` are those of regression tasks, by split and task.
    """

    tasks: Sequence[Task]
    features: Sequence[VocabularyFeature]
    values: dict[str, ValueCounts]
    moments: dict[str, Moments]
    quantiles: dict[str, QuantileCounts]
    labels: dict[str, dict[str, Moments]]
    positives: Counter[str] = field(default_factory=Counter)
    negatives: Counter[str] = field(default_factory=Counter)
    training_rows: int = 0
    ranges: dict[int, RangeSummary] = field(default_factory=dict)

    @classmethod
    def empty(cls, experiment: Experiment, counts_values: bool = True) -> "Survey":
        """What is known before any row; `counts_values` unless the vocabularies are there already."""
        features = [feature for feature in experiment.features if isinstance(feature, VocabularyFeature) and counts_values]
        numeric = [feature for feature in experiment.features if isinstance(feature, NumericFeature)]
        weights = [experiment.sample_weight] if experiment.sample_weight is not None else []
        return cls(
            tasks=experiment.tasks,
            features=features,
            values={feature.vocabulary: ValueCounts() for feature in features},
            moments={column: Moments() for column in [*(feature.source_column for feature in numeric), *weights]},
            quantiles={feature.source_column: QuantileCounts() for feature in numeric if feature.buckets},
            labels={split: {name: Moments() for name in experiment.regression_names} for split in SPLITS},
        )

    def open_range(self, index: int) -> None:
        """Notes that range `index` is looked over, even if it has no rows."""
        self.ranges[index] = RangeSummary()

    def add(self, index: int, block: Block, rows: Rows) -> None:
        """Takes in a checked block of range `index`."""
        summary = self.ranges[index]
        summary.rows += block.rows
        summary.read += len(block.positions)
        summary.reasons.update(count_reasons(block, rows))
        summary.unmatched.update(block.unmatched)
        summary.first_bad = summary.first_bad or first_bad(block, rows)
        training = rows.good & (rows.splits == _TRAIN)
        for feature in self.features:
            self._count_values(feature, rows, training)
        for column, moments in self.moments.items():
            moments.add(rows.columns.numbers(column), training)
        for column, quantiles in self.quantiles.items():
            numbers = rows.columns.numbers(column)
            quantiles.add(numbers.values[training & ~numbers.missing])
        for task, label in zip(self.tasks, rows.labels.T, strict=True):
            if task.kind == "binary":
                self.positives[task.name] += int(np.count_nonzero(label[training] == 1))
                self.negatives[task.name] += int(np.count_nonzero(label[training] == 0))
            else:
                self._add_labels(task, label, rows)
        self.training_rows += int(np.count_nonzero(training))

    def merge(self, other: "Survey") -> None:
        """Takes in the findings of other ranges."""
        self.ranges.update(other.ranges)
        for owner, values in self.values.items():
            values.merge(other.values[owner])
        for column, moments in self.moments.items():
            moments.merge(other.moments[column])
        for column, quantiles in self.quantiles.items():
            quantiles.merge(other.quantiles[column])
        for split, labels in self.labels.items():
            for task, moments in labels.items():
                moments.merge(other.labels[split][task])
        self.positives.update(other.positives)
        self.negatives.update(other.negatives)
        self.training_rows += other.training_rows

    def _add_labels(self, task: Task, label: NDArray[np.float32], rows: Rows) -> None:
        # Of the logs' numbers: single precision may hold them all as one.
        numbers = replace(rows.columns.numbers(task.column), missing=np.isnan(label))
        for position, split in enumerate(SPLITS):
            self.labels[split][task.name].add(numbers, rows.good & (rows.splits == position))

    def _count_values(self, feature: VocabularyFeature, rows: Rows, training: NDArray[np.bool_]) -> None:
        values = self.values[feature.vocabulary]
        if isinstance(feature, MultiValueFeature):
            lists = rows.lists[feature.name]
            values.add(lists.elements, np.repeat(training, lists.lengths))
        else:
            values.add(rows.columns.texts(feature.source_column), training)
