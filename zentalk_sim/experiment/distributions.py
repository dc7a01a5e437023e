"""Distributions of times and sizes, each drawn by one uniform number through its quantile function.

One uniform in, one integer out: a draw costs one word of a stream whatever the distribution, so that
changing a distribution never moves the draws that follow. Nothing here keeps state.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from zentalk_sim.experiment.quantiles import (
    ConstantQuantile,
    ExponentialQuantile,
    LognormalQuantile,
    Quantile,
    UniformQuantile,
)

TimeUs = Annotated[int, Meta(ge=0)]
PositiveUs = Annotated[int, Meta(ge=1)]
PositiveBytes = Annotated[int, Meta(ge=1)]
Sigma = Annotated[float, Meta(ge=0, le=10)]


class _Kind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A distribution, named by its ``kind``."""

    def worked_out(self) -> Quantile:
        """The quantile function, for many draws."""
        raise NotImplementedError

    def quantile(self, u: float) -> int:
        """The value below which a share ``u`` in [0, 1) of the draws lies."""
        return self.worked_out().at(u)

    def fault(self) -> tuple[str, str] | None:
        """What contradicts itself in the parameters, as (field, message); None if they fit."""
        return None


class ConstantTime(_Kind, frozen=True, kw_only=True, tag="constant"):
    """Always the same time."""

    value_us: TimeUs
    """The time."""

    def worked_out(self) -> Quantile:
        return ConstantQuantile(self.value_us)


class UniformTime(_Kind, frozen=True, kw_only=True, tag="uniform"):
    """Every time between two equally likely."""

    low_us: TimeUs
    """The shortest time."""
    high_us: TimeUs
    """The longest time."""

    def worked_out(self) -> Quantile:
        return UniformQuantile(self.low_us, self.high_us)

    def fault(self) -> tuple[str, str] | None:
        return ("high_us", "`high` is below `low`") if self.high_us < self.low_us else None


class ExponentialTime(_Kind, frozen=True, kw_only=True, tag="exponential"):
    """Memoryless times, as between the events of a Poisson process."""

    mean_us: PositiveUs
    """The mean time."""

    def worked_out(self) -> Quantile:
        return ExponentialQuantile(self.mean_us)


class LognormalTime(_Kind, frozen=True, kw_only=True, tag="lognormal"):
    """Times whose logarithm is normal: most short, a few long."""

    median_us: PositiveUs
    """Half of the times are below it."""
    sigma: Sigma = 1.0
    """Standard deviation of the natural logarithm."""

    def worked_out(self) -> Quantile:
        return LognormalQuantile(self.median_us, self.sigma)


class ConstantSize(_Kind, frozen=True, kw_only=True, tag="constant"):
    """Always the same size."""

    value_bytes: PositiveBytes
    """The size."""

    def worked_out(self) -> Quantile:
        return ConstantQuantile(self.value_bytes)

    @property
    def largest_bytes(self) -> int:
        return self.value_bytes


class UniformSize(_Kind, frozen=True, kw_only=True, tag="uniform"):
    """Every size between two equally likely."""

    low_bytes: PositiveBytes
    """The smallest size."""
    high_bytes: PositiveBytes
    """The largest size."""

    def worked_out(self) -> Quantile:
        return UniformQuantile(self.low_bytes, self.high_bytes)

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

    def worked_out(self) -> Quantile:
        return LognormalQuantile(self.median_bytes, self.sigma, self.min_bytes, self.max_bytes)

    def fault(self) -> tuple[str, str] | None:
        return ("max_bytes", "`max` is below `min`") if self.max_bytes < self.min_bytes else None

    @property
    def largest_bytes(self) -> int:
        return self.max_bytes


TimeDistribution: TypeAlias = ConstantTime | UniformTime | ExponentialTime | LognormalTime
SizeDistribution: TypeAlias = ConstantSize | UniformSize | LognormalSize
