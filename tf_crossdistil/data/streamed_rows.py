# SPDX-License-Identifier: Apache-2.0
"""Training rows read from files in every epoch, for splits that do not fit in memory."""

import math
import random

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.loaded_split import PackedRows, load_rows
from tf_crossdistil.data.records import CHUNK, Columns, binary_labels, concat_rows, parse_records, serialized_chunks
from tf_crossdistil.data.training_rows import BatchShape, Part, Shard, TrainingRows
from tf_crossdistil.schema import PreparedData, record_fields
from tf_crossdistil.tags import MISSING, observed_tags

# Rows of one tag that are held in memory; of a larger one, rows come from the batch itself or stream through a buffer.
_HELD_ROWS = 2_000_000
# A batch holds on average this many rows of a tag that is drawn from it, so that a batch without any is out of the question.
_COMMON_ROWS = 64
# Chunks are shuffled within a buffer of so many rows, then all rows of a block are.
_SHUFFLE_ROWS = 262_144
_BLOCK_ROWS = 65_536


class StreamedRows(TrainingRows):
    """Rows read from files in every epoch, in blocks that hold every tag in its proportion and are shuffled.

    Draws are uniform from tags that can be held in memory. Of a larger tag that is common in batches they are natural rows of
    the part itself; of one that is not, fresh rows stream through a buffer of their own.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, shape: BatchShape):
        super().__init__(data, experiment, shape)
        self._held = {
            tag: load_rows(data, experiment, "train", [tag]) for tag in shape.strata if self._counts[tag] <= _HELD_ROWS
        }
        self._longest = {field.name: field.longest for field in record_fields(experiment) if field.longest is not None}

    def epoch(self, seed: int, first_step: int, shard: Shard) -> tf.data.Dataset:
        """Parts of batches; blocks before the first step are read, but not parsed."""
        streams = {tag: self._stream(tag, seed, first_step, shard) for tag in self._shape.strata if self._streams(tag, shard)}
        parts = tf.data.Dataset.zip((self._natural(seed, first_step, shard), streams)).enumerate()

        def draw(element: tf.Tensor, rows: tuple[Columns, dict[str, Columns]]) -> tuple[Columns, ...]:
            natural, streamed = rows
            part = Part.of(element, first_step, shard)
            if not self._shape.strata:
                return (natural,)
            uniform = tf.unstack(self.uniform(seed, part))
            drawn = [
                streamed[tag] if tag in streamed else self._draw(tag, rows, natural)
                for tag, rows in zip(self._shape.strata, uniform, strict=True)
            ]
            return natural, concat_rows(drawn)

        return parts.map(draw, num_parallel_calls=tf.data.AUTOTUNE)

    def _streams(self, tag: str, shard: Shard) -> bool:
        expected = self._shape.rows / shard.replicas * self._counts[tag] / self._data.rows("train")
        return tag not in self._held and expected < _COMMON_ROWS

    def _draw(self, tag: str, rows: tf.Tensor, natural: Columns) -> Columns:
        if tag in self._held:
            return self._held[tag].gather(rows)
        members = tf.where(_have_tag(binary_labels(self._experiment, natural), tag))[:, 0]
        # The natural rows are shuffled, so the first ones of a tag are as good as any.
        chosen = tf.gather(members, tf.range(tf.size(rows), dtype=tf.int64) % tf.size(members, tf.int64))
        return {name: tf.gather(column, chosen) for name, column in natural.items()}

    def _stream(self, tag: str, seed: int, first_step: int, shard: Shard) -> tf.data.Dataset:
        # A pass may take many epochs: each starts with other files.
        files = self._data.record_files("train", tag)
        records = serialized_chunks(random.Random(seed).sample(files, len(files))).unbatch()
        draws = records.shuffle(_SHUFFLE_ROWS, seed=seed).repeat().batch(self._shape.draws // shard.replicas)
        mine = self._mine(draws.skip(first_step * shard.replicas), shard)
        return mine.map(self._parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _natural(self, seed: int, first_step: int, shard: Shard) -> tf.data.Dataset:
        tags = observed_tags(self._counts)
        counts = np.array([self._counts[tag] for tag in tags])
        blocks = math.ceil(counts.sum() / _BLOCK_ROWS)
        # How many rows of each tag come before each block: its share, to the row.
        before = np.outer(np.arange(blocks + 1), counts) // blocks
        starts = before[:-1].sum(axis=1)
        # Workers of parameter servers know their first step as a tensor only.
        first_row = tf.cast(first_step, tf.int64) * self._shape.rows
        first_block = tf.searchsorted(starts, [first_row], side="right", out_type=tf.int64)[0] - 1
        done = first_row - tf.gather(starts, first_block)

        def shuffle(number: tf.Tensor, by_tag: tuple[tf.Tensor, ...]) -> Columns:
            serialized = tf.concat(by_tag, axis=0)
            order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(serialized)), [-1 - seed, number])
            return PackedRows(self._parse(serialized)).gather(order[tf.where(number == first_block, done, 0) :])

        rows = (
            tf.data.Dataset.zip(
                tuple(self._tag_blocks(tag, sizes, seed) for tag, sizes in zip(tags, np.diff(before, axis=0).T, strict=True))
            )
            .take(blocks)
            .repeat()
            .enumerate()
            .skip(first_block)
            .map(shuffle, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        )
        return self._mine(rows.rebatch(self._shape.rows // shard.replicas, drop_remainder=True), shard)

    def _tag_blocks(self, tag: str, sizes: NDArray[np.int64], seed: int) -> tf.data.Dataset:
        """Serialized records of one tag, so many in each block."""
        share = self._counts[tag] / self._data.rows("train")
        chunks = serialized_chunks(self._data.record_files("train", tag))
        shuffled = chunks.shuffle(max(1, round(_SHUFFLE_ROWS * share) // CHUNK), seed=seed)
        return shuffled.rebatch(sizes)

    def _mine(self, parts: tf.data.Dataset, shard: Shard) -> tf.data.Dataset:
        """Those of the replicas of a shard, out of the parts of all."""
        if shard.count == shard.replicas:
            return parts
        numbered = parts.enumerate().filter(
            lambda number, _: (number % shard.replicas >= shard.first) & (number % shard.replicas < shard.first + shard.count)
        )
        return numbered.map(lambda number, part: part)

    def _parse(self, serialized: tf.Tensor) -> Columns:
        """Columns of records; lists are as long as the longest can be, so that blocks can be joined."""
        columns = parse_records(self._experiment, serialized)
        for name, longest in self._longest.items():
            columns[name] = tf.pad(columns[name], [[0, 0], [0, longest - tf.shape(columns[name])[1]]])
            columns[name] = tf.ensure_shape(columns[name], [None, longest])
        return columns


def _have_tag(labels: tf.Tensor, tag: str) -> tf.Tensor:
    """Which rows of labels `[rows, binary tasks]` have a tag, `[rows]`."""
    columns = zip(tag, tf.unstack(labels, axis=1), strict=True)
    matches = [tf.math.is_nan(column) if digit == MISSING else column == float(digit) for digit, column in columns]
    return tf.reduce_all(tf.stack(matches), axis=0)
