# SPDX-License-Identifier: Apache-2.0
"""Rows of logs, checked: labels, numbers and splits of the good ones, and what is wrong with the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.columns import Columns
from pipelines.checking.faults import Fault, number_faults, probability_faults, text_faults, weight_faults
from pipelines.checking.labels import read_labels
from pipelines.checking.lists import Lists, read_lists
from pipelines.checking.split import make_splitter
from tf_crossdistil.config import Experiment, MultiValueFeature, NumericFeature


@dataclass(frozen=True)
class Rows:
    """A block of rows, each array `[rows]`. Where `fault_of` is not -1 the row is bad and its other values mean nothing.

    `lists` go by multi_value feature; `labels` is `[rows, tasks]`, NaN where one is missing; `splits` are positions in
    `tf_crossdistil.config.SPLITS`.
    """

    columns: Columns
    lists: dict[str, Lists]
    labels: NDArray[np.float32]
    splits: NDArray[np.int8]
    faults: list[Fault]
    fault_of: NDArray[np.int16]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which rows are records."""
        return self.fault_of < 0


class Validator:
    """Applies the rules of an experiment to blocks of columns."""

    def __init__(self, experiment: Experiment) -> None:
        self._tasks = experiment.tasks
        self._truths = [task.truth for task in experiment.tasks if task.truth]
        self._lists = [feature for feature in experiment.features if isinstance(feature, MultiValueFeature)]
        self._numbers = [feature.source_column for feature in experiment.features if isinstance(feature, NumericFeature)]
        single = [feature for feature in experiment.features if not isinstance(feature, MultiValueFeature | NumericFeature)]
        classes = [task.column for task in experiment.tasks if task.kind == "binary"]
        self._texts = [*classes, *(feature.source_column for feature in single)]
        self._weights = [experiment.sample_weight] if experiment.sample_weight is not None else []
        self._splitter = make_splitter(experiment.split)
        self._tables = {name: table.file for table in experiment.source.tables for name in table.given}
        lists = [column for feature in self._lists for column in (feature.source_column, feature.weights) if column]
        labels = [task.column for task in experiment.tasks]
        wanted = [*labels, *self._texts, *lists, *self._numbers, *self._truths, *self._weights, *self._splitter.columns]
        self.columns = list(dict.fromkeys(wanted))

    def __call__(self, block: Mapping[str, Any]) -> Rows:
        """Checks a block, given as `pa.Array` `[rows]` of any type by column."""
        columns = Columns(block)
        faults = [fault for name in dict.fromkeys(self._texts) for fault in text_faults(name, columns.texts(name))]
        labels, wrong = read_labels(self._tasks, columns)
        faults += wrong
        for name in dict.fromkeys(self._numbers):
            faults += number_faults(name, columns, required=False)
        for name in dict.fromkeys(self._truths):
            faults += probability_faults(name, columns)
        for name in self._weights:
            faults += weight_faults(name, columns)
        lists = {}
        for feature in self._lists:
            lists[feature.name], wrong = read_lists(feature, columns)
            faults += wrong
        splits, wrong = self._splitter.place(columns)
        faults = [replace(fault, table=self._tables.get(fault.column, "")) for fault in [*faults, *wrong] if len(fault.rows)]
        return Rows(columns, lists, labels, splits, faults, _first_faults(faults, len(splits)))


def _first_faults(faults: Sequence[Fault], rows: int) -> NDArray[np.int16]:
    result = np.full(rows, -1, np.int16)
    for position, fault in reversed(list(enumerate(faults))):
        result[fault.rows] = position
    return result
