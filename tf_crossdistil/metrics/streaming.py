# SPDX-License-Identifier: Apache-2.0
"""Streaming metrics: Keras metrics of bounded memory whose states add up in any order, over batches and over replicas.

All take logits, not probabilities; rows whose label is NaN are left out, and `sample_weight` defaults to 1. A logit that is NaN
makes the result NaN. States are float64: float32 would lose increments beyond 2^24 rows.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.metrics.exact import EPSILON, POSITIVE_ABOVE_NEGATIVE

# Scores are told apart where logits are: near 0 two bins of 16,384 are 0.001 apart, at a logit of 8 they are 0.0023.
_LOGIT_SCALE = 8.0
_FINE_BINS = 16384
# Graphs take the dtype of plain numbers for float32.
_ZERO, _ONE, _NAN = np.float64(0), np.float64(1), np.float64("nan")
_LARGEST_LOGIT = math.log((1 - EPSILON) / EPSILON)


class StreamingMetric(keras.metrics.Metric):
    """A metric whose state is sums over rows."""

    def add_state(self, name: str, shape: list[int]) -> tf.Variable:
        """A variable of zeros that replicas add to on their own and that is summed over them when it is read."""
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=tf.float64,
            initializer="zeros",
            aggregation=tf.VariableAggregation.SUM,
            synchronization=tf.VariableSynchronization.ON_READ,
        )

    def reset_state(self) -> None:
        """Forgets all rows."""
        keras.backend.batch_set_value([(variable, np.zeros(variable.shape)) for variable in self.variables])


class MultiAUC(StreamingMetric):
    """Multi-AUC (see `tf_crossdistil.metrics.exact.multi_auc`) from one histogram of `tanh(logit / 8)` a class.

    Rows that share a bin count as ties. The state has `classes x bins` numbers of 8 bytes. The error is below 1e-3 as long as
    logits spread over 0.01 or more.

    Args:
        above: entry `[a, b]` says that class a ranks above class b, `[classes, classes]`, such as `tags.class_order(...)`.
        bins: of each histogram, equally wide.
        name: of the metric.
    """

    def __init__(self, above: Any, bins: int = _FINE_BINS, name: str = "multi_auc"):
        super().__init__(name=name)
        self._above = np.asarray(above, bool)
        self._histograms = _Histograms(self, len(self._above), bins)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows.

        Args:
            y_true: classes, such as `tags.label_classes(...)`; rows of a negative one are left out, `[rows]` or `[rows, 1]`.
            y_pred: logits, of that shape.
            sample_weight: of that shape.
        """
        self._histograms.add(_column(y_true, tf.int32), _column(y_pred), _weights(sample_weight, y_pred))

    def result(self) -> tf.Tensor:
        """The Multi-AUC so far, a float64 scalar; NaN where no ordered pair of classes has rows."""
        counts = self._histograms.counts()
        ranks = tf.cumsum(counts, axis=1) - counts / 2
        totals = tf.reduce_sum(counts, axis=1)
        pairs = tf.cast(self._above, tf.float64) * totals[:, tf.newaxis] * totals
        rates = tf.matmul(counts, ranks, transpose_b=True) / tf.where(pairs > 0, pairs, _ONE)
        weights = tf.where(pairs > 0, totals[:, tf.newaxis] + totals, _ZERO)
        return tf.reduce_sum(weights * rates) / tf.reduce_sum(weights) + 0 * tf.reduce_sum(totals)


