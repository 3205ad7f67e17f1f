# SPDX-License-Identifier: Apache-2.0
"""Checked rows as records, grouped by split and tag, and counts of what they hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.validate import Rows
from pipelines.encoding.encode import RecordEncoder
from pipelines.encoding.features import EncodedFeature, feature_encoders
from pipelines.encoding.fields import Field
from pipelines.encoding.lists import ListRecordEncoder
from pipelines.encoding.tally import Tally
from tf_crossdistil.config import SAMPLE_WEIGHT, SPLITS, Experiment
from tf_crossdistil.schema import TRUTH_PREFIX
from tf_crossdistil.tags import tag_codes, tag_of


@dataclass(frozen=True)
class Records:
    """Framed TFRecords behind one another: `data` is bytes-like, record r ends at `ends[r]` of it."""

    data: memoryview
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)


@dataclass(frozen=True)
class Group:
    """The records of a split and tag, in the order of their rows."""

    split: str
    tag: str
    records: Records


@dataclass(frozen=True)
class EncodedBlock:
    """The records of a block, in groups that are not empty; `tallies` by split that has rows."""

    groups: list[Group]
    tallies: dict[str, Tally]


class RowEncoder:
    """Encodes the good rows of checked blocks. `vocabularies` gives a `pa.StringArray` by the feature that owns it."""

    def __init__(self, experiment: Experiment, vocabularies: Mapping[str, Any]) -> None:
        self._tasks = experiment.tasks
        self._binary = [position for position, task in enumerate(experiment.tasks) if task.kind == "binary"]
        self._combinations = 3 ** len(self._binary)
        # Numbers of the logs that records hold as they are, by field.
        self._numbers = {SAMPLE_WEIGHT: experiment.sample_weight} if experiment.sample_weight is not None else {}
        self._numbers |= {TRUTH_PREFIX + task.name: task.truth for task in experiment.tasks if task.truth}
        self._names = [feature.name for feature in experiment.features]
        self._features = feature_encoders(experiment, vocabularies)
        fields = [field for feature in self._features for field in feature.fields]
        fields += [Field(name, "float") for name in (*experiment.task_names, *self._numbers)]
        lists = [field for feature in self._features for field in feature.lists]
        self._encoder = ListRecordEncoder(fields, lists) if lists else RecordEncoder(fields)

    def encode(self, rows: Rows) -> EncodedBlock:
        """The records of the good rows; within a group rows keep their order."""
        codes, chosen = self._order(rows)
        features = [feature.encode(rows, chosen) for feature in self._features]
        columns = self._labels(rows, chosen)
        for feature in features:
            columns |= feature.columns | feature.lists
        data, ends = self._encoder.encode(columns)
        groups: list[Group] = []
        parts: dict[str, slice] = {}
        starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]])[: len(codes)]).tolist()
        for first, end in pairwise([*starts, len(codes)]):
            split, tag = divmod(int(codes[first]), self._combinations)
            offset = int(ends[first - 1]) if first else 0
            records = Records(data[offset : ends[end - 1]].data, ends[first:end] - offset)
            groups.append(Group(SPLITS[split], tag_of(tag, len(self._binary)), records))
            parts[SPLITS[split]] = slice(parts.get(SPLITS[split], slice(first, end)).start, end)
        return EncodedBlock(groups, {split: self._tally(features, part) for split, part in parts.items()})

    def sample(self, rows: Rows, most: int) -> list[str]:
        """The features of the first good rows as JSON objects; several values are lists."""
        chosen = np.flatnonzero(rows.good)[:most]
        columns = {name: values for feature in self._features for name, values in feature.raw(rows, chosen).items()}
        return [
            json.dumps(dict(zip(columns, values, strict=True)), ensure_ascii=False)
            for values in zip(*columns.values(), strict=True)
        ]

    def _order(self, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The good rows by split and tag, and what they are ordered by: the split's position, then the tag's code."""
        chosen = np.flatnonzero(rows.good)
        # Whole columns are taken, each of which lies in one piece.
        tags = tag_codes(rows.labels.T[self._binary].T)
        codes = (rows.splits.astype(np.int64) * self._combinations + tags)[chosen]
        # Small integers are sorted in a fraction of the time.
        order = np.argsort(codes.astype(np.min_scalar_type(len(SPLITS) * self._combinations)), kind="stable")
        return codes[order], chosen[order]

    def _labels(self, rows: Rows, chosen: NDArray[np.int64]) -> dict[str, Any]:
        columns: dict[str, Any] = {task.name: label[chosen] for task, label in zip(self._tasks, rows.labels.T, strict=True)}
        return columns | {name: rows.columns.numbers(column).values[chosen] for name, column in self._numbers.items()}

    def _tally(self, features: Sequence[EncodedFeature], part: slice) -> Tally:
        counts: dict[str, dict[str, int]] = {}
        for name, feature in zip(self._names, features, strict=True):
            for kind, column in feature.counts.items():
                total = np.count_nonzero(column[part]) if column.dtype == bool else column[part].sum()
                counts.setdefault(kind, {})[name] = int(total)
        return Tally.model_validate({"rows": part.stop - part.start, **counts})
