"""Rows of the training split, shuffled anew in each epoch, with rows drawn from some tags behind those of every batch.

In memory where the split fits, and else read from its files.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.loaded_split import fits_in_memory, load_split, load_tag
from tf_crossdistil.data.records import Columns, concat_rows, parse_records, serialized_records
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.tags import observed_tags

# Rows of one rare tag that are held in memory; of a larger one, fresh rows stream through a buffer of this size.
_HELD_ROWS = 2_000_000
_SHUFFLE_ROWS = 262_144
_CHOICES = 8192


class TrainingRows(ABC):
    """Batches of `batch_size` rows, each row of the split once before any comes again, then `draws` rows of each drawn tag.

    Args:
        data: the prepared data.
        experiment: its configuration.
        batch_size: natural rows of a batch.
        drawn: the tags of the rows behind them.
        draws: uniform draws, with replacement, from each of those tags.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, batch_size: int, drawn: Sequence[str], draws: int):
        self._data = data
        self._experiment = experiment
        self._batch_size = batch_size
        self._drawn = list(drawn)
        self._draws = draws

    @abstractmethod
    def epoch(self, seed: int) -> tf.data.Dataset:
        """Columns `[batch_size + tags * draws]` of every batch; the same seed gives the same rows."""

    def _uniform(self, count: tf.Tensor, seed: int, step: tf.Tensor, position: int) -> tf.Tensor:
        """Draws `[draws]` below `count`, for the tag at that position of a step."""
        pair = tf.stack([tf.constant(seed, tf.int64), step * len(self._drawn) + position])
        return tf.random.stateless_uniform([self._draws], pair, maxval=count, dtype=tf.int64)


def training_rows(
    data: PreparedData, experiment: Experiment, batch_size: int, drawn: Sequence[str], draws: int
) -> TrainingRows:
    """The rows of the training split, from memory where they fit."""
    kind = InMemoryRows if fits_in_memory(data, experiment, "train") else StreamedRows
    return kind(data, experiment, batch_size, drawn, draws)


class InMemoryRows(TrainingRows):
    """Rows gathered out of the whole split in memory: uniformly shuffled, and nothing is parsed twice."""

    def __init__(self, data: PreparedData, experiment: Experiment, batch_size: int, drawn: Sequence[str], draws: int):
        super().__init__(data, experiment, batch_size, drawn, draws)
        self._split = load_split(data, experiment, "train")

    def epoch(self, seed: int) -> tf.data.Dataset:
        """Columns of every batch, natural rows first."""
        rows = self._data.rows("train")
        steps = math.ceil(rows / self._batch_size)
        passes = [tf.random.experimental.stateless_shuffle(tf.range(rows, dtype=tf.int64), [seed, part]) for part in (0, 1)]
        order = tf.concat(passes, axis=0)[: steps * self._batch_size]
        batches = tf.data.Dataset.from_tensor_slices(tf.reshape(order, [steps, self._batch_size])).enumerate()
        return batches.map(lambda step, natural: self._gather(seed, step, natural), num_parallel_calls=tf.data.AUTOTUNE)

    def _gather(self, seed: int, step: tf.Tensor, natural: tf.Tensor) -> Columns:
        positions = [natural]
        for position, tag in enumerate(self._drawn):
            first, count = self._split.tags[tag]
            positions.append(first + self._uniform(count, seed, step, position))
        chosen = tf.concat(positions, axis=0)
        return {name: tf.gather(column, chosen) for name, column in self._split.columns.items()}


class StreamedRows(TrainingRows):
    """Rows read from files in every epoch, mixed over tags and shuffled within a buffer; rare tags are held in memory."""

    def __init__(self, data: PreparedData, experiment: Experiment, batch_size: int, drawn: Sequence[str], draws: int):
        super().__init__(data, experiment, batch_size, drawn, draws)
        self._counts = data.metadata.counts["train"]
        self._held = {tag: load_tag(data, experiment, "train", tag) for tag in drawn if self._counts[tag] <= _HELD_ROWS}

    def epoch(self, seed: int) -> tf.data.Dataset:
        """Columns of every batch, natural rows first."""
        streams = {tag: self._stream(tag, seed) for tag in self._drawn if tag not in self._held}
        numbered = tf.data.Dataset.zip((tf.data.Dataset.counter(), self._natural(seed), streams))

        def append(step: tf.Tensor, natural: Columns, streamed: dict[str, Columns]) -> Columns:
            drawn = [
                streamed[tag] if tag in streamed else self._draw(tag, seed, step, position)
                for position, tag in enumerate(self._drawn)
            ]
            return concat_rows([natural, *drawn])

        return numbered.map(append, num_parallel_calls=tf.data.AUTOTUNE)

    def _draw(self, tag: str, seed: int, step: tf.Tensor, position: int) -> Columns:
        held = self._held[tag]
        chosen = self._uniform(tf.shape(next(iter(held.values())), tf.int64)[0], seed, step, position)
        return {name: tf.gather(column, chosen) for name, column in held.items()}

    def _stream(self, tag: str, seed: int) -> tf.data.Dataset:
        records = serialized_records(self._data.record_files("train", tag)).shuffle(_HELD_ROWS, seed=seed).repeat()
        return records.batch(self._draws, drop_remainder=True).map(self._parse)

    def _natural(self, seed: int) -> tf.data.Dataset:
        tags = observed_tags(self._counts)
        by_tag = [serialized_records(self._data.record_files("train", tag)) for tag in tags]
        shares = tf.math.log([[float(self._counts[tag]) for tag in tags]])
        # Choices are drawn by the thousand: `sample_from_datasets` runs a graph for each one and is 50 times as slow. The
        # negative seed keeps them apart from the draws of strata.
        choices = tf.data.Dataset.counter().map(
            lambda block: tf.random.stateless_categorical(
                shares, _CHOICES, tf.stack([tf.constant(-1 - seed, tf.int64), block])
            )[0]
        )
        # Towards the end of a pass the mixture runs out of one tag before another; the shuffle spreads that tail.
        mixed = tf.data.Dataset.choose_from_datasets(by_tag, choices.unbatch(), stop_on_empty_dataset=False)
        return (
            mixed.shuffle(min(_SHUFFLE_ROWS, self._data.rows("train")), seed=seed)
            .repeat()
            .batch(self._batch_size, drop_remainder=True)
            .map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)
        )

    def _parse(self, serialized: tf.Tensor) -> Columns:
        return parse_records(self._experiment, serialized)
