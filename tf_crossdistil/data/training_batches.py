"""Training batches: natural rows, followed by rows drawn uniformly from each label combination.

The augmented ranking loss compares rows of different label combinations (strata), some of them rare. A batch therefore
names, for each stratum, which of its rows are uniform draws from it. Common strata are drawn from the natural rows
themselves and cost nothing; rare ones are drawn from the whole split and appended.
"""

import logging
import math
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import SAMPLE_WEIGHT, Experiment
from tf_crossdistil.data.records import Columns, feature_columns, label_matrix
from tf_crossdistil.data.training_rows import training_rows
from tf_crossdistil.schema import NEARLY_EMPTY_ROWS, PreparedData
from tf_crossdistil.tags import MISSING, all_tags, observed_tags

logger = logging.getLogger(__name__)

# A stratum is drawn from the natural rows when a batch holds on average this many times the draws, so that one row rarely is
# drawn twice, and this many rows, so that a batch without any is out of the question.
_NATURAL_FACTOR = 4
_NATURAL_ROWS = 64


class TrainingBatches:
    """The training split as an endless supply of epochs, each a tf.data.Dataset that depends on seed and epoch only.

    An element is a dict:
        `features`: columns `[batch + appended]`, or `[batch + appended, longest]` for lists, natural rows first;
        `labels`: `[batch, tasks]` of the natural rows, NaN where one is missing;
        `weights` (only with a sample weight): `[batch]`, divided by their mean over the training split;
        `strata` (only with `with_strata`): `[tags, draws]`, for each of `observed_tags` the positions among all rows of
        uniform draws from that tag.

    Every epoch sees each training row once; the last batch is filled up from the next pass, so all have one shape.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, with_strata: bool):
        self._experiment = experiment
        self._draws = experiment.training.strata_batch_size
        counts = data.metadata.counts["train"]
        rows = data.rows("train")
        self.batch_size = min(experiment.training.batch_size, rows)
        self.steps = math.ceil(rows / self.batch_size)
        self._with_strata = with_strata
        self._strata = observed_tags(counts) if with_strata else []
        if with_strata:
            _tell_thin_strata(counts, len(experiment.tasks))
        enough = max(_NATURAL_FACTOR * self._draws, _NATURAL_ROWS)
        self._appended = [tag for tag in self._strata if self.batch_size * counts[tag] / rows < enough]
        self._rows = training_rows(data, experiment, self.batch_size, self._appended, self._draws)
        weighted = experiment.sample_weight is not None
        self._mean_weight = data.metadata.numeric[SAMPLE_WEIGHT].mean if weighted else None

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """The batches of one epoch, `steps` of them."""
        seed = self._experiment.training.seed * 1_000_003 + epoch
        numbered = self._rows.epoch(seed).enumerate()
        elements = numbered.map(
            lambda step, columns: self._element(seed, step, columns), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return elements.take(self.steps).prefetch(tf.data.AUTOTUNE)

    def _element(self, seed: int, step: tf.Tensor, columns: Columns) -> dict[str, Any]:
        labels = label_matrix(self._experiment, columns)[: self.batch_size]
        element = {
            "features": feature_columns(self._experiment, columns),
            "labels": tf.ensure_shape(labels, [self.batch_size, None]),
        }
        if self._mean_weight is not None:
            element["weights"] = columns[SAMPLE_WEIGHT][: self.batch_size] / self._mean_weight
        if self._with_strata:
            element["strata"] = tf.stack([self._positions(tag, labels, seed, step) for tag in self._strata])
        return element

    def _positions(self, tag: str, labels: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
        """Where the draws of a tag are among the rows of a batch, `[draws]`."""
        if tag in self._appended:
            first = self.batch_size + self._appended.index(tag) * self._draws
            return tf.range(first, first + self._draws, dtype=tf.int64)
        matches = [
            tf.math.is_nan(labels[:, index]) if digit == MISSING else labels[:, index] == float(digit)
            for index, digit in enumerate(tag)
        ]
        members = tf.where(tf.reduce_all(tf.stack(matches), axis=0))[:, 0]
        # The negative number keeps these draws apart from those of the rows that are appended.
        pair = tf.stack([tf.constant(-1 - seed, tf.int64), step * len(self._strata) + self._strata.index(tag)])
        drawn = tf.random.stateless_uniform([self._draws], pair, maxval=tf.size(members, tf.int64), dtype=tf.int64)
        return tf.gather(members, drawn)


def _tell_thin_strata(counts: dict[str, int], tasks: int) -> None:
    for tag in sorted({*all_tags(tasks), *observed_tags(counts)}):
        count = counts.get(tag, 0)
        if count < NEARLY_EMPTY_ROWS:
            logger.warning(
                "training rows with label combination %s: %d; %s",
                tag,
                count,
                "its draws repeat the same few rows" if count else "ranking terms that need it are left out",
            )
