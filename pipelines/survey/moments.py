# SPDX-License-Identifier: Apache-2.0
"""Numeric statistics that come out the same in whatever order blocks are merged.

Sums of blocks are kept apart until `math.fsum`, which rounds once, adds them up.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.checking.columns import Numbers
from tf_crossdistil.schema import NumericStatistics


@dataclass
class Moments:
    """Partial sums of a numeric column: of each block its count, sum and sum of squares around its mean."""

    blocks: list[tuple[int, float, float]] = field(default_factory=list)
    missing: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, column: Numbers, rows: NDArray[np.bool_]) -> None:
        """Takes in the chosen rows `[rows]` of a column."""
        values = column.values[rows & ~column.missing]
        self.missing += int(np.count_nonzero(column.missing & rows))
        if len(values):
            total = _halving_sum(values)
            self.blocks.append((len(values), total, _halving_sum((values - total / len(values)) ** 2)))
            self.minimum = min(self.minimum, float(values.min()))
            self.maximum = max(self.maximum, float(values.max()))

    def merge(self, other: "Moments") -> None:
        """Takes in what another has seen."""
        self.blocks += other.blocks
        self.missing += other.missing
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def statistics(self) -> NumericStatistics:
        """Mean and population deviation; all zero when every value was missing."""
        count = sum(rows for rows, _, _ in self.blocks)
        if not count:
            return NumericStatistics(count=0, missing=self.missing, mean=0.0, deviation=0.0, minimum=0.0, maximum=0.0)
        mean = math.fsum(total for _, total, _ in self.blocks) / count
        within = math.fsum(squares for _, _, squares in self.blocks)
        between = math.fsum(rows * (total / rows - mean) ** 2 for rows, total, _ in self.blocks)
        return NumericStatistics(
            count=count,
            missing=self.missing,
            mean=mean,
            deviation=math.sqrt((within + between) / count),
            minimum=self.minimum,
            maximum=self.maximum,
        )


def _halving_sum(values: NDArray[np.float64]) -> float:
    """The sum by adding the second half to the first until one is left: the same on every processor, unlike `np.sum`."""
    while len(values) > 1:
        half = (len(values) + 1) // 2
        folded = values[:half].copy()
        folded[: len(values) - half] += values[half:]
        values = folded
    return float(values[0])
