"""Training batches: natural rows, followed by rows drawn uniformly from each rare label combination."""

import logging
import math
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import SAMPLE_WEIGHT, Experiment
from tf_crossdistil.data.records import Columns, feature_columns, label_matrix
from tf_crossdistil.data.strata import batch_rows, strata, thin_strata
from tf_crossdistil.data.training_rows import training_rows
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.tags import MISSING

logger = logging.getLogger(__name__)


class TrainingBatches:
    """The training split as an endless supply of epochs, each a tf.data.Dataset that depends on seed and epoch only.

    An element is a dict:
        `features`: columns `[batch + appended]`, or `[batch + appended, longest]` for lists, natural rows first;
        `labels`: `[batch, tasks]` of the natural rows, NaN where one is missing;
        `weights` (only with a sample weight): `[batch]`, divided by their mean over the training split;
        `strata` (only with `with_strata`): `[draws]`, the positions among all rows of the draws of each of `strata()`, one
        behind another. A common stratum has as many draws as a batch has rows of it on average: those rows, the first of
        them once more where there are fewer.

    Every epoch sees each training row once; the last batch is filled up from the next pass, so all have one shape.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, with_strata: bool):
        self._experiment = experiment
        self.batch_size = batch_rows(experiment, data.metadata)
        self.steps = math.ceil(data.rows("train") / self.batch_size)
        self._strata = strata(experiment, data.metadata) if with_strata else []
        for warning in thin_strata(experiment, data.metadata) if with_strata else []:
            logger.warning(warning)
        appended = [stratum.tag for stratum in self._strata if stratum.appended]
        self._rows = training_rows(data, experiment, self.batch_size, appended, experiment.training.strata_batch_size)
        weighted = experiment.sample_weight is not None
        self._mean_weight = data.metadata.numeric[SAMPLE_WEIGHT].mean if weighted else None

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """The batches of one epoch, `steps` of them."""
        seed = self._experiment.training.seed * 1_000_003 + epoch
        elements = self._rows.epoch(seed).map(self._element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return elements.take(self.steps).prefetch(tf.data.AUTOTUNE)

    def _element(self, columns: Columns) -> dict[str, Any]:
        labels = label_matrix(self._experiment, columns)[: self.batch_size]
        element = {
            "features": feature_columns(self._experiment, columns),
            "labels": tf.ensure_shape(labels, [self.batch_size, len(self._experiment.tasks)]),
        }
        if self._mean_weight is not None:
            element["weights"] = columns[SAMPLE_WEIGHT][: self.batch_size] / self._mean_weight
        if self._strata:
            element["strata"] = tf.concat(list(self._positions(labels)), axis=0)
        return element

    def _positions(self, labels: tf.Tensor) -> Iterator[tf.Tensor]:
        """Where the draws of each stratum are among the rows of a batch, `[draws]`."""
        end = self.batch_size
        for stratum in self._strata:
            draws = tf.range(stratum.draws, dtype=tf.int64)
            if stratum.appended:
                yield end + draws
                end += stratum.draws
            else:
                # The natural rows are shuffled, so the first ones of a tag are as good as any.
                members = tf.where(_have_tag(labels, stratum.tag))[:, 0]
                yield tf.gather(members, draws % tf.size(members, tf.int64))


def _have_tag(labels: tf.Tensor, tag: str) -> tf.Tensor:
    """Which rows of labels `[rows, tasks]` have a tag, `[rows]`."""
    columns = zip(tag, tf.unstack(labels, axis=1), strict=True)
    matches = [tf.math.is_nan(column) if digit == MISSING else column == float(digit) for digit, column in columns]
    return tf.reduce_all(tf.stack(matches), axis=0)
