# SPDX-License-Identifier: Apache-2.0
"""The population stability index of shares in bins, and how large chance alone makes it."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# Without drift, one comparison of a thousand lies beyond the limit.
_LIMIT_DEVIATIONS = NormalDist().inv_cdf(0.999)
# Of a row, in every bin: an empty bin would make the index infinite.
_SMOOTHING = 0.5


@dataclass(frozen=True)
class Psi:
    """An index, its expected `noise` without any drift, and the `limit` of that noise."""

    value: float
    noise: float
    limit: float

    @property
    def drift(self) -> float:
        """The part that chance does not explain: the index less the expected noise, 0 within the limit."""
        return max(0.0, self.value - self.noise) if self.value > self.limit else 0.0


def stability_index(reference: NDArray[np.floating], reference_rows: float, observed: NDArray[np.floating], rows: float) -> Psi:
    """`sum (q - p) ln(q / p)` over bins, p the reference's share and q the observed one.

    Both shares are smoothed by half a row a bin in a sample of the smaller size. Without drift the index is distributed as
    `(1/rows + 1/reference_rows) chi2(bins - 1)`; bins that are empty on both sides do not count.

    Args:
        reference: shares `[bins]`, which sum to 1.
        reference_rows: the independent rows behind them.
        observed: shares `[bins]`, which sum to 1.
        rows: the independent rows behind them.
    """
    smaller = min(rows, reference_rows)
    p, q = ((shares * smaller + _SMOOTHING) / (smaller + _SMOOTHING * len(shares)) for shares in (reference, observed))
    freedom = max(1, int(np.count_nonzero(reference + observed)) - 1)
    scale = 1 / rows + 1 / reference_rows
    return Psi(float(np.sum((q - p) * np.log(q / p))), freedom * scale, _chi_square_limit(freedom) * scale)


def _chi_square_limit(freedom: int) -> float:
    """The quantile of chi2(freedom) by Wilson and Hilferty (1931), within 4 % of the exact one."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + _LIMIT_DEVIATIONS * spread**0.5) ** 3)
