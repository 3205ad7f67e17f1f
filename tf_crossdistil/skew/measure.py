# SPDX-License-Identifier: Apache-2.0
"""The distributions of all features: over the training split, and over logged requests in the same ids."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment, Feature, HashedFeature, MultiValueFeature, NumericFeature
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import raw_fields
from tf_crossdistil.data.records import split_batches
from tf_crossdistil.schema import Metadata, PreparedData
from tf_crossdistil.skew.distributions import Distribution, IdLists, Ids, Numbers
from tf_crossdistil.skew.raw_values import Request, join_requests

_TRAINING_BATCH = 65536
_REQUEST_ROWS = 8192
_LOOKED_UP: dict[str, Callable[[NDArray[Any]], NDArray[np.bool_]]] = {
    "categorical": lambda ids: ids == 0,
    "multi_value": lambda ids: (ids == 0).all(axis=1),
}

Distributions = dict[str, Distribution]


def measure_training(data: PreparedData, experiment: Experiment, advance: Callable[[int], None]) -> Distributions:
    """Reads the training split once; `advance` hears of the number of further rows."""
    distributions = _empty(data.metadata, experiment)
    for batch in split_batches(data, experiment, "train", _TRAINING_BATCH):
        for feature in experiment.features:
            values = batch[feature.name].numpy()
            missing = _LOOKED_UP.get(feature.kind, _none_missing)(values)
            distributions[feature.name].add(values, missing)
        advance(int(next(iter(batch.values())).shape[0]))
    _set_missing(data, experiment, distributions)
    return distributions


def measure_requests(data: PreparedData, experiment: Experiment, requests: Iterable[Request]) -> Distributions:
    """Reads all requests once and looks their values up as the model does."""
    distributions, fields = _empty(data.metadata, experiment), raw_fields(experiment)
    lookup = FeatureLookup(experiment, data.directory / "vocabulary")
    for batch in _batches(requests):
        first_rows = np.cumsum([0, *(request.rows for request in batch[:-1])])
        raw = join_requests(fields, batch)
        columns = lookup(_tensors(experiment, raw))
        for feature in experiment.features:
            values, missing = columns[feature.name].numpy(), _is_missing(feature, raw[feature.name])
            if missing is None:
                missing = _LOOKED_UP[feature.kind](values)
            distributions[feature.name].add(values, missing, first_rows)
    return distributions


def _empty(metadata: Metadata, experiment: Experiment) -> Distributions:
    return {feature.name: _KINDS[feature.kind](metadata, feature) for feature in experiment.features}


_KINDS: dict[str, Callable[[Metadata, Any], Distribution]] = {
    "numeric": lambda metadata, feature: Numbers(),
    "hashed": lambda metadata, feature: Ids(feature.buckets),
    "categorical": lambda metadata, feature: Ids(metadata.embedding_rows(feature)),
    "multi_value": lambda metadata, feature: IdLists(metadata.embedding_rows(feature), feature.max_length),
}


def _none_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.zeros(len(values), np.bool_)


def _set_missing(data: PreparedData, experiment: Experiment, distributions: Distributions) -> None:
    """Records hold missing numbers as the default and missing text as its bucket; the pipeline counted both."""
    fields = raw_fields(experiment)
    lookup = FeatureLookup(experiment, data.directory / "vocabulary")
    stand_ins = lookup(_tensors(experiment, join_requests(fields, [Request(1, {})])))
    rates = data.metadata.rates["train"].missing
    for feature in experiment.features:
        if feature.kind not in _LOOKED_UP:
            distribution = distributions[feature.name]
            distribution.set_missing(stand_ins[feature.name].numpy()[0], round(rates[feature.name] * distribution.rows))


def _batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Whole requests, with so many rows or a little more together."""
    batch: list[Request] = []
    rows = 0
    for request in requests:
        batch.append(request)
        rows += request.rows
        if rows >= _REQUEST_ROWS:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _tensors(experiment: Experiment, raw: dict[str, list[Any]]) -> dict[str, tf.Tensor]:
    """Raw features as the look-up takes them; weights, which have no ids, are left at NaN."""
    tensors = {}
    for feature in experiment.features:
        values = raw[feature.name]
        if isinstance(feature, MultiValueFeature):
            # A list may be of any length in a log; the model keeps so many of its values.
            kept = [[value for value in row if value][: feature.max_length] for row in values]
            width = max(1, *map(len, kept))
            tensors[feature.name] = tf.constant([row + [b""] * (width - len(row)) for row in kept])
            if feature.weights:
                tensors[feature.weights_name] = tf.fill([len(kept), 1], float("nan"))
        else:
            tensors[feature.name] = tf.constant(values, tf.float32 if isinstance(feature, NumericFeature) else tf.string)
    return tensors


def _is_missing(feature: Feature, raw: list[Any]) -> NDArray[np.bool_] | None:
    """Which rows have no value, None where their ids tell."""
    if isinstance(feature, NumericFeature):
        return np.isnan(np.array(raw, np.float64))
    return np.array([not text for text in raw]) if isinstance(feature, HashedFeature) else None
