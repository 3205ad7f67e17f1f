# SPDX-License-Identifier: Apache-2.0
"""What a model said about one split, row by row: the input of every exact metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """Labels and what was predicted in one row order, `[rows, tasks]` where nothing else is said.

    Attributes:
        tasks: the tasks' names, in column order.
        labels: 0 or 1, or the number of a regression task; NaN where a label is missing.
        students: probabilities of the student towers, or values in the label's units for a regression task.
        teachers: calibrated probabilities of the teacher towers, NaN for regression tasks; None for a model without teachers.
        truth: true probabilities, which only synthetic logs have; NaN for tasks without.
        weights: `[rows]`, how much each row counts; None where all count alike.
        groups: `[rows]`, the value within which GAUC ranks, usually the user's id; negative where it is unknown.
        regression: the names of the regression tasks; the others are binary.
    """

    tasks: list[str]
    labels: NDArray[np.float32]
    students: NDArray[np.float32]
    teachers: NDArray[np.float32] | None = None
    truth: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None
    groups: NDArray[np.int64] | None = None
    regression: Sequence[str] = ()

    @property
    def binary(self) -> list[str]:
        """The names of the binary tasks, in column order."""
        return [task for task in self.tasks if task not in self.regression]

    def binary_labels(self) -> NDArray[np.float32]:
        """The labels of the binary tasks, `[rows, binary tasks]`."""
        return self.labels[:, [self.tasks.index(task) for task in self.binary]]
