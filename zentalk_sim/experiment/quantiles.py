"""Quantile functions of the distributions of times and sizes: one uniform number in, one integer out.

Apart from the distributions as experiments write them, so that draws can be machine code in long runs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log1p
from statistics import NormalDist
from typing import Final

_normal: Final[Callable[[float], float]] = NormalDist().inv_cdf
_log1p: Final[Callable[[float], float]] = log1p
_HALF_STEP: Final = 2.0**-54
"""Keeps a uniform in [0, 1) of 53 bits away from 0, where the normal's quantile has no value."""


class Quantile:
    """A distribution to draw from."""

    __slots__ = ()

    def at(self, u: float) -> int:
        """The value below which a share ``u`` in [0, 1) of the draws lies."""
        raise NotImplementedError


class ConstantQuantile(Quantile):
    """Always the same value."""

    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        self._value = value

    def at(self, u: float) -> int:
        """See Quantile."""
        return self._value


class UniformQuantile(Quantile):
    """Every whole number between two equally likely."""

    __slots__ = ("_count", "_low")

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._count = float(high - low + 1)

    def at(self, u: float) -> int:
        """See Quantile."""
        return self._low + int(u * self._count)


class ExponentialQuantile(Quantile):
    """Memoryless values."""

    __slots__ = ("_mean",)

    def __init__(self, mean: int) -> None:
        self._mean = float(mean)

    def at(self, u: float) -> int:
        """See Quantile."""
        return int(-self._mean * _log1p(-u))


class LognormalQuantile(Quantile):
    """Values whose logarithm is normal; those below ``least`` and above ``most`` become these."""

    __slots__ = ("_least", "_median", "_most", "_sigma")

    def __init__(self, median: int, sigma: float, least: int = 0, most: int | None = None) -> None:
        self._median = float(median)
        self._sigma = sigma
        self._least = least
        self._most = most

    def at(self, u: float) -> int:
        """See Quantile."""
        value = int(self._median * exp(self._sigma * _normal(u if u > _HALF_STEP else _HALF_STEP)))
        if value < self._least:
            return self._least
        most = self._most
        return value if most is None or value < most else most
