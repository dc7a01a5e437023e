"""What every group of settings is made of: its base, and the bounds its numbers share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from zentalk_sim.experiment.distributions import ConstantTime, TimeDistribution

Us = Annotated[int, Meta(ge=0)]
PositiveUs = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(ge=0)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings."""


class ClockSkew(Section, frozen=True, kw_only=True):
    """How far clocks are off the true time, each by draws of its own."""

    offset: TimeDistribution = ConstantTime(value_us=0)
    """How far a clock is off at the start."""
    sign: Literal["ahead", "behind", "both"] = "both"
    """Which way the offset goes; both: either way, by the seed."""
    drift_ppm: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """A clock runs fast or slow by a share uniform in ± this, in millionths; quartz keeps within about 50."""
    fraction: Share = 1.0
    """The share of the clocks that are off, by the seed; the others keep true time."""

    @property
    def is_true(self) -> bool:
        """Whether every clock keeps true time."""
        return self.drift_ppm == 0 and self.offset.quantile(0.999) == 0
