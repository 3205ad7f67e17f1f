# SPDX-License-Identifier: Apache-2.0
"""What became of each feature between training and requests."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.config import (
    SPLITS,
    CategoricalFeature,
    Experiment,
    Feature,
    HashedFeature,
    MultiValueFeature,
    VocabularyFeature,
)
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.skew.bins import Bins, OovShares, id_bins, length_bins, number_bins
from tf_crossdistil.skew.distributions import IdLists, Ids, Numbers
from tf_crossdistil.skew.measure import Distributions

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Sides:
    """A number of training and of requests; None where it has no meaning."""

    training: float | None
    requests: float | None


@dataclass(frozen=True)
class FeatureSkew:
    """A feature compared.

    Attributes:
        name: of the feature.
        kind: of the feature.
        rows: requests' rows that tell of it, those of one request that share a value counted once.
        absent: whether no request has it.
        missing: share of rows without a value.
        bins: by what is compared, `values` and, for lists, `lengths`.
        oov: share of values out of vocabulary; None for a feature without one.
        unseen_oov: the same in the test split, or else the validation split, which made no vocabulary.
        quantiles: of numbers, at `QUANTILES`.
        mean_length: of lists.
    """

    name: str
    kind: str
    rows: int
    absent: bool
    missing: Sides
    bins: dict[str, Bins]
    oov: Sides | None = None
    unseen_oov: float | None = None
    quantiles: dict[float, Sides] = field(default_factory=dict)
    mean_length: Sides | None = None

    @property
    def worst(self) -> str:
        """Which of the comparisons shows the most drift."""
        return max(self.bins, key=lambda name: self.bins[name].psi.drift)

    @property
    def drift(self) -> float:
        """How far the feature drifted, beyond chance."""
        return self.bins[self.worst].psi.drift


def compare_features(
    data: PreparedData, experiment: Experiment, training: Distributions, requests: Distributions, present: Counter[str]
) -> list[FeatureSkew]:
    """All features, those that drifted most first; `present` counts, by feature, the requests that have it."""
    compared = [
        _COMPARISONS[feature.kind](data, feature, training[feature.name], requests[feature.name], not present[feature.name])
        for feature in experiment.features
    ]
    return sorted(compared, key=lambda skew: -skew.drift)


def _numeric(data: PreparedData, feature: Feature, training: Numbers, requests: Numbers, absent: bool) -> FeatureSkew:
    known, found = (_quantiles(numbers.sorted()) for numbers in (training, requests))
    return FeatureSkew(
        **_common(feature, training, requests, absent),
        bins={"values": number_bins(training, requests)},
        quantiles={at: Sides(known[at], found[at]) for at in QUANTILES},
    )


def _hashed(data: PreparedData, feature: HashedFeature, training: Ids, requests: Ids, absent: bool) -> FeatureSkew:
    bins = id_bins(training, requests, None, lambda ids: [f"bucket {number}" for number in ids])
    return FeatureSkew(**_common(feature, training, requests, absent), bins={"values": bins})


def _categorical(data: PreparedData, feature: CategoricalFeature, training: Ids, requests: Ids, absent: bool) -> FeatureSkew:
    oov = _oov_shares(data, feature)
    return FeatureSkew(
        **_common(feature, training, requests, absent),
        bins={"values": id_bins(training, requests, oov, _value_names(data, feature))},
        **_oov(oov, training.counts, requests.counts),
    )


def _multi_value(
    data: PreparedData, feature: MultiValueFeature, training: IdLists, requests: IdLists, absent: bool
) -> FeatureSkew:
    oov = _oov_shares(data, feature)
    return FeatureSkew(
        **_common(feature, training, requests, absent),
        bins={
            "values": id_bins(training, requests, oov, _value_names(data, feature)),
            "lengths": length_bins(training, requests),
        },
        **_oov(oov, training.values, requests.values),
        mean_length=Sides(training.mean_length, requests.mean_length),
    )


_COMPARISONS: dict[str, Callable[[PreparedData, Any, Any, Any, bool], FeatureSkew]] = {
    "numeric": _numeric,
    "hashed": _hashed,
    "categorical": _categorical,
    "multi_value": _multi_value,
}


def _common(feature: Feature, training: Any, requests: Any, absent: bool) -> dict[str, Any]:
    missing = Sides(training.missing / training.rows, requests.missing / requests.rows)
    return {"name": feature.name, "kind": feature.kind, "rows": requests.independent, "absent": absent, "missing": missing}


def _quantiles(numbers: NDArray[np.float32]) -> dict[float, float | None]:
    """Numbers that occur, the smallest with that share of all at or below it."""
    if not len(numbers):
        return dict.fromkeys(QUANTILES)
    return {at: float(numbers[int(np.ceil(at * len(numbers))) - 1]) for at in QUANTILES}


def _oov_shares(data: PreparedData, feature: VocabularyFeature) -> OovShares:
    unseen = next((split for split in reversed(SPLITS[1:]) if data.metadata.counts.get(split)), None)
    rate = data.metadata.rates[unseen].oov.get(feature.name) if unseen else None
    return OovShares(data.metadata.vocabularies[feature.vocabulary].size + 1, rate)


def _oov(oov: OovShares, training: NDArray[np.floating], requests: NDArray[np.floating]) -> dict[str, Any]:
    known, found = (
        float(counts[oov.first_id :].sum() / counts.sum()) if counts.any() else None for counts in (training, requests)
    )
    return {"oov": Sides(known, found), "unseen_oov": oov.unseen}


def _value_names(data: PreparedData, feature: VocabularyFeature) -> Callable[[list[int]], list[str]]:
    def names(ids: list[int]) -> list[str]:
        with data.vocabulary_file(feature.vocabulary).open(encoding="utf-8", newline="\n") as lines:
            numbered = enumerate(islice(lines, max(ids, default=0)), start=1)
            values = {number: line.rstrip("\n") for number, line in numbered if number in ids}
        return [f"'{values[number]}'" for number in ids]

    return names
