# SPDX-License-Identifier: Apache-2.0
"""Exact metrics of one regression task over all rows of a split, on NumPy arrays, in the label's own units.

Labels are numbers, `[rows]`; rows whose label is NaN are left out. `weights` are at least 0, `[rows]`, and default to 1: a row
of weight 2 counts as two rows. A metric that the rows do not define is NaN, as is that of a value that is no number.
"""

import numpy as np

from tf_crossdistil.metrics.exact import labelled_rows
from tf_crossdistil.metrics.ranked_rows import Array, Floats, weighted_mean

# The spread of labels that differ by no more than the rounding of their mean, relative to its square.
_ROUNDING = 1e-24


def mse(labels: Array, values: Array, weights: Array | None = None) -> float:
    """Mean squared error `mean((y - v)^2)`, in the square of the label's units.

    Args:
        labels: numbers or NaN, `[rows]`.
        values: what was predicted, in the same units, `[rows]`.
        weights: of the mean.

    Returns:
        At least 0; NaN without rows.
    """
    labels, values, weights = _labelled(labels, values, weights)
    return weighted_mean((labels - values) ** 2, weights)


def rmse(labels: Array, values: Array, weights: Array | None = None) -> float:
    """Root of the mean squared error, in the label's units; arguments as of `mse`."""
    return float(np.sqrt(mse(labels, values, weights)))


def mae(labels: Array, values: Array, weights: Array | None = None) -> float:
    """Mean absolute error `mean(|y - v|)`, in the label's units; arguments as of `mse`."""
    labels, values, weights = _labelled(labels, values, weights)
    return weighted_mean(np.abs(labels - values), weights)


def r2(labels: Array, values: Array, weights: Array | None = None) -> float:
    """Coefficient of determination `1 - mean((y - v)^2) / mean((y - mean(y))^2)`; arguments as of `mse`.

    Returns:
        At most 1, and 0 for a model that always says the mean; NaN where the labels do not vary.
    """
    labels, values, weights = _labelled(labels, values, weights)
    mean = weighted_mean(labels, weights)
    variance = weighted_mean((labels - mean) ** 2, weights)
    return 1 - mse(labels, values, weights) / variance if variance > _ROUNDING * mean**2 else float("nan")


def _labelled(labels: Array, values: Array, weights: Array | None) -> tuple[Floats, Floats, Floats]:
    """The rows that have a label, in double precision."""
    labels, values, weights = labelled_rows(labels, values, weights)
    return labels.astype(np.float64), values.astype(np.float64), weights


REGRESSION_METRICS = {"mse": mse, "rmse": rmse, "mae": mae, "r2": r2}