class AUC(MultiAUC):
    """Area under the ROC curve from one histogram of logits a label, as `MultiAUC`; `y_true` is 0, 1 or NaN."""

    def __init__(self, bins: int = _FINE_BINS, name: str = "auc"):
        super().__init__(POSITIVE_ABOVE_NEGATIVE, bins, name)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels, logits and weights, `[rows]` or `[rows, 1]`."""
        super().update_state(_label_classes(y_true), y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"name": self.name, "bins": self._histograms.bins}


class GroupedAUC(StreamingMetric):
    """GAUC (see `tf_crossdistil.metrics.exact.grouped_auc`) from a small histogram of logits for each label of each group.

    Two approximations: rows of a group that share a bin count as ties; and where there are more possible groups than slots,
    only as many groups as slots are measured, always the same ones, which a multiplicative hash spreads evenly over the ids.
    The first costs less than 1e-3 as long as logits spread over 0.3 or more. The state has `slots x 2 x bins` numbers of 8
    bytes.

    Args:
        groups: how many groups there may be; their ids are below.
        slots: how many groups are measured at most.
        bins: of each histogram, equally wide in `tanh(logit / 8)`; with fewer groups than slots, as many more as take the same
            memory, up to 16,384.
        name: of the metric.
    """

    def __init__(self, groups: int, slots: int = 4096, bins: int = 256, name: str = "gauc"):
        super().__init__(name=name)
        self._groups, self._slots = groups, min(groups, slots)
        self._multiplier = 1 if groups <= slots else _spreading_multiplier(groups)
        self._histograms = _Histograms(self, 2 * self._slots, min(bins * slots // self._slots, max(bins, _FINE_BINS)))

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, groups: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Adds rows: labels, logits, integer groups and weights, `[rows]` or `[rows, 1]`; negative groups are left out."""
        groups = _column(groups, tf.int64)
        slots = groups * self._multiplier % self._groups
        labels = _label_classes(y_true)
        measured = (groups >= 0) & (groups < self._groups) & (slots < self._slots) & (labels >= 0)
        index = tf.where(measured, 2 * tf.cast(slots, tf.int32) + labels, -1)
        self._histograms.add(index, _column(y_pred), _weights(sample_weight, y_pred))

    def result(self) -> tf.Tensor:
        """The GAUC so far, a float64 scalar; NaN where no measured group has both labels."""
        counts = tf.reshape(self._histograms.counts(), [self._slots, 2, -1])
        negatives, positives = counts[:, 0], counts[:, 1]
        wins = tf.reduce_sum(positives * (tf.cumsum(negatives, axis=1) - negatives / 2), axis=1)
        totals = tf.reduce_sum(counts, axis=2)
        pairs = totals[:, 0] * totals[:, 1]
        weights = tf.where(pairs > 0, tf.reduce_sum(totals, axis=1), _ZERO)
        means = weights * wins / tf.where(pairs > 0, pairs, _ONE)
        return tf.reduce_sum(means) / tf.reduce_sum(weights) + 0 * tf.reduce_sum(totals)


