"""Which rows of a training batch the augmented ranking loss compares.

It compares rows of different label combinations (strata), some of them rare. Common strata are those of the natural rows
themselves, all of them, and cost nothing; rows of rare ones are drawn from the whole split and appended to the batch.
"""

from dataclasses import dataclass

from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import NEARLY_EMPTY_ROWS, Metadata
from tf_crossdistil.tags import MISSING, observed_tags

# A batch holds on average this many rows of a common stratum, so that a batch without any is out of the question.
_COMMON_ROWS = 64
# Strata that a warning names.
_MOST_SHOWN = 8


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
    """The strata of the training split in ascending order of their tags, but for rows without any label.

    A stratum is common when a batch holds on average more rows of it than `strata_batch_size`, and 64.
    """
    counts = metadata.counts["train"]
    size = batch_rows(experiment, metadata)
    result = []
    for tag in observed_tags(counts):
        if set(tag) == {MISSING}:
            continue
        natural = size * counts[tag] // sum(counts.values())
        rare = natural < max(experiment.training.strata_batch_size, _COMMON_ROWS)
        result.append(Stratum(tag, experiment.training.strata_batch_size if rare else natural, appended=rare))
    return result


def thin_strata(experiment: Experiment, metadata: Metadata) -> list[str]:
    """Sentences on strata whose draws repeat, and on the terms of Eq. 4 that are left out since one side has no row."""
    counts = metadata.counts["train"]
    thin = [f"{tag} ({counts[tag]})" for tag in observed_tags(counts) if counts[tag] < NEARLY_EMPTY_ROWS]
    sentences = []
    if thin:
        more = f" and {len(thin) - _MOST_SHOWN} more" if len(thin) > _MOST_SHOWN else ""
        sentences.append(
            f"label combinations with fewer than {NEARLY_EMPTY_ROWS} training rows, whose draws repeat the same few: "
            f"{', '.join(thin[:_MOST_SHOWN])}{more}"
        )
    for task in experiment.task_names:
        for other in experiment.auxiliary(task):
            for own, name in (("1", "positives"), ("0", "negatives")):
                if not _has_both_labels(experiment, counts, task, own, other) and not _by_intention(
                    experiment, task, own, other
                ):
                    sentences.append(
                        f"the {name} of '{task}' do not have both labels of '{other}'; its ranking loss leaves that term out"
                    )
    return sentences


def _by_intention(experiment: Experiment, task: str, own: str, other: str) -> bool:
    """Whether `given` says that rows with this label of `task` never have both labels of `other`."""
    return other in _conditions(experiment, task) or (own == "0" and task in _conditions(experiment, other))


def _conditions(experiment: Experiment, name: str) -> list[str]:
    given = experiment.tasks[experiment.task_names.index(name)].given
    return [] if given is None else [given, *_conditions(experiment, given)]


def _has_both_labels(experiment: Experiment, counts: dict[str, int], task: str, own: str, other: str) -> bool:
    target, auxiliary = experiment.task_names.index(task), experiment.task_names.index(other)
    return {"0", "1"} <= {tag[auxiliary] for tag, rows in counts.items() if rows and tag[target] == own}
