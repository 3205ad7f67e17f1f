"""Training batches: natural rows, followed by rows drawn uniformly from each label combination.

The augmented ranking loss compares rows of different label combinations (strata), some of them rare. A batch therefore
names, for each stratum, which of its rows are uniform draws from it. Common strata are drawn from the natural rows
themselves and cost nothing; rare ones are held in memory and appended.
"""

import logging
import math
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.records import (
    Columns,
    concat_rows,
    feature_columns,
    label_matrix,
    parse_records,
    serialized_records,
)
from tf_crossdistil.schema import NEARLY_EMPTY_ROWS, PreparedData
from tf_crossdistil.tags import all_tags

logger = logging.getLogger(__name__)

# A stratum is drawn from the natural rows when a batch holds on average this many times the draws, so that one row rarely is
# drawn twice, and this many rows, so that a batch without any is out of the question.
_NATURAL_FACTOR = 4
_NATURAL_ROWS = 64
# Rows of one rare stratum that are held in memory; of a larger one, fresh rows stream through a buffer of this size.
_HELD_ROWS = 2_000_000
_SHUFFLE_ROWS = 262_144
_HELD_BATCH = 8192
_CHOICES = 8192


class TrainingBatches:
    """The training split as an endless supply of epochs, each a tf.data.Dataset that depends on seed and epoch only.

    An element is a dict:
        `features`: columns `[batch + appended]`, or `[batch + appended, longest]` for lists, natural rows first;
        `labels`: `[batch, tasks]` of the natural rows;
        `strata` (only with `with_strata`): `[2^tasks, draws]`, for each tag the positions among all rows of uniform draws
        from that tag. A tag without rows holds zeros; its pairs weigh nothing (`tags.pair_weights`).

    Every epoch sees each training row once; the last batch is filled up from the next pass, so all have one shape.
    """

    def __init__(self, data: PreparedData, experiment: Experiment, with_strata: bool):
        self._data = data
        self._experiment = experiment
        self._counts = data.metadata.counts["train"]
        rows = data.rows("train")
        self.batch_size = min(experiment.training.batch_size, rows)
        self.steps = math.ceil(rows / self.batch_size)
        self._draws = experiment.training.strata_batch_size
        self._held: dict[str, Columns] = {}
        self._streamed: list[str] = []
        self._with_strata = with_strata
        if with_strata:
            self._arrange_strata(rows)

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """The batches of one epoch, `steps` of them."""
        seed = self._experiment.training.seed * 1_000_003 + epoch
        batches = self._natural_batches(seed)
        if self._with_strata:
            streams = tuple(self._stream(tag, seed) for tag in self._streamed)
            numbered = tf.data.Dataset.zip((tf.data.Dataset.counter(), batches, *streams))
            batches = numbered.map(
                lambda step, natural, *streamed: self._append_strata([seed, step], natural, streamed),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        else:
            batches = batches.map(self._natural_element)
        return batches.take(self.steps).prefetch(tf.data.AUTOTUNE)

    def _arrange_strata(self, rows: int) -> None:
        for tag in all_tags(len(self._experiment.tasks)):
            count = self._counts.get(tag, 0)
            if count < NEARLY_EMPTY_ROWS:
                logger.warning(
                    "training rows with label combination %s: %d; %s",
                    tag,
                    count,
                    "its draws repeat the same few rows" if count else "ranking terms that need it are left out",
                )
            if count == 0 or self.batch_size * count / rows >= max(_NATURAL_FACTOR * self._draws, _NATURAL_ROWS):
                continue
            if count > _HELD_ROWS:
                self._streamed.append(tag)
            else:
                self._held[tag] = self._load(tag)

    def _load(self, tag: str) -> Columns:
        records = serialized_records(self._data.record_files("train", tag)).batch(_HELD_BATCH)
        return concat_rows(list(records.map(self._parse_features)))

    def _parse_features(self, serialized: tf.Tensor) -> Columns:
        return feature_columns(self._experiment, parse_records(self._experiment, serialized))

    def _stream(self, tag: str, seed: int) -> tf.data.Dataset:
        records = serialized_records(self._data.record_files("train", tag)).shuffle(_HELD_ROWS, seed=seed).repeat()
        return records.batch(self._draws, drop_remainder=True).map(self._parse_features)

    def _natural_batches(self, seed: int) -> tf.data.Dataset:
        tags = [tag for tag, count in self._counts.items() if count]
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
            .batch(self.batch_size, drop_remainder=True)
            .map(lambda serialized: parse_records(self._experiment, serialized), num_parallel_calls=tf.data.AUTOTUNE)
        )

    def _natural_element(self, natural: Columns) -> dict[str, Any]:
        return {"features": feature_columns(self._experiment, natural), "labels": label_matrix(self._experiment, natural)}

    def _append_strata(self, seed: list[Any], natural: Columns, streamed: tuple[Columns, ...]) -> dict[str, Any]:
        element = self._natural_element(natural)
        labels = tf.cast(element["labels"], tf.int64)
        codes = tf.reduce_sum(labels * [2**bit for bit in reversed(range(labels.shape[1]))], axis=1)
        appended = [element["features"]]
        positions = []
        end = self.batch_size
        streams: Iterator[Columns] = iter(streamed)
        for code, tag in enumerate(all_tags(len(self._experiment.tasks))):
            draw_seed = tf.stack([tf.cast(seed[0], tf.int64), seed[1] * 2 ** labels.shape[1] + code])
            if not self._counts.get(tag, 0):
                positions.append(tf.zeros([self._draws], tf.int64))
            elif tag in self._held or tag in self._streamed:
                appended.append(self._draw_held(self._held[tag], draw_seed) if tag in self._held else next(streams))
                positions.append(tf.range(end, end + self._draws, dtype=tf.int64))
                end += self._draws
            else:
                members = tf.where(codes == code)[:, 0]
                positions.append(tf.gather(members, self._uniform(tf.size(members, tf.int64), draw_seed)))
        element["features"] = concat_rows(appended)
        element["strata"] = tf.stack(positions)
        return element

    def _draw_held(self, rows: Columns, seed: tf.Tensor) -> Columns:
        drawn = self._uniform(tf.shape(next(iter(rows.values())), tf.int64)[0], seed)
        return {name: tf.gather(column, drawn) for name, column in rows.items()}

    def _uniform(self, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([self._draws], seed, minval=0, maxval=count, dtype=tf.int64)
