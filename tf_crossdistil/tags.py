"""Label combinations: what a tag such as `10` means, and how combinations are ordered for a task.

A tag is the string of a row's labels in task order: with the tasks (finish, like), `10` is finished but not liked,
the `+-` of the paper (Yang et al., AAAI 2022, section 3.2).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def all_tags(tasks: int) -> list[str]:
    """The 2^tasks tags in ascending order: `00`, `01`, `10`, `11` for two tasks."""
    return [format(code, f"0{tasks}b") for code in range(2**tasks)]


def tag_codes(labels: NDArray[np.generic]) -> NDArray[np.int64]:
    """The tag of every row as a number: `labels` `[rows, tasks]` of 0 and 1 gives `[rows]`, `10` as 2."""
    weights = 2 ** np.arange(labels.shape[1] - 1, -1, -1, dtype=np.int64)
    return labels.astype(np.int64) @ weights


def tag_labels(tag: str) -> tuple[int, ...]:
    """The labels that a tag stands for: `10` gives (1, 0)."""
    return tuple(int(bit) for bit in tag)


def positive_rate(counts: Mapping[str, int], index: int) -> float:
    """The share of rows whose task number `index` is positive, with one row of each label added so that it is never 0 or 1."""
    positive = sum(count for tag, count in counts.items() if tag[index] == "1")
    return (positive + 1) / (sum(counts.values()) + 2)


def multipartite_classes(tasks: Sequence[str], task: str, auxiliary: Sequence[str]) -> NDArray[np.int64]:
    """The class of every tag for `task`: `[2^tasks]`, higher ranks above, equal where `task` does not tell tags apart.

    Tags are ordered by the task's own label, then by the labels of its auxiliary tasks in order. For two tasks and the
    first of them this is `++` (3), `+-` (2), `-+` (1), `--` (0) (Eq. 1 of the paper).
    """
    keys = [tasks.index(name) for name in (task, *auxiliary)]
    return np.array([int("".join(tag[key] for key in keys), 2) for tag in all_tags(len(tasks))], dtype=np.int64)


def pair_weights(
    tasks: Sequence[str],
    task: str,
    auxiliary: Sequence[str],
    counts: Mapping[str, int],
    beta1: float,
    beta2: float,
) -> NDArray[np.float32]:
    """How much each ordered pair of tags weighs in the augmented ranking loss of `task` (Eq. 4).

    Entry `[a, b]` multiplies the mean of `-ln sigmoid(r_a - r_b)` over draws uniform within tag a and within tag b. A row
    uniform in a union of tags, such as D+., is a row of tag t with probability `counts[t] / sum`; so expectations over
    unions become weighted sums over tags, and the estimate is unbiased whichever draws the pairs share.

    Args:
        tasks: all tasks, in tag order.
        task: the task whose order is taught.
        auxiliary: tasks whose labels refine the order: by `beta1` among positives, by `beta2` among negatives.
        counts: training rows of each tag; absent means none.
        beta1: weight of `x++` above `x+-`.
        beta2: weight of `x-+` above `x--`.

    Returns:
        `[2^tasks, 2^tasks]`. A term of which one side has no row is zero everywhere.
    """
    tags = all_tags(len(tasks))
    rows = np.array([counts.get(tag, 0) for tag in tags], dtype=np.float64)
    labels = np.array([tag_labels(tag) for tag in tags])
    own = labels[:, tasks.index(task)]

    def shares(members: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = rows[members].sum()
        return np.where(members, rows, 0.0) / total if total else np.zeros(len(tags))

    weights = np.outer(shares(own == 1), shares(own == 0))
    for name in auxiliary:
        other = labels[:, tasks.index(name)]
        for value, beta in ((1, beta1), (0, beta2)):
            above, below = (own == value) & (other == 1), (own == value) & (other == 0)
            weights += beta * np.outer(shares(above), shares(below))
    return weights.astype(np.float32)
