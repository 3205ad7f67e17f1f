# SPDX-License-Identifier: Apache-2.0
"""All streaming metrics of regression tasks, to be updated by a model's `test_step`."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tf_crossdistil.metrics.streaming import StreamingMetric

# The spread of labels that differ by no more than the rounding of the sums, relative to their mean square.
_ROUNDING = 1e-14
# Graphs take the dtype of plain numbers for float32.
_ZERO, _NAN = np.float64(0), np.float64("nan")


class RegressionMetrics:
    """The streaming metrics of `tf_crossdistil.metrics.exact_regression` for several tasks.

    Build it under the distribution strategy that the model is built under. Sums are float64, and those of labels are of their
    distance from the task's center: where a million labels are 1e6 +- 1, r2 without a center is off by 0.002.

    Args:
        tasks: the columns of labels.
        centers: a number near each task's labels, such as their mean in the training split; default 0.
    """

    def __init__(self, tasks: Sequence[str], centers: Mapping[str, float] | None = None):
        self._tasks = list(tasks)
        centers = centers or {}
        self._metrics = {
            task: [RegressionMetric(key, centers.get(task, 0.0), name=f"{task}/{key}") for key in _OF_SUMS] for task in tasks
        }

    @property
    def metrics(self) -> list[StreamingMetric]:
        """Every metric, for `keras.Model.metrics`, which resets them."""
        return [metric for of_task in self._metrics.values() for metric in of_task]

    def update_state(self, labels: tf.Tensor, values: Mapping[str, tf.Tensor], weights: tf.Tensor | None = None) -> None:
        """Adds the rows of a batch.

        Args:
            labels: in their own units, NaN where one is missing, `[rows, tasks]`.
            values: what was predicted of each task, in the same units, `[rows]`.
            weights: `[rows]`; default 1.
        """
        for column, (task, metrics) in enumerate(self._metrics.items()):
            for metric in metrics:
                metric.update_state(labels[:, column], values[task], weights)

    def result(self) -> dict[str, tf.Tensor]:
        """Every metric so far as a float64 scalar, `rating/mse` being that of the task `rating`; NaN where undefined."""
        return {metric.name: metric.result() for metric in self.metrics}

    def reset_state(self) -> None:
        """Forgets all rows."""
        for metric in self.metrics:
            metric.reset_state()


class RegressionMetric(StreamingMetric):
    """One metric of one regression task; the state has 5 numbers.

    Args:
        key: mse, rmse, mae or r2.
        center: a number near the labels.
        name: of the metric.
    """

    def __init__(self, key: str, center: float = 0.0, name: str | None = None):
        super().__init__(name=name or key)
        self._of_sums, self._center = _OF_SUMS[key], np.float64(center)
        self._sums = self.add_state("sums", [5])

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels, values and weights, `[rows]` or `[rows, 1]`."""
        labels, values = (tf.cast(tf.reshape(column, [-1]), tf.float64) for column in (y_true, y_pred))
        weights = tf.ones_like(labels) if sample_weight is None else tf.cast(tf.reshape(sample_weight, [-1]), tf.float64)
        missing = tf.math.is_nan(labels)
        labels, values, weights = (tf.where(missing, _ZERO, column) for column in (labels, values, weights))
        errors, distances = labels - values, labels - self._center
        terms = tf.stack([tf.ones_like(labels), errors**2, tf.abs(errors), distances, distances**2])
        self._sums.assign_add(tf.reduce_sum(weights * terms, axis=1))

    def result(self) -> tf.Tensor:
        """The metric so far, a float64 scalar; NaN where undefined."""
        weight, *sums = tf.unstack(tf.convert_to_tensor(self._sums))
        return self._of_sums(*(total / weight for total in sums))


def _r2(square_error: tf.Tensor, _: tf.Tensor, distance: tf.Tensor, square_distance: tf.Tensor) -> tf.Tensor:
    variance = square_distance - distance**2
    return tf.where(variance > _ROUNDING * square_distance, 1 - square_error / variance, _NAN)


# Of the means of squared errors, absolute errors, distances from the center and squares of these.
_OF_SUMS: dict[str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "mse": lambda square_error, *_: square_error,
    "rmse": lambda square_error, *_: tf.sqrt(square_error),
    "mae": lambda _, absolute_error, *__: absolute_error,
    "r2": _r2,
}
