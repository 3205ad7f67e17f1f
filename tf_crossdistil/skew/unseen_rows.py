# SPDX-License-Identifier: Apache-2.0
"""What is expected of rows that training did not have, by the rows that it had."""

import numpy as np
from numpy.typing import NDArray

# Of the share of values that occurred once, where many more are out of vocabulary than these can explain.
_LEFT_OF_RARE = 0.25


def counts_in_unseen_rows(counts: NDArray[np.floating], kept: list[int]) -> NDArray[np.floating]:
    """Counts `[positions]` expected in as many further rows of the same kind (Good, 1953); those in `kept` stay.

    Of a position with count r it is `(r + 1) n[r + 1] / n[r]`, where `n[r]` positions have count r: less than r, since chance
    helped, and more than 0 where training has none. `n` is smoothed over counts that differ by chance alone.
    """
    result = counts.copy()
    others = np.setdiff1d(np.arange(len(counts)), kept)
    values, value_of, sizes = np.unique(counts[others], return_inverse=True, return_counts=True)
    reach = np.floor(np.sqrt(values) / 2)
    up_to = np.append(0, np.cumsum(sizes))
    near = up_to[np.searchsorted(values, values + reach, "right")] - up_to[np.searchsorted(values, values - reach, "left")]
    given_down = values * near / (2 * reach + 1)
    given_down[:1] = 0
    result[others] = ((values * sizes - given_down + np.append(given_down[1:], 0)) / sizes)[value_of]
    return result


def nearest_mixture(
    training: NDArray[np.floating], unseen: NDArray[np.floating], observed: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The mixture of shares in training and in unseen rows that is nearest to those observed: requests may repeat rows."""
    unseen = np.maximum(unseen, 0)
    change = unseen / unseen.sum() - training
    part = np.dot(observed - training, change) / max(float(np.dot(change, change)), np.finfo(np.float64).tiny)
    return training + np.clip(part, 0, 1) * change


def discounted(shares: NDArray[np.floating], sizes: NDArray[np.int64], taken: float) -> NDArray[np.floating]:
    """Shares less `taken` in all, of which every value loses as much (absolute discounting, Ney et al. 1994).

    So rare values lose most of their share, and frequent ones hardly any: those come again.
    """
    if not sizes.sum():
        return shares
    left = np.maximum(shares - taken * sizes / sizes.sum(), _LEFT_OF_RARE * shares)
    return left * ((shares.sum() - taken) / left.sum())
