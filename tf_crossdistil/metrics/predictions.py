"""What a model said about one split, row by row: the input of every exact metric."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """Labels and probabilities in one row order, `[rows, tasks]` where nothing else is said.

    Attributes:
        tasks: the tasks' names, in column order.
        labels: 0 or 1, NaN where a label is missing.
        students: probabilities of the student towers.
        teachers: calibrated probabilities of the teacher towers; None for a model without teachers.
        truth: true probabilities, which only synthetic logs have; NaN for tasks without.
        weights: `[rows]`, how much each row counts; None where all count alike.
        groups: `[rows]`, the value within which GAUC ranks, usually the user's id; negative where it is unknown.
    """

    tasks: list[str]
    labels: NDArray[np.float32]
    students: NDArray[np.float32]
    teachers: NDArray[np.float32] | None = None
    truth: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None
    groups: NDArray[np.int64] | None = None