class ExpectedCalibrationError(StreamingMetric):
    """ECE over bins of about equal mass, merged from many fine bins of logits; the state has `3 x bins` numbers of 8 bytes.

    Args:
        merged_bins: how many bins of equal mass.
        bins: fine ones, equally wide in `tanh(logit / 8)`.
        name: of the metric.
    """

    def __init__(self, merged_bins: int = 20, bins: int = _FINE_BINS, name: str = "ece"):
        super().__init__(name=name)
        self._merged_bins = merged_bins
        self._histograms = _Histograms(self, 3, bins)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels, logits and weights, `[rows]` or `[rows, 1]`."""
        classes, logits, weights = _label_classes(y_true), _column(y_pred), _weights(sample_weight, y_pred)
        probabilities = tf.sigmoid(tf.cast(logits, tf.float64))
        for row, values in enumerate((tf.ones_like(weights), probabilities, tf.cast(classes, tf.float64))):
            self._histograms.add(tf.where(classes < 0, -1, row), logits, weights * values)

    def result(self) -> tf.Tensor:
        """The ECE so far, a float64 scalar; NaN without rows."""
        counts = self._histograms.counts()
        mass = tf.cumsum(counts[0])
        # As exact bins, each begins at the fine bin where the mass passes a multiple of its share.
        quantiles = tf.range(1, self._merged_bins, dtype=tf.float64) * mass[-1] / self._merged_bins
        starts = tf.searchsorted(mass, quantiles, side="right")
        merged = tf.searchsorted(starts, tf.range(mass.shape[0]), side="right")
        merged_counts = tf.math.unsorted_segment_sum(tf.transpose(counts), merged, self._merged_bins)
        return tf.reduce_sum(tf.abs(merged_counts[:, 2] - merged_counts[:, 1])) / mass[-1]

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"name": self.name, "merged_bins": self._merged_bins, "bins": self._histograms.bins}


class LogLoss(StreamingMetric):
    """Mean negative log likelihood in nats (see `tf_crossdistil.metrics.exact.log_loss`); the state has 4 numbers."""

    def __init__(self, name: str = "log_loss"):
        super().__init__(name=name)
        self._sums = self.add_state("sums", [4])

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels, logits and weights, `[rows]` or `[rows, 1]`."""
        classes, logits = _label_classes(y_true), tf.cast(_column(y_pred), tf.float64)
        weights = tf.where(classes < 0, _ZERO, _weights(sample_weight, y_pred))
        labels = tf.cast(classes, tf.float64)
        logits = tf.where(classes < 0, _ZERO, logits)
        clipped = tf.clip_by_value(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=clipped)
        values = tf.stack([tf.ones_like(losses), losses, tf.sigmoid(logits), labels])
        self._sums.assign_add(tf.reduce_sum(weights * values, axis=1))

    def result(self) -> tf.Tensor:
        """The metric so far, a float64 scalar; NaN where undefined."""
        weight, loss, predicted, positive = tf.unstack(tf.convert_to_tensor(self._sums))
        return self._of_sums(weight, loss, predicted, positive)

    def _of_sums(self, weight: tf.Tensor, loss: tf.Tensor, predicted: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
        return loss / weight


class NormalizedEntropy(LogLoss):
    """Log loss over the entropy of the share of positives (see `tf_crossdistil.metrics.exact.normalized_entropy`)."""

    def __init__(self, name: str = "normalized_entropy"):
        super().__init__(name)

    def _of_sums(self, weight: tf.Tensor, loss: tf.Tensor, predicted: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
        share = positive / weight
        entropy = -share * tf.math.log(share) - (1 - share) * tf.math.log1p(-share)
        return loss / weight / entropy


class CalibrationRatio(LogLoss):
    """Sum of probabilities over sum of positives (see `tf_crossdistil.metrics.exact.calibration_ratio`)."""

    def __init__(self, name: str = "calibration_ratio"):
        super().__init__(name)

    def _of_sums(self, weight: tf.Tensor, loss: tf.Tensor, predicted: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
        return tf.where(positive > 0, predicted / positive, _NAN)


class _Histograms:
    """The state of a metric: `[rows, bins]` sums of weights over bins that are equally wide in `tanh(logit / 8)`."""

    def __init__(self, metric: StreamingMetric, rows: int, bins: int):
        self._shape = [rows, bins]
        self._state = metric.add_state("histograms", self._shape)

    @property
    def bins(self) -> int:
        return self._shape[1]

    def add(self, rows: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor) -> None:
        """Adds weights to the rows of the histograms; negative rows are left out. All `[rows]`."""
        position = (tf.tanh(tf.cast(logits, tf.float32) / _LOGIT_SCALE) + 1) * (self.bins / 2)
        is_valid = ~tf.math.is_nan(position)
        bins = tf.clip_by_value(tf.cast(tf.where(is_valid, position, 0.0), tf.int32), 0, self.bins - 1)
        # A score that is no number has no bin: it makes the histogram invalid.
        weights = tf.where(is_valid, weights, _NAN)
        cells = tf.where(rows < 0, -1, rows * self.bins + bins)
        added = tf.math.unsorted_segment_sum(weights, cells, self._shape[0] * self.bins)
        self._state.assign_add(tf.reshape(added, self._shape))

    def counts(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._state)


def _spreading_multiplier(groups: int) -> int:
    """Near the golden section of `groups` and coprime to it: its multiples modulo `groups` are a permutation, well spread."""
    multiplier = round(groups * (math.sqrt(5) - 1) / 2)
    while math.gcd(multiplier, groups) != 1:
        multiplier += 1
    return multiplier


def _column(values: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
    return tf.cast(tf.reshape(values, [-1]), dtype)


def _label_classes(labels: Any) -> tf.Tensor:
    """0 or 1 `[rows]`, and -1 for NaN."""
    labels = _column(labels)
    return tf.cast(tf.where(tf.math.is_nan(labels), -1.0, labels), tf.int32)


def _weights(sample_weight: tf.Tensor | None, logits: tf.Tensor) -> tf.Tensor:
    return tf.ones_like(_column(logits), tf.float64) if sample_weight is None else _column(sample_weight, tf.float64)


STREAMING_METRICS: Mapping[str, type[StreamingMetric]] = {
    "auc": AUC,
    "log_loss": LogLoss,
    "normalized_entropy": NormalizedEntropy,
    "ece": ExpectedCalibrationError,
    "calibration_ratio": CalibrationRatio,
}
