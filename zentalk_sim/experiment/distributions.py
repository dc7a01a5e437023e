"""Distributions of times and sizes, each drawn by one uniform number through its quantile function.

One uniform in, one integer out: a draw costs one word of a stream whatever the distribution, so that
changing a distribution never moves the draws that follow. Nothing here keeps state.
"""

from __future__ import annotations

from math import exp, log1p
from statistics import NormalDist
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

_INVERSE = NormalDist().inv_cdf
_HALF_STEP = 2.0**-54
"""Keeps a uniform in [0, 1) of 53 bits away from 0, where the normal's quantile has no value."""

TimeUs = Annotated[int, Meta(ge=0)]
PositiveUs = Annotated[int, Meta(ge=1)]
PositiveBytes = Annotated[int, Meta(ge=1)]
Sigma = Annotated[float, Meta(ge=0, le=10)]


def _normal(u: float) -> float:
    """The standard normal's quantile at ``u`` in [0, 1)."""
    return _INVERSE(max(u, _HALF_STEP))


class _Kind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A distribution, named by its ``kind``."""

    def quantile(self, u: float) -> int:
        """The value below which a share ``u`` in [0, 1) of the draws lies."""
        raise NotImplementedError

    def fault(self) -> tuple[str, str] | None:
        """What contradicts itself in the parameters, as (field, message); None if they fit."""
        return None


class ConstantTime(_Kind, frozen=True, kw_only=True, tag="constant"):
    """Always the same time."""

    value_us: TimeUs
    """The time."""

    def quantile(self, u: float) -> int:
        return self.value_us


class UniformTime(_Kind, frozen=True, kw_only=True, tag="uniform"):
    """Every time between two equally likely."""

    low_us: TimeUs
    """The shortest time."""
    high_us: TimeUs
    """The longest time."""

    def quantile(self, u: float) -> int:
        return self.low_us + int(u * (self.high_us - self.low_us + 1))

    def fault(self) -> tuple[str, str] | None:
        return ("high_us", "`high` is below `low`") if self.high_us < self.low_us else None


class ExponentialTime(_Kind, frozen=True, kw_only=True, tag="exponential"):
    """Memoryless times, as between the events of a Poisson process."""

    mean_us: PositiveUs
    """The mean time."""

    def quantile(self, u: float) -> int:
        return int(-self.mean_us * log1p(-u))


class LognormalTime(_Kind, frozen=True, kw_only=True, tag="lognormal"):
    """Times whose logarithm is normal: most short, a few long."""

    median_us: PositiveUs
    """Half of the times are below it."""
    sigma: Sigma = 1.0
    """Standard deviation of the natural logarithm."""

    def quantile(self, u: float) -> int:
        return int(self.median_us * exp(self.sigma * _normal(u)))


class ConstantSize(_Kind, frozen=True, kw_only=True, tag="constant"):
    """Always the same size."""

    value_bytes: PositiveBytes
    """The size."""

    def quantile(self, u: float) -> int:
        return self.value_bytes

    @property
    def largest_bytes(self) -> int:
        return self.value_bytes


class UniformSize(_Kind, frozen=True, kw_only=True, tag="uniform"):
    """Every size between two equally likely."""

    low_bytes: PositiveBytes
    """The smallest size."""
    high_bytes: PositiveBytes
    """The largest size."""

    def quantile(self, u: float) -> int:
        return self.low_bytes + int(u * (self.high_bytes - self.low_bytes + 1))

    def fault(self) -> tuple[str, str] | None:
        return ("high_bytes", "`high` is below `low`") if self.high_bytes < self.low_bytes else None

    @property
    def largest_bytes(self) -> int:
        return self.high_bytes


class LognormalSize(_Kind, frozen=True, kw_only=True, tag="lognormal"):
    """Sizes whose logarithm is normal, cut at both ends: most small, a few large."""

    median_bytes: PositiveBytes
    """Half of the sizes are below it."""
    sigma: Sigma = 1.0
    """Standard deviation of the natural logarithm."""
    min_bytes: PositiveBytes = 16
    """Smaller draws become this size."""
    max_bytes: PositiveBytes = 16_384
    """Larger draws become this size."""

    def quantile(self, u: float) -> int:
        return min(self.max_bytes, max(self.min_bytes, int(self.median_bytes * exp(self.sigma * _normal(u)))))

    def fault(self) -> tuple[str, str] | None:
        return ("max_bytes", "`max` is below `min`") if self.max_bytes < self.min_bytes else None

    @property
    def largest_bytes(self) -> int:
        return self.max_bytes


TimeDistribution: TypeAlias = ConstantTime | UniformTime | ExponentialTime | LognormalTime
SizeDistribution: TypeAlias = ConstantSize | UniformSize | LognormalSize
