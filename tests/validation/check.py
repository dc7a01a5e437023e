"""A check: what is measured, what theory says of it, and when the two agree.

A check that cannot fail is worth nothing, so agreement asks two things of an estimate: theory lies in the 99.9 %
interval over seeds, *and* that interval is narrow. Seeds are fixed, so that the answer is the same at every run; the
document prints the 99 % interval.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, log10, sqrt

from tests.validation.intervals import KS_99, KS_999, interval, ks_distance


class Sample:
    """One value a seed, and what each seed ran (``40 000 jobs``)."""

    def __init__(self, values: Sequence[float], each: str) -> None:
        self.values = values
        self.each = each

    @property
    def told(self) -> str:
        return f"{number(len(self.values))} seeds × {self.each}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured, from what, and whether it agrees with theory; ``why`` says so in numbers."""

    measured: str
    sample: str
    agrees: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """A row of the document. ``run`` takes whether the long form is asked for."""

    section: str
    what: str
    theory: str
    parameters: str
    file: str
    run: Callable[[bool], Outcome]

    @property
    def id(self) -> str:
        return f"{self.section}: {self.what}"


def is_long() -> bool:
    """Whether the long form is asked for: HYPOTHESIS_PROFILE=soak or ZENTALK_SOAK=1."""
    return os.environ.get("HYPOTHESIS_PROFILE") == "soak" or os.environ.get("ZENTALK_SOAK", "0") not in ("", "0")


def number(count: int) -> str:
    """A whole number with thin groups of three."""
    return f"{count:,}".replace(",", " ")


def with_error(mean: float, half_width: float) -> str:
    """A mean to the digits that its interval allows."""
    if half_width <= 0:
        return f"{mean:g} ± 0"
    digits = min(8, max(0, 1 - floor(log10(half_width))))
    return f"{mean:.{digits}f} ± {half_width:.{digits}f}"


def estimated(
    theory: float, sample: Callable[[bool], Sample], *, precision: float, unit: str = ""
) -> Callable[[bool], Outcome]:
    """The mean over seeds is ``theory``; the 99.9 % interval reaches no further than ``precision`` of it."""

    def run(is_long: bool) -> Outcome:
        found = sample(is_long)
        shown, strict = interval(found.values, 0.99), interval(found.values, 0.999)
        return Outcome(
            measured=with_error(shown.mean, shown.half_width) + unit,
            sample=found.told,
            agrees=strict.holds(theory) and strict.half_width <= precision * abs(theory),
            why=f"{theory:.6g} against {strict.mean:.6g} ± {strict.half_width:.3g} (99.9 %), "
            f"at most ± {precision * abs(theory):.3g}",
        )

    return run


def published(
    target: float, sample: Callable[[bool], Sample], *, within: float, unit: str = "", scale: float = 1
) -> Callable[[bool], Outcome]:
    """The mean over seeds lies within a fraction ``within`` of a figure that is published rounded."""

    def run(is_long: bool) -> Outcome:
        found = sample(is_long)
        shown = interval([value / scale for value in found.values], 0.99)
        reach = within * target
        return Outcome(
            measured=with_error(shown.mean, shown.half_width) + unit,
            sample=found.told,
            agrees=abs(shown.mean - target) <= reach and shown.half_width <= reach,
            why=f"{target:g} against {shown.mean:.6g} ± {shown.half_width:.3g} (99 %), within ± {reach:.3g}",
        )

    return run


def distributed(
    distribution: Callable[[float], float],
    low: float,
    high: float,
    sample: Callable[[bool], Sample],
    unit: str = "",
    digits: int = 2,
) -> Callable[[bool], Outcome]:
    """Independent values that all lie in [low, high] and follow ``distribution`` (Kolmogorov and Smirnov, 99.9 %)."""

    def run(is_long: bool) -> Outcome:
        found = sample(is_long)
        values = found.values
        distance, limit = ks_distance(values, distribution), KS_999 / sqrt(len(values))
        least, most = min(values), max(values)
        told = f"in [{least:.{digits}f}, {most:.{digits}f}]{unit}"
        return Outcome(
            measured=f"{told}, KS distance {distance:.4f} (99 %: {KS_99 / sqrt(len(values)):.4f})",
            sample=f"{number(len(values))} {found.each}",
            agrees=low <= least and most <= high and distance <= limit,
            why=f"{told} of [{low}, {high}], distance {distance:.4f} of at most {limit:.4f}",
        )

    return run


def exactly(theory: object, measure: Callable[[bool], tuple[object, str]]) -> Callable[[bool], Outcome]:
    """What is measured equals ``theory``, to the microsecond; ``measure`` tells it and what was run."""

    def run(is_long: bool) -> Outcome:
        found, sample = measure(is_long)
        return Outcome(
            measured="exactly that" if found == theory else str(found),
            sample=sample,
            agrees=found == theory,
            why=f"{theory} against {found}",
        )

    return run
