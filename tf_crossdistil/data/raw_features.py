# SPDX-License-Identifier: Apache-2.0
"""What a request holds: the raw features' types and how they are read from rows and from a serialized tf.Example."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tf_crossdistil.config import Experiment, MultiValueFeature, NumericFeature
from tf_crossdistil.data.records import Columns


@dataclass(frozen=True)
class RawField:
    """One input of a request: its type, the value that stands for a missing one, and whether a row has a list of them."""

    dtype: tf.DType
    missing: str | float
    is_list: bool = False


def raw_fields(experiment: Experiment) -> dict[str, RawField]:
    """The inputs by name: numbers and weights are float32; every other value is text, as logs hold it.

    A list's padding, and every weight that a request does not know, is a missing value.
    """
    fields = {}
    for feature in experiment.features:
        if isinstance(feature, NumericFeature):
            fields[feature.name] = RawField(tf.float32, feature.default)
        else:
            fields[feature.name] = RawField(tf.string, "", isinstance(feature, MultiValueFeature))
        if isinstance(feature, MultiValueFeature) and feature.weights:
            fields[feature.weights_name] = RawField(tf.float32, math.nan, is_list=True)
    return fields


def request_signature(experiment: Experiment) -> dict[str, tf.TensorSpec]:
    """The tensors of a request, `[batch]` or `[batch, n]`, by name."""
    return {
        name: tf.TensorSpec([None, None] if field.is_list else [None], field.dtype, name)
        for name, field in raw_fields(experiment).items()
    }


def raw_columns(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> Columns:
    """Rows as the tensors of a request; weights may be absent, lists None."""
    fields = raw_fields(experiment)
    return {name: tf.constant(_column(field, [row.get(name) for row in rows]), field.dtype) for name, field in fields.items()}


def _column(field: RawField, values: list[Any]) -> Any:
    if not field.is_list:
        return values
    lists = [value or [] for value in values]
    result = np.full((len(lists), max(1, *map(len, lists))), field.missing, field.dtype.as_numpy_dtype)
    for row, elements in zip(result, lists, strict=True):
        row[: len(elements)] = elements
    return result


def parse_requests(experiment: Experiment, serialized: tf.Tensor) -> Columns:
    """Raw features of serialized tf.Examples; an absent one is missing: empty text, no values, or the numeric default."""
    fields = raw_fields(experiment)
    spec = {
        name: tf.io.RaggedFeature(field.dtype, row_splits_dtype=tf.int64)
        if field.is_list
        else tf.io.FixedLenFeature([], field.dtype, default_value=field.missing)
        for name, field in fields.items()
    }
    parsed = tf.io.parse_example(serialized, spec)
    return {name: parsed[name].to_tensor(field.missing) if field.is_list else parsed[name] for name, field in fields.items()}
