# SPDX-License-Identifier: Apache-2.0
"""Batches of a split for Keras' `evaluate` and validation."""

from typing import Any

import tensorflow as tf

from tf_crossdistil.config import SAMPLE_WEIGHT, Experiment
from tf_crossdistil.data.records import Columns, feature_columns, label_matrix, split_batches
from tf_crossdistil.schema import PreparedData


def evaluation_batches(data: PreparedData, experiment: Experiment, split: str, batch_size: int = 8192) -> tf.data.Dataset:
    """A whole split once, in the order of `split_batches`.

    An element is a dict of `features`, columns `[rows]` or `[rows, longest]`; `labels` `[rows, tasks]`, NaN where one is
    missing; and, with a sample weight, `weights` `[rows]`.
    """

    def element(columns: Columns) -> dict[str, Any]:
        weights = {} if experiment.sample_weight is None else {"weights": columns[SAMPLE_WEIGHT]}
        return {"features": feature_columns(experiment, columns), "labels": label_matrix(experiment, columns), **weights}

    return split_batches(data, experiment, split, batch_size).map(element)
