# SPDX-License-Identifier: Apache-2.0
"""All streaming metrics of a multi-task model, to be updated by its `test_step`."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tf_crossdistil.metrics.streaming import STREAMING_METRICS, GroupedAUC, MultiAUC, StreamingMetric
from tf_crossdistil.tags import class_order, label_classes, tag_labels


class RankingMetrics:
    """The streaming metrics of several scores, such as the students and teachers of all tasks.

    Build it under the distribution strategy that the model is built under. `result` reads all histograms, which takes
    milliseconds: call it once an evaluation rather than once a batch.

    Args:
        tasks: the columns of labels.
        scores: the task that each score ranks, by the score's name: `{"finish": "finish", "finish+": "finish"}`.
        orders: each task's auxiliary tasks, which refine its order in Multi-AUC.
        tags: those that rows may have, such as `tags.observed_tags`; rows of others take no part in Multi-AUC. They bound its
            memory: 131 KB for each class of each score.
        groups: how many groups there may be for GAUC; None for no GAUC.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        scores: Mapping[str, str],
        orders: Mapping[str, Sequence[str]],
        tags: Sequence[str],
        groups: int | None = None,
    ):
        self._tasks, self._scores = list(tasks), dict(scores)
        self._orders = {task: _ClassesOfTask(self._tasks, [task, *orders[task]], tags) for task in set(scores.values())}
        self._multi_aucs = {
            score: MultiAUC(self._orders[task].above, name=f"{score}/multi_auc") for score, task in scores.items()
        }
        self._by_label = {
            f"{score}/{name}": metric(name=f"{score}/{name}") for score in scores for name, metric in STREAMING_METRICS.items()
        }
        self._grouped = {} if groups is None else {score: GroupedAUC(groups, name=f"{score}/gauc") for score in scores}

    @property
    def metrics(self) -> list[StreamingMetric]:
        """Every metric, for `keras.Model.metrics`, which resets them."""
        return [*self._multi_aucs.values(), *self._by_label.values(), *self._grouped.values()]

    def update_state(
        self,
        labels: tf.Tensor,
        logits: Mapping[str, tf.Tensor],
        weights: tf.Tensor | None = None,
        groups: tf.Tensor | None = None,
    ) -> None:
        """Adds the rows of a batch.

        Args:
            labels: 0, 1 or NaN, `[rows, tasks]`.
            logits: of each score, calibrated for teachers, `[rows]`.
            weights: `[rows]`; default 1.
            groups: `[rows]`, negative where unknown; needed for GAUC.
        """
        classes = {task: order.of(labels) for task, order in self._orders.items()}
        for score, task in self._scores.items():
            own = labels[:, self._tasks.index(task)]
            self._multi_aucs[score].update_state(classes[task], logits[score], weights)
            for name in STREAMING_METRICS:
                self._by_label[f"{score}/{name}"].update_state(own, logits[score], weights)
            if self._grouped:
                self._grouped[score].update_state(own, logits[score], groups, weights)

    def result(self) -> dict[str, tf.Tensor]:
        """Every metric so far as a scalar, `finish/auc` being that of the score `finish`."""
        return {metric.name: metric.result() for metric in self.metrics}

    def reset_state(self) -> None:
        """Forgets all rows."""
        for metric in self.metrics:
            metric.reset_state()


class _ClassesOfTask:
    """The classes of Multi-AUC that rows of some tags have, those without the task's own label left out."""

    def __init__(self, tasks: list[str], order: list[str], tags: Sequence[str]):
        labels = np.array([tag_labels(tag) for tag in tags]).reshape(len(tags), len(tasks))
        labelled = ~np.isnan(labels[:, tasks.index(order[0])])
        kept = np.unique(label_classes(labels[labelled], tasks, order))
        self.above = class_order(len(order), kept)
        self._kept = kept
        self._columns = [tasks.index(name) for name in order]

    def of(self, labels: tf.Tensor) -> tf.Tensor:
        """The number of each row's class in `above`, `[rows]`, -1 for none; as `tags.tag_codes` counts."""
        digits = tf.cast(tf.where(tf.math.is_nan(labels), 2.0, labels), tf.int64)
        places = 3 ** np.arange(len(self._columns), dtype=np.int64)[::-1]
        codes = tf.reduce_sum(tf.gather(digits, self._columns, axis=1) * places, axis=1)
        position = tf.minimum(tf.searchsorted(self._kept, codes), len(self._kept) - 1)
        return tf.where(tf.gather(self._kept, position) == codes, position, -1)
