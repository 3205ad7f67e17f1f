# SPDX-License-Identifier: Apache-2.0
"""Rows of the training split, shuffled anew in each epoch, and beside those of every batch rows drawn from each stratum."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.label_exchange import as_trained
from tf_crossdistil.schema import PreparedData


@dataclass(frozen=True)
class Shard:
    """Of the `replicas` parts of every batch, `count` from number `first` on: those of the replicas that one input feeds."""

    replicas: int = 1
    first: int = 0
    count: int = 1


ONE_DEVICE = Shard()


@dataclass(frozen=True)
class BatchShape:
    """How many natural rows a batch has, and how many draws of each stratum, over all replicas together."""

    rows: int
    strata: Sequence[str]
    draws: int


@dataclass(frozen=True)
class Part:
    """Which part of which batch an element is."""

    shard: Shard
    step: tf.Tensor
    replica: tf.Tensor

    @classmethod
    def of(cls, element: tf.Tensor, first_step: int, shard: Shard) -> "Part":
        """The part that the element of that number is, in an epoch from a step on."""
        return cls(shard, first_step + element // shard.count, shard.first + element % shard.count)


class TrainingRows(ABC):
    """Batches of natural rows, each row of the split once before any comes again, and uniform draws from each stratum.

    Args:
        data: the prepared data.
        experiment: its configuration.
        shape: of a batch.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, shape: BatchShape):
        self._data = data
        self._experiment = experiment
        self._shape = shape
        self._counts = as_trained(experiment, data.metadata).counts["train"]

    @abstractmethod
    def epoch(self, seed: int, first_step: int, shard: Shard) -> tf.data.Dataset:
        """Parts of batches from a step on: natural columns `[rows]`, and drawn ones `[tags * draws]`, tag by tag, if any.

        The same seed gives the same rows, wherever it starts.
        """

    def uniform(self, seed: int, part: Part) -> tf.Tensor:
        """Draws `[tags, draws]` for a part of a batch: row numbers below the row count of each stratum."""
        counts = [[self._counts[tag]] for tag in self._shape.strata]
        shape, pair = [len(counts), self._shape.draws], tf.stack([tf.constant(seed, tf.int64), part.step])
        # One operation for all strata; 53 random bits leave no count of rows uneven by as much as a draw in a million.
        drawn = tf.random.stateless_uniform(shape, pair, dtype=tf.float64) * tf.constant(counts, tf.float64)
        share = self._shape.draws // part.shard.replicas
        return tf.cast(drawn[:, part.replica * share :][:, :share], tf.int64)
