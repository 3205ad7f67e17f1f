# SPDX-License-Identifier: Apache-2.0
"""Labels of training rows exchanged on purpose, to see what a method bears."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.loaded_split import MOST_BYTES, bytes_in_memory, fits_in_memory
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import Metadata, PreparedData
from tf_crossdistil.tags import observed_tags, tag_codes, tag_labels, tag_of


class LabelExchange:
    """The training split after `training.label_exchange`: some rows of each task named change sides, as many each way.

    Rows are numbered tag by tag, as a loaded split has them, so that counts and seed say everything and no file is read. A
    larger share exchanges the rows of a smaller one and more.

    Args:
        tasks: the binary tasks, in tag order.
        counts: training rows by tag.
        shares: by task the share of its positive rows, `training.label_exchange`.
        seed: `training.seed`.

    Attributes:
        counts: rows by tag afterwards.
        sources: `[rows]`, the number that each row had before.
        labels: by task named, `[rows]` of 0, 1, and NaN where one is missing.

    Raises:
        CrossDistilError: a task has fewer negative rows than are to become positive.
    """

    def __init__(self, tasks: Sequence[str], counts: Mapping[str, int], shares: Mapping[str, float], seed: int):
        tags = observed_tags(counts)
        of_tags = np.array([tag_labels(tag) for tag in tags], np.float32).reshape(-1, len(tasks))
        labels = np.repeat(of_tags, [counts[tag] for tag in tags], axis=0)
        for task, share in shares.items():
            index = tasks.index(task)
            # Of each task a generator of its own; one of the seed alone draws elsewhere.
            rows = _drawn(task, labels[:, index], share, np.random.default_rng([seed, 1 + index]))
            labels[rows, index] = 1 - labels[rows, index]
        codes = tag_codes(labels)
        self.sources: NDArray[np.int64] = np.argsort(codes, kind="stable")
        self.labels = {task: labels[self.sources, tasks.index(task)] for task in shares}
        present, rows_of = np.unique(codes, return_counts=True)
        self.counts = {tag_of(code, len(tasks)): int(rows) for code, rows in zip(present, rows_of, strict=True)}


def _drawn(task: str, labels: NDArray[np.float32], share: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """The numbers of the rows whose label of a task is exchanged."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    count = round(share * len(positive))
    if count > len(negative):
        most = math.floor(100 * len(negative) / len(positive)) / 100
        mend = f"give a share of at most {most}" if most else f"leave '{task}' out of it"
        raise CrossDistilError(
            f"training.label_exchange: {{{task}: {share}}}: {count:,} of the {len(positive):,} positive training rows of "
            f"'{task}' are to be exchanged with as many negative ones, of which there are only {len(negative):,}; {mend}"
        )
    return np.concatenate([generator.permutation(rows)[:count] for rows in (positive, negative)])


def find_exchange(experiment: Experiment, metadata: Metadata) -> LabelExchange | None:
    """What the configuration asks to exchange; None for nothing."""
    training = experiment.training
    if not training.label_exchange:
        return None
    counts, shares = metadata.counts["train"].items(), training.label_exchange.items()
    return _exchange(tuple(experiment.binary_names), tuple(counts), tuple(shares), training.seed)


# What draws rows, what counts them and the model ask for the same; large splits take seconds.
@lru_cache(maxsize=1)
def _exchange(
    tasks: tuple[str, ...], counts: tuple[tuple[str, int], ...], shares: tuple[tuple[str, float], ...], seed: int
) -> LabelExchange:
    return LabelExchange(tasks, dict(counts), dict(shares), seed)


def as_trained(experiment: Experiment, metadata: Metadata) -> Metadata:
    """The metadata with the training rows by tag that training sees: those after `training.label_exchange`."""
    exchange = find_exchange(experiment, metadata)
    return (
        metadata if exchange is None else metadata.model_copy(update={"counts": metadata.counts | {"train": exchange.counts}})
    )


def check_label_exchange(experiment: Experiment, data: PreparedData) -> None:
    """Refuses an exchange that cannot be made.

    Raises:
        CrossDistilError: the training split is too large to be held in memory, or a task has too few negative rows.
    """
    if experiment.training.label_exchange and not fits_in_memory(data, experiment, "train"):
        size = bytes_in_memory(data, experiment, "train") / 2**30
        raise CrossDistilError(
            f"training.label_exchange is for a training split that is held in memory, of at most {MOST_BYTES / 2**30:.2g} GiB; "
            f"the {data.rows('train'):,} training rows take {size:.2g} GiB; prepare fewer rows, or leave label_exchange out"
        )
    find_exchange(experiment, data.metadata)
