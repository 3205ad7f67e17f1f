"""Training rows out of a split that is held in memory."""

import math

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.loaded_split import load_split
from tf_crossdistil.data.records import Columns
from tf_crossdistil.data.training_rows import BatchShape, Part, Shard, TrainingRows
from tf_crossdistil.schema import PreparedData


class InMemoryRows(TrainingRows):
    """Rows gathered out of the whole split in memory: uniformly shuffled, and nothing is parsed twice."""

    def __init__(self, data: PreparedData, experiment: Experiment, shape: BatchShape):
        super().__init__(data, experiment, shape)
        self._split = load_split(data, experiment, "train")

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
        )

    def _gather(self, seed: int, part: Part, natural: tf.Tensor) -> tuple[Columns, ...]:
        chosen = [natural]
        if self._shape.strata:
            firsts = tf.constant([self._split.tags[tag][0] for tag in self._shape.strata], tf.int64)
            chosen.append(tf.reshape(firsts[:, tf.newaxis] + self.uniform(seed, part), [-1]))
        return tuple(map(self._split.rows.gather, chosen))
