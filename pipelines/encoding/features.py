# SPDX-License-Identifier: Apache-2.0
"""Features of checked rows as what records hold."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.columns import is_empty
from pipelines.checking.validate import Rows
from pipelines.encoding.fields import Field
from pipelines.encoding.lists import ListColumn
from pipelines.encoding.lookup import Lookup
from pipelines.fingerprint import fingerprint64
from tf_crossdistil.config import CategoricalFeature, Experiment, HashedFeature, MultiValueFeature, NumericFeature


@dataclass(frozen=True)
class EncodedFeature:
    """A feature of some rows: `columns` `[rows]` and `lists` by field; `counts` `[rows]` by the name that a `Tally` has."""

    counts: Mapping[str, NDArray[np.generic]]
    columns: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    lists: dict[str, ListColumn] = field(default_factory=dict)


class FeatureEncoder(ABC):
    """Turns one feature into `fields` with one value a row and `lists` with any number."""

    fields: Sequence[Field] = ()
    lists: Sequence[Field] = ()

    @abstractmethod
    def encode(self, rows: Rows, chosen: NDArray[np.int64]) -> EncodedFeature:
        """What the records of the chosen rows hold."""

    @abstractmethod
    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> dict[str, list[Any]]:
        """What a request for the chosen rows would hold."""


class _CategoricalEncoder(FeatureEncoder):
    def __init__(self, feature: CategoricalFeature, lookup: Lookup) -> None:
        self.fields = [Field(feature.name, "int64", lookup.ids_made - 1)]
        self._feature = feature
        self._lookup = lookup

    def encode(self, rows: Rows, chosen: NDArray[np.int64]) -> EncodedFeature:
        texts = rows.columns.texts(self._feature.source_column)
        ids, codes = self._lookup.ids(texts.values), texts.codes[chosen]
        missing = _is_chosen(ids == 0, codes)
        counts = {"missing": missing, "values": ~missing, "oov": _is_chosen(self._lookup.is_outside(ids), codes)}
        return EncodedFeature(counts, {self._feature.name: ids[codes]})

    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> dict[str, list[Any]]:
        return {self._feature.name: rows.columns.texts(self._feature.source_column).take(chosen).to_pylist()}


class _HashedEncoder(FeatureEncoder):
    def __init__(self, feature: HashedFeature) -> None:
        self.fields = [Field(feature.name, "int64", feature.buckets - 1)]
        self._feature = feature

    def encode(self, rows: Rows, chosen: NDArray[np.int64]) -> EncodedFeature:
        texts = rows.columns.texts(self._feature.source_column)
        ids, codes = fingerprint64(texts.values) % np.uint64(self._feature.buckets), texts.codes[chosen]
        return EncodedFeature({"missing": _is_chosen(is_empty(texts.values), codes)}, {self._feature.name: ids[codes]})

    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> dict[str, list[Any]]:
        return {self._feature.name: rows.columns.texts(self._feature.source_column).take(chosen).to_pylist()}


class _NumericEncoder(FeatureEncoder):
    def __init__(self, feature: NumericFeature) -> None:
        self.fields = [Field(feature.name, "float")]
        self._feature = feature

    def encode(self, rows: Rows, chosen: NDArray[np.int64]) -> EncodedFeature:
        numbers = rows.columns.numbers(self._feature.source_column)
        missing = numbers.missing[chosen]
        values = np.where(missing, self._feature.default, numbers.values[chosen])
        return EncodedFeature({"missing": missing}, {self._feature.name: values})

    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> dict[str, list[Any]]:
        return {name: values.tolist() for name, values in self.encode(rows, chosen).columns.items()}


class _MultiValueEncoder(FeatureEncoder):
    def __init__(self, feature: MultiValueFeature, lookup: Lookup) -> None:
        weights = [Field(feature.weights_name, "float")] if feature.weights else []
        self.lists = [Field(feature.name, "int64", lookup.ids_made - 1), *weights]
        self._feature = feature
        self._lookup = lookup

    def encode(self, rows: Rows, chosen: NDArray[np.int64]) -> EncodedFeature:
        lists = rows.lists[self._feature.name].take(chosen)
        ids = self._lookup.ids(lists.elements.values)[lists.elements.codes]
        outside = np.concatenate([[0], np.cumsum(self._lookup.is_outside(ids))])
        encoded = {self._feature.name: ListColumn(ids, lists.offsets)}
        if lists.weights is not None:
            encoded[self._feature.weights_name] = ListColumn(lists.weights, lists.offsets)
        counts = {
            "missing": lists.lengths == 0,
            "values": lists.lengths,
            "oov": np.diff(outside[lists.offsets]),
            "truncated": lists.truncated,
        }
        return EncodedFeature(counts, lists=encoded)

    def raw(self, rows: Rows, chosen: NDArray[np.int64]) -> dict[str, list[Any]]:
        lists = rows.lists[self._feature.name].take(chosen)
        texts, bounds = lists.elements.as_rows().to_pylist(), lists.offsets.tolist()
        raw = {self._feature.name: [texts[start:end] for start, end in pairwise(bounds)]}
        if lists.weights is not None:
            weights = lists.weights.tolist()
            raw[self._feature.weights_name] = [weights[start:end] for start, end in pairwise(bounds)]
        return raw


ENCODERS: dict[str, Callable[..., FeatureEncoder]] = {
    "categorical": _CategoricalEncoder,
    "multi_value": _MultiValueEncoder,
    "hashed": _HashedEncoder,
    "numeric": _NumericEncoder,
}


def feature_encoders(experiment: Experiment, vocabularies: Mapping[str, Any]) -> list[FeatureEncoder]:
    """The encoders of all features; those that share a vocabulary share its look-up."""
    owners = {
        feature.vocabulary: experiment.vocabulary_owner(feature)
        for feature in experiment.features
        if isinstance(feature, CategoricalFeature | MultiValueFeature)
    }
    lookups = {name: Lookup(vocabularies[name], owner.oov_buckets) for name, owner in owners.items()}
    return [
        ENCODERS[feature.kind](feature, lookups[feature.vocabulary])
        if isinstance(feature, CategoricalFeature | MultiValueFeature)
        else ENCODERS[feature.kind](feature)
        for feature in experiment.features
    ]


def _is_chosen(chosen: NDArray[np.bool_], codes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which rows have a chosen value."""
    return chosen[codes] if chosen.any() else np.zeros(len(codes), bool)
