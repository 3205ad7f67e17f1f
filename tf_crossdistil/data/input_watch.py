# SPDX-License-Identifier: Apache-2.0
"""Measures whether batches are ready before they are asked for."""

import time

import numpy as np
import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.data.training_rows import ONE_DEVICE, Shard
from tf_crossdistil.schema import PreparedData

# One of so many steps is measured: asking the clock at each would cost a tenth of a millisecond.
EVERY = 7
# Measured steps over which is judged; the first so many, while functions are traced and buffers are filled, do not count.
WINDOW = 20
# The share of the time that training may wait.
_MOST_WAITING = 0.2
_BUFFER = 2


class InputWatch:
    """Compares when the elements of a step were ready with when training had finished the step before."""

    def __init__(self) -> None:
        self._ready_at: dict[int, float] = {}
        self._number = 0
        self._measured = 0
        self._finished: float | None = None
        self._waited = self._elapsed = 0.0
        self._is_told = False

    def watch(self, elements: tf.data.Dataset, count: int = 1) -> tf.data.Dataset:
        """The elements of an epoch in their order, a few of them held ready; `count` make a step."""
        ready_at = self._ready_at = {}
        self._number, self._finished = 0, None

        def note(number: np.int64) -> np.int64:
            ready_at[int(number)] = time.perf_counter()
            return number

        def ticks_of(number: tf.Tensor) -> tf.Tensor:
            # Under determinism TensorFlow reads nothing ahead where a function is stateful, and has no clock.
            return tf.repeat(tf.numpy_function(note, [number], tf.int64, stateful=False), EVERY * count)

        # Each tick is asked for when its element is ready; a map of elements would handle every column. Not by a
        # `flat_map`: whatever makes data sets is stateful to TensorFlow, which then reads the elements in one thread.
        ticks = tf.data.Dataset.range(tf.int64.max).map(ticks_of).unbatch()
        return tf.data.Dataset.zip((elements, ticks)).prefetch(_BUFFER * count).map(lambda element, tick: element)

    def after_step(self) -> float | None:
        """To be called after each step; once, when training waits too much: the share of the time that it waits."""
        now, number, finished = time.perf_counter(), self._number, self._finished
        self._number, self._finished = number + 1, now
        if finished is None or number % EVERY:
            return None
        self._waited += max(0.0, self._ready_at.pop(number // EVERY, 0.0) - finished)
        self._elapsed += now - finished
        self._measured += 1
        if self._is_told or self._measured % WINDOW:
            return None
        share = self._waited / self._elapsed if self._elapsed else 0.0
        self._waited = self._elapsed = 0.0
        self._is_told = self._measured > WINDOW and share > _MOST_WAITING
        return share if self._is_told else None


class WatchedBatches(TrainingBatches):
    """Training batches that pass through a watch.

    Args:
        data: the prepared data.
        experiment: its configuration.
        with_strata: whether the method compares strata.
        replicas: how many share a batch.
        watch: measures them.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, with_strata: bool, replicas: int, watch: InputWatch):
        super().__init__(data, experiment, with_strata, replicas)
        self._watch = watch

    def epoch(self, epoch: int, first_step: int = 0, shard: Shard = ONE_DEVICE) -> tf.data.Dataset:
        """The batches of one epoch from a step on."""
        return self._watch.watch(super().epoch(epoch, first_step, shard), shard.count)
