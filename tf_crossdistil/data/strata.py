# SPDX-License-Identifier: Apache-2.0
"""Which label combinations the augmented ranking loss compares."""

from collections.abc import Iterator

from tf_crossdistil.config import Experiment
from tf_crossdistil.schema import NEARLY_EMPTY_ROWS, Metadata
from tf_crossdistil.tags import MISSING, observed_tags

# Strata that a warning names.
_MOST_SHOWN = 8


def strata(metadata: Metadata) -> list[str]:
    """The tags of the training split's strata in ascending order: all that rows have, but for rows without any binary label."""
    return [tag for tag in observed_tags(metadata.counts["train"]) if set(tag) != {MISSING}]


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
    left_out = list(_terms_left_out(experiment, counts))
    if len(left_out) > _MOST_SHOWN:
        left_out[_MOST_SHOWN:] = [
            f"{len(left_out) - _MOST_SHOWN} more terms of ranking losses are left out for the same reason"
        ]
    return [*sentences, *left_out]


def _terms_left_out(experiment: Experiment, counts: dict[str, int]) -> Iterator[str]:
    for task in experiment.binary_names:
        for other in experiment.auxiliary(task):
            for own, name in (("1", "positives"), ("0", "negatives")):
                if not _has_both_labels(experiment, counts, task, own, other) and not _by_intention(
                    experiment, task, own, other
                ):
                    yield f"the {name} of '{task}' do not have both labels of '{other}'; its ranking loss leaves that term out"


def _by_intention(experiment: Experiment, task: str, own: str, other: str) -> bool:
    """Whether `given` says that rows with this label of `task` never have both labels of `other`."""
    return other in _conditions(experiment, task) or (own == "0" and task in _conditions(experiment, other))


def _conditions(experiment: Experiment, name: str) -> list[str]:
    given = experiment.tasks[experiment.task_names.index(name)].given
    return [] if given is None else [given, *_conditions(experiment, given)]


def _has_both_labels(experiment: Experiment, counts: dict[str, int], task: str, own: str, other: str) -> bool:
    target, auxiliary = experiment.binary_names.index(task), experiment.binary_names.index(other)
    return {"0", "1"} <= {tag[auxiliary] for tag, rows in counts.items() if rows and tag[target] == own}
