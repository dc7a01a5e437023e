"""One-way propagation latency: a distribution, its closed-form moments, and draws from raw words.

A draw takes its words from a `Stream` by arithmetic written here, so that results depend on no library's
choice of algorithm. Every distribution but gamma is drawn by inverting its distribution function: one word
per draw. Milliseconds in settings, integer microseconds in draws.
"""

from __future__ import annotations

from itertools import pairwise
from math import exp, isfinite, pi, sqrt
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from zentalk_sim.network.samplers import (
    ConstantDraw,
    Draw,
    EmpiricalDraw,
    GammaDraw,
    LognormalDraw,
    NormalDraw,
    UniformDraw,
    normal_cdf,
)

MAX_MS = 3_600_000.0
"""No latency above one hour: what is longer is an outage, and is said as one."""

NonNegativeMs = Annotated[float, Meta(ge=0, le=MAX_MS)]


def require(is_met: bool, complaint: str) -> None:
    """Raise ValueError with ``complaint`` unless ``is_met`` (msgspec adds the place in the file)."""
    if not is_met:
        raise ValueError(complaint)


def _require_ms(name: str, value: float) -> None:
    require(isfinite(value) and 0 <= value <= MAX_MS, f"{name} must lie in 0..{MAX_MS:.0f} ms, not {value}")


class _Distribution(Struct, frozen=True, forbid_unknown_fields=True, tag_field="dist"):
    """What all distributions share."""

    @property
    def constant_us(self) -> int | None:
        """The latency where it never varies, else None."""
        return None


class Constant(_Distribution, frozen=True, tag="constant"):
    """Always ``delay_ms``."""

    delay_ms: NonNegativeMs

    def __post_init__(self) -> None:
        _require_ms("delay_ms", self.delay_ms)

    @property
    def constant_us(self) -> int | None:
        """The latency where it never varies, else None."""
        return round(self.delay_ms * 1000)

    @property
    def expected_ms(self) -> float:
        """Expected latency."""
        return self.delay_ms

    @property
    def variance_ms2(self) -> float:
        """Variance, in ms²."""
        return 0.0

    def sampler(self) -> Draw:
        """What draws latencies in µs from a stream."""
        return ConstantDraw(round(self.delay_ms * 1000))


class Uniform(_Distribution, frozen=True, tag="uniform"):
    """Uniform on [``min_ms``, ``max_ms``]."""

    min_ms: NonNegativeMs
    max_ms: NonNegativeMs

    def __post_init__(self) -> None:
        _require_ms("min_ms", self.min_ms)
        _require_ms("max_ms", self.max_ms)
        require(self.min_ms <= self.max_ms, f"min_ms {self.min_ms} is above max_ms {self.max_ms}")

    @property
    def constant_us(self) -> int | None:
        """The latency where it never varies, else None."""
        return round(self.min_ms * 1000) if self.min_ms == self.max_ms else None

    @property
    def expected_ms(self) -> float:
        """Expected latency."""
        return (self.min_ms + self.max_ms) / 2

    @property
    def variance_ms2(self) -> float:
        """Variance, in ms²."""
        return (self.max_ms - self.min_ms) ** 2 / 12

    def sampler(self) -> Draw:
        """What draws latencies in µs from a stream."""
        return UniformDraw(self.min_ms * 1000 + 0.5, (self.max_ms - self.min_ms) * 1000)


class Normal(_Distribution, frozen=True, tag="normal"):
    """Normal with ``mean_ms`` and ``sd_ms`` (netem's delay and jitter), conditioned on being at least 0.

    ``mean_ms`` and ``sd_ms`` are those before truncation; ``expected_ms`` is what a link shows.
    """

    mean_ms: NonNegativeMs
    sd_ms: Annotated[float, Meta(gt=0, le=MAX_MS)]

    def __post_init__(self) -> None:
        _require_ms("mean_ms", self.mean_ms)
        _require_ms("sd_ms", self.sd_ms)
        require(self.sd_ms > 0, "sd_ms must be above 0; a latency without spread is dist: constant")

    @property
    def expected_ms(self) -> float:
        """Expected latency after truncation: μ + σ φ(α) / (1 − Φ(α)), α = −μ/σ."""
        return self.mean_ms + self.sd_ms * self._hazard()

    @property
    def variance_ms2(self) -> float:
        """Variance after truncation, in ms²: σ² (1 + α λ − λ²), λ = φ(α) / (1 − Φ(α))."""
        alpha, hazard = -self.mean_ms / self.sd_ms, self._hazard()
        return self.sd_ms**2 * (1 + alpha * hazard - hazard * hazard)

    def _hazard(self) -> float:
        alpha = -self.mean_ms / self.sd_ms
        return exp(-alpha * alpha / 2) / sqrt(2 * pi) / (1 - normal_cdf(alpha))

    def sampler(self) -> Draw:
        """What draws latencies in µs from a stream."""
        below = normal_cdf(-self.mean_ms / self.sd_ms)
        return NormalDraw(self.mean_ms * 1000, self.sd_ms * 1000, below)


