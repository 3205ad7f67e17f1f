"""Checked rows as records: ids, numbers and labels, encoded and grouped by split and tag."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.validate import Rows
from pipelines.encoding.encode import Field, RecordEncoder
from pipelines.fingerprint import fingerprint64
from pipelines.statistics.vocabulary import Lookup
from tf_crossdistil.config import SPLITS, CategoricalFeature, Experiment, HashedFeature, NumericFeature
from tf_crossdistil.schema import TRUTH_PREFIX
from tf_crossdistil.tags import all_tags, tag_codes


class FeatureEncoder(ABC):
    """Turns one feature of checked rows into what a record holds."""

    field: Field

    @abstractmethod
    def column(self, rows: Rows) -> NDArray[np.generic]:
        """What every row's record holds, `[rows]`."""

    @abstractmethod
    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> list[str] | list[float]:
        """What a request for the chosen rows would hold."""


class _TextEncoder(FeatureEncoder):
    def __init__(
        self, feature: CategoricalFeature | HashedFeature, ids: int, look_up: Callable[[Any], NDArray[np.generic]]
    ) -> None:
        self.field = Field(feature.name, "int64", ids - 1)
        self._source = feature.source_column
        self._look_up = look_up

    def column(self, rows: Rows) -> NDArray[np.generic]:
        texts = rows.texts[self._source]
        return self._look_up(texts.values)[texts.codes]

    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> list[str]:
        return rows.texts[self._source].take(chosen).to_pylist()


class _NumberEncoder(FeatureEncoder):
    def __init__(self, feature: NumericFeature) -> None:
        self.field = Field(feature.name, "float")
        self._source = feature.source_column
        self._default = feature.default

    def column(self, rows: Rows) -> NDArray[np.generic]:
        numbers = rows.numbers[self._source]
        return np.where(numbers.missing, self._default, numbers.values)

    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> list[float]:
        return self.column(rows)[chosen].tolist()


def _categorical(feature: CategoricalFeature, vocabularies: Mapping[str, Any]) -> FeatureEncoder:
    values = vocabularies[feature.name]
    return _TextEncoder(feature, categorical_ids(feature, len(values)), Lookup(values, feature.oov_buckets).ids)


def _hashed(feature: HashedFeature, vocabularies: Mapping[str, Any]) -> FeatureEncoder:
    return _TextEncoder(feature, feature.buckets, lambda values: fingerprint64(values) % np.uint64(feature.buckets))


def _numeric(feature: NumericFeature, vocabularies: Mapping[str, Any]) -> FeatureEncoder:
    return _NumberEncoder(feature)


ENCODERS: dict[str, Callable[[Any, Mapping[str, Any]], FeatureEncoder]] = {
    "categorical": _categorical,
    "hashed": _hashed,
    "numeric": _numeric,
}


def categorical_ids(feature: CategoricalFeature, size: int) -> int:
    """How many ids a feature has with a vocabulary of `size` values: missing, the values, and the buckets for others."""
    return 1 + size + feature.oov_buckets


class RowEncoder:
    """Encodes the good rows of checked blocks. `vocabularies` gives a `pa.StringArray` by categorical feature."""

    def __init__(self, experiment: Experiment, vocabularies: Mapping[str, Any]) -> None:
        self._tasks = experiment.tasks
        self._tags = all_tags(len(experiment.tasks))
        self._features = [ENCODERS[feature.kind](feature, vocabularies) for feature in experiment.features]
        self._encoder = RecordEncoder(
            [
                *(feature.field for feature in self._features),
                *(Field(task.name, "float") for task in self._tasks),
                *(Field(TRUTH_PREFIX + task.name, "float") for task in self._tasks if task.truth),
            ]
        )

    def groups(self, rows: Rows) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
        """Split, tag and records `[n, bytes]` of each group that has good rows; within a group rows keep their order."""
        codes = rows.splits.astype(np.int64) * len(self._tags) + tag_codes(rows.labels)
        chosen = np.flatnonzero(rows.good)
        chosen = chosen[np.argsort(codes[chosen], kind="stable")]
        records = self._encoder.encode({name: column[chosen] for name, column in self._columns(rows).items()})
        codes = codes[chosen]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(codes)], strict=True):
            split, tag = divmod(int(codes[start]), len(self._tags))
            yield SPLITS[split], self._tags[tag], records[start:end]

    def sample(self, rows: Rows, most: int) -> list[str]:
        """The features of the first good rows as JSON objects."""
        chosen = np.flatnonzero(rows.good)[:most]
        names = [feature.field.name for feature in self._features]
        columns = [feature.raw(rows, chosen) for feature in self._features]
        return [json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) for values in zip(*columns, strict=True)]

    def _columns(self, rows: Rows) -> dict[str, NDArray[np.generic]]:
        columns = {feature.field.name: feature.column(rows) for feature in self._features}
        for position, task in enumerate(self._tasks):
            columns[task.name] = rows.labels[:, position]
            if task.truth:
                columns[TRUTH_PREFIX + task.name] = rows.numbers[task.truth].values
        return columns
