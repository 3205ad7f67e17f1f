# SPDX-License-Identifier: Apache-2.0
"""Mean, deviation and confidence interval of a few numbers, one a seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

# Sums of many numbers in another order differ by less.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """What a sample says of its mean.

    Attributes:
        seeds: how many numbers there were.
        mean: their mean; None without any.
        deviation: their standard deviation, with `seeds - 1` in the denominator; None below two.
        interval: the 95 % confidence interval of the mean, by Student's t; None below two.
        p_value: two-sided, of the t-test that the true mean is 0, so that it is below 0.05 just where the interval excludes 0;
            None below two. Of equal numbers it is 0, the limit for a vanishing deviation, and 1 where all are 0.
    """

    seeds: int
    mean: float | None
    deviation: float | None
    interval: tuple[float, float] | None
    p_value: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0; False where there is none."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)

    def moments(self) -> dict[str, float | None]:
        """`{"seeds", "mean", "deviation"}`, as files have them."""
        return {"seeds": self.seeds, "mean": self.mean, "deviation": self.deviation}


def estimate(values: Sequence[float]) -> Estimate:
    """What independent, about normal numbers say of their mean."""
    seeds = len(values)
    mean = fmean(values) if values else None
    if mean is None or seeds < 2:
        return Estimate(seeds, mean, None, None, None)
    deviation = stdev(values)
    error = deviation / math.sqrt(seeds)
    reach = t_quantile_95(seeds - 1) * error
    return Estimate(seeds, mean, deviation, (mean - reach, mean + reach), _p_value(mean, error, seeds - 1))


def differences(values: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """The values less the baseline's, by seed, for each seed that both have; 0 where they differ by rounding alone."""
    pairs = [(value, baseline[seed]) for seed, value in values.items() if seed in baseline]
    return [0.0 if math.isclose(*pair, rel_tol=_ROUNDING, abs_tol=_ROUNDING) else pair[0] - pair[1] for pair in pairs]


@cache
def t_quantile_95(degrees: int) -> float:
    """The t with `P(|T| <= t) = 0.95` for Student's distribution with that many degrees of freedom, at least 1."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, degrees) < 0.95 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _p_value(mean: float, error: float, degrees: int) -> float:
    """`P(|T| >= |mean| / error)`."""
    # Of 0 and 0 it gives the angle 0, of any other mean without error a right angle.
    angle = math.atan2(abs(mean), error * math.sqrt(degrees))
    return max(0.0, 1 - _central_probability(angle, degrees))


def _central_probability(angle: float, degrees: int) -> float:
    """`P(|T| <= sqrt(degrees) tan(angle))`: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
