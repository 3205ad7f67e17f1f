# SPDX-License-Identifier: Apache-2.0
"""Training rows out of a split that is held in memory."""

import math

import numpy as np
import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.label_exchange import find_exchange
from tf_crossdistil.data.loaded_split import load_split
from tf_crossdistil.data.records import Columns, steady_parallelism
from tf_crossdistil.data.training_rows import BatchShape, Part, Shard, TrainingRows
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.tags import observed_tags


class InMemoryRows(TrainingRows):
    """Rows gathered out of the whole split in memory: uniformly shuffled, and nothing is parsed twice."""

    def __init__(self, data: PreparedData, experiment: Experiment, shape: BatchShape):
        super().__init__(data, experiment, shape)
        self._split = load_split(data, experiment, "train")
        tags = observed_tags(self._counts)
        firsts = dict(zip(tags, np.cumsum([0, *(self._counts[tag] for tag in tags)]), strict=False))
        self._firsts = tf.constant([[firsts[tag]] for tag in shape.strata], tf.int64)
        exchange = find_exchange(experiment, data.metadata)
        self._sources = None if exchange is None else tf.constant(exchange.sources)
        self._labels = {} if exchange is None else {task: tf.constant(labels) for task, labels in exchange.labels.items()}

    def epoch(self, seed: int, first_step: int, shard: Shard) -> tf.data.Dataset:
        """Parts of batches; the replicas' parts of a batch together are the batch of one device."""
        rows = self._data.rows("train")
        steps = math.ceil(rows / self._shape.rows)
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(rows, dtype=tf.int64), [seed, 0])
        missing = steps * self._shape.rows - rows
        order = tf.reshape(tf.concat([shuffled, shuffled[:missing]], axis=0), [steps, shard.replicas, -1])
        parts = tf.reshape(order[first_step:, shard.first :][:, : shard.count], [-1, self._shape.rows // shard.replicas])
        return (
            tf.data.Dataset.from_tensor_slices(parts)
            .enumerate()
            .map(
                lambda element, natural: self._gather(seed, Part.of(element, first_step, shard), natural),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            .with_options(steady_parallelism())
        )

    def _gather(self, seed: int, part: Part, natural: tf.Tensor) -> tuple[Columns, ...]:
        chosen = [natural]
        if self._shape.strata:
            chosen.append(tf.reshape(self._firsts + self.uniform(seed, part), [-1]))
        return tuple(map(self._rows, chosen))

    def _rows(self, numbers: tf.Tensor) -> Columns:
        """The rows that have these numbers after the exchange of labels, if there is one."""
        if self._sources is None:
            return self._split.rows.gather(numbers)
        columns = self._split.rows.gather(tf.gather(self._sources, numbers))
        return columns | {task: tf.gather(labels, numbers) for task, labels in self._labels.items()}
