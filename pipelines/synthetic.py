# SPDX-License-Identifier: Apache-2.0
"""Synthetic interaction logs with the columns of the ICME 2019 short-video challenge and known true probabilities.

Users and items have latent tastes. Three affinities follow from them, each a user's and an item's own inclination plus
an inner product: one that both tasks share, one of `finish`, one of `like`. With the affinities and the (negative, log)
duration standardised to z, the true probabilities are

    p_task = sigmoid(scale_task * sum_f weight_{f, task} z_f + intercept_task)

so the tasks' true logits correlate by the product of their shared weights, and the labels are independent given the
probabilities. Part of a taste comes from the user's city, or from the item's author, channel and city, so that rare ids
can be told from common ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from tf_crossdistil.errors import UsageError
from tf_crossdistil.local_files import appears_whole

TASKS = ("finish", "like")
TARGET_RATES = (0.380, 0.011)
UNKNOWN = -1
BLOCK_ROWS = 65_536

USER_COLUMNS = ("uid", "user_city")
ITEM_COLUMNS = ("item_id", "author_id", "item_city", "channel", "music_id", "video_duration")
LOG_COLUMNS = (
    *("uid", "user_city", "item_id", "author_id", "item_city", "channel"),
    *("finish", "like", "music_id", "did", "create_time", "video_duration"),
)
TRUTH_COLUMNS = tuple(f"{task}_probability" for task in TASKS)

# Columns are the tasks, rows the shared affinity, the affinity of finish, that of like, and the shortness of the video.
# Each column's squares sum to 1: the tasks' logits correlate by 0.5.
_WEIGHTS = np.sqrt([[0.5, 0.5], [0.3, 0.0], [0.0, 0.5], [0.2, 0.0]]).astype(np.float32)
# With these standard deviations of the logits the true AUCs come out near 0.81 and 0.80.
_SCALES = np.array([1.5, 1.2], dtype=np.float32)
_AFFINITIES = 3
# Shares of an affinity's variance: the user's inclination, the item's, and two latent dimensions that multiply.
_TASTE_SHARES = (0.40, 0.35, 0.125, 0.125)

_CITIES, _CHANNELS = 350, 5
_FIRST_SECOND = 1_546_300_800
_SECONDS = 14 * 24 * 3600

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class _Population:
    """Users and items by popularity rank: log columns, and tastes `[ids, affinities, dimensions]`."""

    users: dict[str, Integers]
    devices: Integers
    user_tastes: Floats
    items: dict[str, Integers]
    item_tastes: Floats
    shortness: Floats


@dataclass(frozen=True)
class _Impressions:
    """Who saw what: popularity ranks and devices `[rows]`, and the terms of the logits `[rows, affinities + 1]`."""

    users: Integers
    items: Integers
    devices: Integers
    terms: Floats


@dataclass(frozen=True)
class _Calibration:
    """What turns terms into logits: mean and deviation of every term, and the intercept of every task."""

    mean: Floats
    deviation: Floats
    intercepts: Floats

    def logits(self, terms: Floats) -> Floats:
        """True logits `[rows, tasks]` of terms `[rows, affinities + 1]`."""
        return (terms - self.mean) / self.deviation @ (_WEIGHTS * _SCALES) + self.intercepts


def log_schema(truth: bool = False) -> pa.Schema:
    """The columns of the logs; `truth` adds `finish_probability` and `like_probability`."""
    fields = [(name, pa.int64()) for name in LOG_COLUMNS]
    return pa.schema(fields + [(name, pa.float32()) for name in TRUTH_COLUMNS if truth])


def generate(rows: int, seed: int, truth: bool = False) -> Iterator[pa.RecordBatch]:
    """Draws logs in blocks of at most `BLOCK_ROWS` rows; memory does not grow with `rows` but for the tables of ids.

    Users grow with the square root of the rows, items with the power 0.65 (Heaps' law): 5,366 users and about 11,000 items
    at 200,000 rows. Ids are Zipf-distributed, and `-1` stands for an unknown city or music. `create_time` ascends.

    Args:
        rows: how many rows in all.
        seed: the same seed and number of rows give the same logs.
        truth: adds the true probabilities of both tasks.

    Returns:
        Record batches of `log_schema(truth)`.

    Raises:
        UsageError: `rows` is not positive or `seed` is negative.
    """
    if rows < 1:
        raise UsageError(f"the number of rows must be at least 1, received {rows}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, received {seed}")
    return _generate(rows, seed, truth)


def _generate(rows: int, seed: int, truth: bool) -> Iterator[pa.RecordBatch]:
    population = _draw_population(rows, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,))))
    calibration = _calibrate(_draw_impressions(population, _block_generator(seed, 0)).terms, rows)
    schema = log_schema(truth)
    for block, start in enumerate(range(0, rows, BLOCK_ROWS)):
        generator = _block_generator(seed, block)
        impressions = _draw_impressions(population, generator)
        count = min(BLOCK_ROWS, rows - start)
        users, items = impressions.users[:count], impressions.items[:count]
        probabilities = _sigmoid(calibration.logits(impressions.terms[:count]))
        columns: dict[str, NDArray[Any]] = {name: values[users] for name, values in population.users.items()}
        columns |= {name: values[items] for name, values in population.items.items()}
        columns |= {task: _draw_labels(probabilities[:, index], generator) for index, task in enumerate(TASKS)}
        columns |= {name: probabilities[:, index] for index, name in enumerate(TRUTH_COLUMNS)}
        columns["did"] = impressions.devices[:count]
        elapsed = (start + np.arange(count) + generator.random(count)) / rows
        columns["create_time"] = _FIRST_SECOND + (elapsed * _SECONDS).astype(np.int64)
        yield pa.record_batch([pa.array(columns[name]) for name in schema.names], schema=schema)


def write_logs(
    path: Path, rows: int, seed: int, truth: bool = False, progress: Callable[[int], None] = lambda rows: None
) -> None:
    """Writes the logs of `generate` to a comma-separated file with a header, or to Parquet, by the suffix of `path`.

    Args:
        path: a file name that ends in `.csv` or `.parquet`; the file appears when it is complete.
        rows: how many rows in all.
        seed: the same seed and number of rows give the same bytes.
        truth: adds the true probabilities of both tasks.
        progress: called with the number of further rows after each block.

    Raises:
        UsageError: another suffix, or wrong `rows` or `seed`.
        CrossDistilError: the file cannot be written.
    """
    writer_class = _WRITERS.get(path.suffix)
    if writer_class is None:
        raise UsageError(f"logs are written as {' or '.join(_WRITERS)}, received '{path}'; give a file name that ends so")
    batches = generate(rows, seed, truth)
    with appears_whole(path) as unfinished, writer_class(str(unfinished), log_schema(truth)) as writer:
        for batch in batches:
            writer.write_batch(batch)
            progress(batch.num_rows)


_WRITERS: dict[str, Callable[[str, pa.Schema], Any]] = {
    ".csv": pyarrow.csv.CSVWriter,
    ".parquet": pyarrow.parquet.ParquetWriter,
}


def zipf_ranks(uniform: NDArray[np.float64], size: int, exponent: float, offset: float) -> Integers:
    """Popularity ranks 0 .. size - 1 with a density proportional to `(rank + offset)^-exponent` (Zipf-Mandelbrot).

    The inverse of the distribution function of the continuous law, rounded down, so that a draw costs one power and no
    table; `offset` flattens the head.

    Args:
        uniform: uniform numbers in [0, 1), of any shape.
        size: how many ranks there are.
        exponent: how steeply popularity falls; any number but 1.
        offset: how many of the first ranks are about equally popular; positive.
    """
    first, last = offset ** (1 - exponent), (size + offset) ** (1 - exponent)
    ranks = (first + uniform * (last - first)) ** (1 / (1 - exponent)) - offset
    return np.clip(ranks.astype(np.int64), 0, size - 1)


def _block_generator(seed: int, block: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, block)))


def _draw_population(rows: int, generator: np.random.Generator) -> _Population:
    users, items = 1 + int(12 * rows**0.5), 1 + int(4 * rows**0.65)
    authors, music = 1 + items // 4, 1 + items // 8
    shape = (_AFFINITIES, len(_TASTE_SHARES))

    def tastes(count: int) -> Floats:
        return generator.standard_normal((count, *shape), dtype=np.float32)

    def hidden(values: Integers, share: float) -> Integers:
        return np.where(generator.random(values.size) < share, UNKNOWN, values)

    user_city = zipf_ranks(generator.random(users), _CITIES, 1.05, 5)
    user_tastes = 0.4**0.5 * tastes(_CITIES)[user_city] + 0.6**0.5 * tastes(users)
    author = zipf_ranks(generator.random(items), authors, 0.8, 5)
    item_city = zipf_ranks(generator.random(items), _CITIES, 1.05, 5)
    channel = zipf_ranks(generator.random(items), _CHANNELS, 1.5, 1)
    item_tastes = 0.4**0.5 * tastes(authors)[author] + 0.1**0.5 * (tastes(_CITIES)[item_city] + tastes(_CHANNELS)[channel])
    item_tastes += 0.4**0.5 * tastes(items)
    # The user's inclination is added, not multiplied: it meets a constant of the item; and the other way round.
    item_tastes[..., 0] = 1
    user_tastes[..., 1] = 1
    duration = np.clip(generator.lognormal(2.3, 0.45, items), 2, 60).astype(np.int64)
    music_id = zipf_ranks(generator.random(items), music, 1.05, 5)
    return _Population(
        users={"uid": generator.permutation(users), "user_city": hidden(user_city, 0.18)},
        devices=generator.integers(0, 2 * users, (users, 2)),
        user_tastes=user_tastes * np.sqrt(_TASTE_SHARES, dtype=np.float32),
        items={
            "item_id": generator.permutation(items),
            "author_id": generator.permutation(authors)[author],
            "item_city": hidden(item_city, 0.04),
            "channel": channel,
            "music_id": hidden(generator.permutation(music)[music_id], 0.3),
            "video_duration": duration,
        },
        item_tastes=item_tastes,
        shortness=-np.log(duration).astype(np.float32),
    )


def _draw_impressions(population: _Population, generator: np.random.Generator) -> _Impressions:
    """A whole block, also where fewer rows are wanted: what a row holds does not depend on those after it."""
    users = zipf_ranks(generator.random(BLOCK_ROWS), len(population.user_tastes), 0.9, 20)
    items = zipf_ranks(generator.random(BLOCK_ROWS), len(population.item_tastes), 1.05, 20)
    devices = population.devices[users, (generator.random(BLOCK_ROWS) < 0.1).astype(np.int64)]
    terms = np.empty((BLOCK_ROWS, _AFFINITIES + 1), dtype=np.float32)
    np.einsum("rad,rad->ra", population.user_tastes[users], population.item_tastes[items], out=terms[:, :-1])
    terms[:, -1] = population.shortness[items]
    return _Impressions(users, items, devices, terms)


def _calibrate(terms: Floats, rows: int) -> _Calibration:
    """Standardises over the first block and finds, by bisection, the intercepts that give its rows the target rates."""
    uncentred = _Calibration(terms.mean(axis=0), terms.std(axis=0), np.zeros(len(TASKS), np.float32))
    logits = uncentred.logits(terms[:rows])
    low, high = np.full(len(TASKS), -20, np.float32), np.full(len(TASKS), 20, np.float32)
    for _ in range(25):
        middle = (low + high) / 2
        too_high = _sigmoid(logits + middle).mean(axis=0) > TARGET_RATES
        low, high = np.where(too_high, low, middle), np.where(too_high, middle, high)
    return replace(uncentred, intercepts=middle)


def _sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


def _draw_labels(probabilities: Floats, generator: np.random.Generator) -> Integers:
    """Systematic draw in random order: each label is Bernoulli(p), and their sum is within 1 of the sum of p.

    Independent draws would move the rate of a 1 % task by 7 % (one standard deviation) at 20,000 rows.
    """
    order = generator.permutation(probabilities.size)
    steps = np.floor(np.cumsum(probabilities[order], dtype=np.float64) + generator.random())
    labels = np.empty(probabilities.size, dtype=np.int64)
    labels[order] = np.diff(steps, prepend=0.0)
    return labels
