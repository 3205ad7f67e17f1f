# SPDX-License-Identifier: Apache-2.0
"""Training batches: natural rows, and rows drawn uniformly from each label combination."""

import logging
import math
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import SAMPLE_WEIGHT, Experiment
from tf_crossdistil.data.in_memory_rows import InMemoryRows
from tf_crossdistil.data.label_exchange import as_trained, check_label_exchange
from tf_crossdistil.data.loaded_split import fits_in_memory
from tf_crossdistil.data.records import Columns, feature_columns, label_matrix
from tf_crossdistil.data.strata import strata, thin_strata
from tf_crossdistil.data.streamed_rows import StreamedRows
from tf_crossdistil.data.training_rows import ONE_DEVICE, BatchShape, Shard
from tf_crossdistil.errors import UsageError
from tf_crossdistil.schema import PreparedData

logger = logging.getLogger(__name__)


class TrainingBatches:
    """The training split as an endless supply of epochs, each a tf.data.Dataset that depends on seed and epoch only.

    An element is a dict:
        `features`: columns `[batch]` of natural rows, or `[batch, longest]` for lists;
        `labels`: `[batch, tasks]`, NaN where one is missing;
        `weights` (only with a sample weight): `[batch]`, divided by their mean over the training split;
        `strata` (only with `with_strata`): columns `[tags * draws]` of rows drawn from each of `strata()`, one behind another.

    Every epoch sees each training row once; rows that come a second time fill up the last batch, so that all have one shape.

    Args:
        data: the prepared data.
        experiment: its configuration.
        with_strata: whether the method compares strata.
        replicas: between which each batch is divided; they divide its rows and draws.

    Raises:
        UsageError: there are fewer rows than replicas.
        CrossDistilError: labels are to be exchanged that cannot be.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, with_strata: bool, replicas: int = 1):
        self._experiment = experiment
        self._replicas = replicas
        rows = min(experiment.training.batch_size, data.rows("train"))
        self.batch_size = rows - rows % replicas
        if not self.batch_size:
            raise UsageError(f"{replicas} replicas cannot share {rows} training rows; train on one device")
        self.steps = math.ceil(data.rows("train") / self.batch_size)
        check_label_exchange(experiment, data)
        metadata = as_trained(experiment, data.metadata)
        drawn = strata(metadata) if with_strata else []
        for warning in thin_strata(experiment, metadata) if with_strata else []:
            logger.warning(warning)
        kind = InMemoryRows if fits_in_memory(data, experiment, "train") else StreamedRows
        self._rows = kind(data, experiment, BatchShape(self.batch_size, drawn, experiment.training.strata_batch_size))
        weighted = experiment.sample_weight is not None
        self._mean_weight = data.metadata.numeric[SAMPLE_WEIGHT].mean if weighted else None

    def epoch(self, epoch: int, first_step: int = 0, shard: Shard = ONE_DEVICE) -> tf.data.Dataset:
        """The batches of one epoch from a step on, the `steps - first_step` that an undisturbed epoch would go on with.

        With a shard of several replicas an element is one replica's part of a batch, and its replicas' parts follow each
        other. Splits that do not fit in memory draw large common strata from each part, all others as one device would.
        """
        seed = self._experiment.training.seed * 1_000_003 + epoch
        elements = self._rows.epoch(seed, first_step, shard)
        elements = elements.map(self._element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return elements.take((self.steps - first_step) * shard.count).prefetch(tf.data.AUTOTUNE)

    def _element(self, natural: Columns, drawn: Columns | None = None) -> dict[str, Any]:
        element = {
            "features": feature_columns(self._experiment, natural),
            "labels": label_matrix(self._experiment, natural),
        }
        if self._mean_weight is not None:
            element["weights"] = natural[SAMPLE_WEIGHT] / self._mean_weight
        if drawn is not None:
            element["strata"] = feature_columns(self._experiment, drawn)
        return element
