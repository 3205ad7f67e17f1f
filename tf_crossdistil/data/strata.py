"""Which rows of a training batch the augmented ranking loss compares.

It compares rows of different label combinations (strata), some of them rare. Common strata are those of the natural rows
themselves, all of them, and cost nothing; rows of rare ones are drawn from the whole split and appended to the batch.
"""

from dataclasses import dataclass

from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import Metadata
from tf_crossdistil.tags import observed_tags

# A batch holds on average this many rows of a common stratum, so that a batch without any is out of the question.
_COMMON_ROWS = 64


@dataclass(frozen=True)
class Stratum:
    """A label combination, how many rows of it a batch compares, and whether they are appended to the natural rows."""

    tag: str
    draws: int
    appended: bool


def batch_rows(experiment: Experiment, metadata: Metadata) -> int:
    """How many natural rows a batch has: `training.batch_size`, or the whole training split where that is smaller."""
    return min(experiment.training.batch_size, sum(metadata.counts["train"].values()))


def strata(experiment: Experiment, metadata: Metadata) -> list[Stratum]:
    """The strata of the training split in ascending order of their tags.

    A stratum is common when a batch holds on average more rows of it than `strata_batch_size`, and 64.
    """
    counts = metadata.counts["train"]
    size = batch_rows(experiment, metadata)
    result = []
    for tag in observed_tags(counts):
        natural = size * counts[tag] // sum(counts.values())
        rare = natural < max(experiment.training.strata_batch_size, _COMMON_ROWS)
        result.append(Stratum(tag, experiment.training.strata_batch_size if rare else natural, appended=rare))
    return result
