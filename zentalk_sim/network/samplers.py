"""Draws of one-way latencies: a distribution's parameters worked out, and words of a stream turned into microseconds.

Apart from the distributions as experiments write them, so that the arithmetic can be machine code in long runs.
"""

from __future__ import annotations

from bisect import bisect_right
from math import erf, exp, log, sqrt
from typing import Final

from zentalk_sim.protocol.streams import Stream

_HALF_ULP: Final = 0.5 / 9007199254740992.0
"""Half of the 2⁻⁵³ by which uniform numbers differ: added, it keeps them off zero."""


class Draw:
    """A distribution to draw from. Classes of their own, and no functions, so that machine code calls them directly."""

    __slots__ = ()

    def draw(self, stream: Stream) -> int:
        """One latency in µs."""
        raise NotImplementedError


class ConstantDraw(Draw):
    """No distribution: nothing is drawn."""

    __slots__ = ("_us",)

    def __init__(self, us: int) -> None:
        self._us = us

    def draw(self, stream: Stream) -> int:
        """One latency in µs."""
        return self._us


class UniformDraw(Draw):
    """``low_us``, which contains the half that rounds, and up to ``span_us`` more."""

    __slots__ = ("_low_us", "_span_us")

    def __init__(self, low_us: float, span_us: float) -> None:
        self._low_us = low_us
        self._span_us = span_us

    def draw(self, stream: Stream) -> int:
        """One latency in µs."""
        return int(self._low_us + self._span_us * stream.uniform())


class NormalDraw(Draw):
    """A normal cut off at 0; ``below`` is what lies below 0 without the cut."""

    __slots__ = ("_below", "_centre_us", "_kept", "_sd_us")

    def __init__(self, centre_us: float, sd_us: float, below: float) -> None:
        self._centre_us = centre_us
        self._sd_us = sd_us
        self._below = below
        self._kept = 1 - below

    def draw(self, stream: Stream) -> int:
        """One latency in µs."""
        quantile = normal_quantile(self._below + self._kept * (stream.uniform() + _HALF_ULP))
        us = self._centre_us + self._sd_us * quantile
        return int(us + 0.5) if us > 0 else 0


class LognormalDraw(Draw):
    """``min_us``, which contains the half that rounds, and a lognormal of median ``scale_us``."""

    __slots__ = ("_min_us", "_scale_us", "_sigma")

    def __init__(self, min_us: float, scale_us: float, sigma: float) -> None:
        self._min_us = min_us
        self._scale_us = scale_us
        self._sigma = sigma

    def draw(self, stream: Stream) -> int:
        """One latency in µs."""
        return int(self._min_us + self._scale_us * exp(self._sigma * normal_quantile(stream.uniform() + _HALF_ULP)))


class GammaDraw(Draw):
    """``min_us``, which contains the half that rounds, and a gamma of that ``shape`` and scale.

    A shape below 1 is drawn one higher and brought down by U^(1/shape) (Marsaglia and Tsang, section 6).
    """

    __slots__ = ("_c", "_d", "_min_us", "_scale_us", "_shape")

    def __init__(self, min_us: float, scale_us: float, shape: float) -> None:
        self._min_us = min_us
        self._scale_us = scale_us
        self._shape = shape
        self._d = (shape if shape >= 1 else shape + 1) - 1 / 3
        self._c = 1 / sqrt(9 * self._d)

    def draw(self, stream: Stream) -> int:
        """One latency in µs."""
        c, d = self._c, self._d
        while True:
            x = normal_quantile(stream.uniform() + _HALF_ULP)
            v = 1 + c * x
            if v <= 0:
                continue
            v = v * v * v
            if log(stream.uniform() + _HALF_ULP) < 0.5 * x * x + d - d * v + d * log(v):
                break
        if self._shape < 1:
            v *= (stream.uniform() + _HALF_ULP) ** (1 / self._shape)
        return int(self._min_us + self._scale_us * d * v)


class EmpiricalDraw(Draw):
    """Straight lines between quantiles."""

    __slots__ = ("_fractions", "_slopes", "_us")

    def __init__(self, fractions: list[float], us: list[float]) -> None:
        self._fractions = fractions
        self._us = us
        self._slopes = [(us[i + 1] - us[i]) / (fractions[i + 1] - fractions[i]) for i in range(len(us) - 1)]

    def draw(self, stream: Stream) -> int:
        """One latency in µs."""
        u = stream.uniform()
        i = bisect_right(self._fractions, u) - 1
        return int(self._us[i] + self._slopes[i] * (u - self._fractions[i]) + 0.5)


def normal_cdf(x: float) -> float:
    """Φ(x), the standard normal distribution function."""
    return 0.5 * (1 + erf(x / sqrt(2)))


def normal_quantile(p: float) -> float:
    """The standard normal quantile of ``p`` in (0, 1), to about 1 part in 10¹⁶.

    Algorithm AS 241 (PPND16), M. J. Wichura, Applied Statistics 37 (1988).
    """
    q = p - 0.5
    if -0.425 <= q <= 0.425:
        r = 0.180625 - q * q
        top = ((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
            + 45921.953931549871457) * r + 13731.693765509461125) * r + 1971.5909503065514427) * r
            + 133.14166789178437745) * r + 3.387132872796366608  # fmt: skip
        bottom = ((((((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r
            + 21213.794301586595867) * r + 5394.1960214247511077) * r + 687.1870074920579083) * r
            + 42.313330701600911252) * r + 1.0  # fmt: skip
        return q * top / bottom
    tail = p if q < 0 else 1 - p
    r = sqrt(-log(max(tail, _HALF_ULP)))
    if r <= 5:
        r -= 1.6
        top = ((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r
            + 1.27045825245236838258) * r + 3.64784832476320460504) * r + 5.7694972214606914055) * r
            + 4.6303378461565452959) * r + 1.42343711074968357734  # fmt: skip
        bottom = ((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
            + 0.14810397642748007459) * r + 0.68976733498510000455) * r + 1.6763848301838038494) * r
            + 2.05319162663775882187) * r + 1.0  # fmt: skip
    else:
        r -= 5
        top = ((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
            + 0.026532189526576123093) * r + 0.29656057182850489123) * r + 1.7848265399172913358) * r
            + 5.4637849111641143699) * r + 6.6579046435011037772  # fmt: skip
        bottom = ((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
            + 7.868691311456132591e-4) * r + 0.0148753612908506148525) * r + 0.13692988092273580531) * r
            + 0.59983220655588793769) * r + 1.0  # fmt: skip
    x = top / bottom
    return -x if q < 0 else x
