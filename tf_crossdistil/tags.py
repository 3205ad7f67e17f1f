# SPDX-License-Identifier: Apache-2.0
"""Label combinations: what a tag such as `10` means, and how combinations are ordered for a task.

A tag is the string of a row's labels of the binary tasks, in their order: with the tasks (finish, like), `10` is finished but
not liked, the `+-` of the paper (Yang et al., AAAI 2022, section 3.2). A label that is missing is `x`. Regression tasks have no
part in tags, and "tasks" means binary ones here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MISSING = "x"
# The digits of a tag by code: negative, positive, missing.
_DIGITS = f"01{MISSING}"


def tag_codes(labels: NDArray[np.floating]) -> NDArray[np.int64]:
    """The tag of every row as a number: its digits in base 3.

    Args:
        labels: `[rows, tasks]` of 0, 1, and NaN where a label is missing.

    Returns:
        `[rows]`, in `[0, 3^tasks)`; `tag_of` gives the tag.
    """
    codes = np.zeros(len(labels), np.int64)
    for column in labels.T:
        codes *= 3
        # The lesser of a number and NaN is the number.
        codes += np.fmin(column, 2).astype(np.int8)
    return codes


def tag_of(code: int, tasks: int) -> str:
    """The tag that `tag_codes` numbers so."""
    return "".join(_DIGITS[code // 3**position % 3] for position in reversed(range(tasks)))


def tag_labels(tag: str) -> tuple[float, ...]:
    """The labels that a tag stands for: `10` gives (1, 0), and a missing one is NaN."""
    return tuple(float("nan") if digit == MISSING else float(digit) for digit in tag)


def observed_tags(counts: Mapping[str, int]) -> list[str]:
    """The tags that rows have, in ascending order: the strata of the augmented ranking loss."""
    return sorted(tag for tag, rows in counts.items() if rows)


def positive_rate(counts: Mapping[str, int], index: int) -> float:
    """The share of positives among the rows that have a label of task number `index`.

    One row of each label is added, so that the rate is never 0 or 1.
    """
    positive = sum(rows for tag, rows in counts.items() if tag[index] == "1")
    negative = sum(rows for tag, rows in counts.items() if tag[index] == "0")
    return (positive + 1) / (positive + negative + 2)


def ranked_classes(
    labels: NDArray[np.floating], tasks: Sequence[str], order: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The class `[rows]` of every row, from 0, and which class ranks above which, `[classes, classes]` (see `class_order`).

    Args:
        labels: `[rows, tasks]` of 0, 1, and NaN where a label is missing.
        tasks: the columns of `labels`.
        order: the task whose order is meant, then its auxiliary tasks in order.
    """
    codes = label_classes(labels, tasks, order)
    observed, numbers = np.unique(codes, return_inverse=True)
    return numbers, class_order(len(order), observed)


def label_classes(labels: NDArray[np.floating], tasks: Sequence[str], order: Sequence[str]) -> NDArray[np.int64]:
    """The class `[rows]` of every row in `[0, 3^length)`: the tag code of its labels of the tasks in `order`.

    Args:
        labels: `[rows, tasks]` of 0, 1, and NaN where a label is missing.
        tasks: the columns of `labels`.
        order: the task whose order is meant, then its auxiliary tasks in order.
    """
    return tag_codes(labels[:, [tasks.index(name) for name in order]])


def class_order(length: int, classes: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Which classes rank above which: `[classes, classes]`, entry `[a, b]` says that a ranks above b.

    The first label in which two classes differ decides; where it is missing in one of them, neither ranks above the other,
    nor where both lack the first label. For two tasks `11` ranks above `10`, `01` and `00` in this order, which is
    the paper's `x++ > x+- > x-+ > x--`.

    Args:
        length: how many tasks make the order.
        classes: of `label_classes`; default all 3^length.
    """
    codes = np.arange(3**length) if classes is None else classes
    digits = np.stack([codes // 3**position % 3 for position in reversed(range(length))], axis=1)
    first = np.argmax(digits[:, np.newaxis, :] != digits[np.newaxis, :, :], axis=2)
    rows, columns = np.indices(first.shape)
    decided = (digits[rows, first] == 1) & (digits[columns, first] == 0)
    return decided & (digits[rows, 0] < 2)


def pair_weights(
    tasks: Sequence[str],
    task: str,
    auxiliary: Sequence[str],
    counts: Mapping[str, int],
    beta1: float,
    beta2: float,
    tags: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """How much each ordered pair of tags weighs in the augmented ranking loss of `task` (Eq. 4).

    Entry `[a, b]` multiplies the mean of `-ln sigmoid(r_a - r_b)` over draws uniform within tag a and within tag b. A row
    uniform in a union of tags, such as D+., is a row of tag t with probability `counts[t] / sum`; so expectations over
    unions become weighted sums over tags, and the estimate is unbiased whichever draws the pairs share.

    Args:
        tasks: all tasks, in tag order.
        task: the task whose order is taught.
        auxiliary: tasks whose labels refine the order: by `beta1` among positives, by `beta2` among negatives. Rows without
            an auxiliary label take no part in its terms.
        counts: training rows of each tag; absent means none.
        beta1: weight of `x++` above `x+-`.
        beta2: weight of `x-+` above `x--`.
        tags: those meant; default `observed_tags(counts)`.

    Returns:
        `[tags, tags]`. A term of which one side has no row is zero everywhere.
    """
    tags = observed_tags(counts) if tags is None else tags
    rows = np.array([counts[tag] for tag in tags], dtype=np.float64)
    labels = np.array([tag_labels(tag) for tag in tags]).reshape(len(tags), len(tasks))
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
