"""What a sample says of a mean or a distribution: Student's t over seeds, and Kolmogorov and Smirnov's distances.

Every interval is over seeds: one value a seed, since values within a run depend on each other. No library of
statistics is needed for this, and none is a dependency.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import atan, cos, pi, sin, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

KS_999 = 1.949
"""√n times the one-sample distance exceeds this once in a thousand samples (Kolmogorov's distribution)."""
KS_99 = 1.628
"""The same once in a hundred."""


class Interval(NamedTuple):
    """A mean over seeds and half the width of its confidence interval."""

    mean: float
    half_width: float
    level: float
    seeds: int

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the interval."""
        return abs(value - self.mean) <= self.half_width


def interval(values: Sequence[float], level: float = 0.99) -> Interval:
    """The mean of one value a seed, with Student's interval. Raises ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least two, not {len(values)}")
    half_width = student_t(level, len(values) - 1) * stdev(values) / sqrt(len(values))
    return Interval(fmean(values), half_width, level, len(values))


def student_mass(t: float, degrees: int) -> float:
    """P(|T| ≤ t) for Student's t with whole degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    theta = atan(t / sqrt(degrees))
    cosine = cos(theta)
    is_odd = degrees % 2
    if degrees == 1:
        return 2 * theta / pi
    term = cosine if is_odd else 1.0
    total = term
    for k in range(3 if is_odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    return 2 / pi * (theta + sin(theta) * total) if is_odd else sin(theta) * total


@lru_cache(maxsize=256)
def student_t(level: float, degrees: int) -> float:
    """The t beyond which, on either side, 1 − ``level`` of Student's distribution lies."""
    low, high = 0.0, 1.0
    while student_mass(high, degrees) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if student_mass(middle, degrees) < level:
            low = middle
        else:
            high = middle
    return high


def ks_distance(values: Sequence[float], distribution: Callable[[float], float]) -> float:
    """The greatest distance between the sample's distribution function and ``distribution``."""
    ordered = sorted(values)
    n = len(ordered)
    return max(max((i + 1) / n - distribution(x), distribution(x) - i / n) for i, x in enumerate(ordered))


def ks_two(first: Sequence[float], second: Sequence[float]) -> float:
    """The greatest distance between two samples' distribution functions."""
    a, b = sorted(first), sorted(second)
    return max(abs(bisect_right(a, x) / len(a) - bisect_right(b, x) / len(b)) for x in (*a, *b))


def quantile(values: Sequence[float], q: float) -> float:
    """The value at rank ⌈q·n⌉, as the results of a run have it."""
    ordered = sorted(values)
    return ordered[max(0, -int(-q * len(ordered) // 1) - 1)]


def uniform_on(low: float, high: float) -> Callable[[float], float]:
    """The uniform distribution function."""
    return lambda x: min(1.0, max(0.0, (x - low) / (high - low)))
