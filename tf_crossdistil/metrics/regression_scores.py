# SPDX-License-Identifier: Apache-2.0
"""Every metric of one regression task, under any weights of the rows."""

import numpy as np

from tf_crossdistil.metrics.exact_regression import REGRESSION_METRICS
from tf_crossdistil.metrics.ranked_rows import Array, Floats


class RegressionScores:
    """One regression task's values beside its labels, measured like `TaskScores`.

    Args:
        labels: numbers, `[rows]`; rows with NaN are left out.
        values: in the label's units, `[rows]`.

    Attributes:
        rows: how many have a label.
    """

    def __init__(self, labels: Array, values: Array):
        self._labelled = np.flatnonzero(~np.isnan(labels))
        self.rows = self._labelled.size
        self._labels, self._values = (column[self._labelled].astype(np.float64) for column in (labels, values))

    def measure(self, weights: Floats) -> dict[str, float]:
        """The metrics of `tf_crossdistil.metrics.exact_regression` by name, NaN where undefined.

        Args:
            weights: of all rows as they were given, `[rows]`.
        """
        weights = weights[self._labelled]
        return {name: metric(self._labels, self._values, weights) for name, metric in REGRESSION_METRICS.items()}