class Lognormal(_Distribution, frozen=True, tag="lognormal"):
    """``min_ms`` plus a lognormal of median ``median_ms`` − ``min_ms`` and ``sigma``, the deviation of its logarithm.

    ``median_ms`` is thus the median of the latency itself.
    """

    median_ms: NonNegativeMs
    sigma: Annotated[float, Meta(gt=0, le=5)]
    min_ms: NonNegativeMs = 0.0

    def __post_init__(self) -> None:
        _require_ms("median_ms", self.median_ms)
        _require_ms("min_ms", self.min_ms)
        require(self.median_ms > self.min_ms, f"median_ms {self.median_ms} must be above min_ms {self.min_ms}")
        require(0 < self.sigma <= 5, f"sigma must be above 0 and at most 5, not {self.sigma}")

    @property
    def expected_ms(self) -> float:
        """Expected latency: min + (median − min) · exp(σ²/2)."""
        return self.min_ms + (self.median_ms - self.min_ms) * exp(self.sigma**2 / 2)

    @property
    def variance_ms2(self) -> float:
        """Variance, in ms²."""
        return (exp(self.sigma**2) - 1) * ((self.median_ms - self.min_ms) * exp(self.sigma**2 / 2)) ** 2

    def sampler(self) -> Draw:
        """What draws latencies in µs from a stream."""
        scale_us = (self.median_ms - self.min_ms) * 1000
        return LognormalDraw(self.min_ms * 1000 + 0.5, scale_us, self.sigma)


class Gamma(_Distribution, frozen=True, tag="gamma"):
    """``min_ms`` plus a gamma of the given ``shape``, so that the mean is ``mean_ms``.

    Drawn by Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000).
    """

    mean_ms: NonNegativeMs
    shape: Annotated[float, Meta(ge=0.1, le=10_000)]
    min_ms: NonNegativeMs = 0.0

    def __post_init__(self) -> None:
        _require_ms("mean_ms", self.mean_ms)
        _require_ms("min_ms", self.min_ms)
        require(self.mean_ms > self.min_ms, f"mean_ms {self.mean_ms} must be above min_ms {self.min_ms}")
        require(0.1 <= self.shape <= 10_000, f"shape must lie in 0.1..10000, not {self.shape}")

    @property
    def expected_ms(self) -> float:
        """Expected latency."""
        return self.mean_ms

    @property
    def variance_ms2(self) -> float:
        """Variance, in ms²."""
        return (self.mean_ms - self.min_ms) ** 2 / self.shape

    def sampler(self) -> Draw:
        """What draws latencies in µs from a stream."""
        scale_us = (self.mean_ms - self.min_ms) * 1000 / self.shape
        return GammaDraw(self.min_ms * 1000 + 0.5, scale_us, self.shape)


class Empirical(_Distribution, frozen=True, tag="empirical"):
    """Measured quantiles: pairs of fraction and milliseconds, with straight lines between them.

    Fractions rise from 0 to 1, milliseconds never fall: ``[[0, 12], [0.5, 20], [0.99, 90], [1, 400]]``.
    """

    quantiles_ms: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        points = self.quantiles_ms
        require(all(len(point) == 2 for point in points), "quantiles: each point is a pair [fraction, milliseconds]")
        require(len(points) >= 2, "quantiles needs at least two points, the first at 0 and the last at 1")
        require(points[0][0] == 0 and points[-1][0] == 1, "quantiles must begin at fraction 0 and end at fraction 1")
        for _, ms in points:
            _require_ms("quantiles", ms)
        for (f0, ms0), (f1, ms1) in pairwise(points):
            require(f0 < f1, f"quantiles: fraction {f1} does not lie above {f0}, which it follows")
            require(ms0 <= ms1, f"quantiles: {ms1} ms at {f1} lies below {ms0} ms at {f0}")

    @property
    def expected_ms(self) -> float:
        """Expected latency."""
        return sum((f1 - f0) * (a + b) / 2 for f0, a, f1, b in self._pieces())

    @property
    def variance_ms2(self) -> float:
        """Variance, in ms²."""
        second = sum((f1 - f0) * (a * a + a * b + b * b) / 3 for f0, a, f1, b in self._pieces())
        return max(0.0, second - self.expected_ms**2)

    def _pieces(self) -> list[tuple[float, float, float, float]]:
        points = self.quantiles_ms
        return [(f0, a, f1, b) for (f0, a), (f1, b) in pairwise(points)]

    def sampler(self) -> Draw:
        """What draws latencies in µs from a stream."""
        fractions = [fraction for fraction, _ in self.quantiles_ms]
        return EmpiricalDraw(fractions, [ms * 1000 for _, ms in self.quantiles_ms])


Latency: TypeAlias = Constant | Uniform | Normal | Lognormal | Gamma | Empirical
"""Any of the distributions, told apart by the field ``dist``."""
