"""A line of the benchmarks: the costs of something of ours and of a baseline, round by round, and their ratio.

A round measures ours and then its baseline, so that what slows a machine down for a while slows both. Every value of
every round is kept: from them comes how far the ratio varies from round to round, without which no one can say
whether two runs differ. A line of one round has no such range and says *once*.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class BenchmarkError(Exception):
    """A benchmark could not be measured; the message says which and why."""


@dataclass(frozen=True)
class Line:
    """One row. All costs, so that less is better, and a ratio below 1 says that ours costs less."""

    name: str
    unit: str
    against: str
    """What the baseline is."""
    ours: tuple[float, ...]
    """A value a round."""
    baseline: tuple[float, ...]
    """The baseline's value in the same round."""

    def __post_init__(self) -> None:
        """Raise BenchmarkError where rounds are missing, or anything cost nothing."""
        if not self.ours or len(self.ours) != len(self.baseline):
            raise BenchmarkError(
                f"{self.name}: {len(self.ours)} rounds of ours, {len(self.baseline)} of {self.against}"
            )
        if min(*self.ours, *self.baseline) <= 0:
            raise BenchmarkError(f"{self.name}: a round cost nothing, so that there is no ratio to {self.against}")

    @property
    def ratio(self) -> float:
        """Median of ours to the baseline's median."""
        return statistics.median(self.ours) / statistics.median(self.baseline)

    @property
    def ratios(self) -> tuple[float, float]:
        """The least and the largest ratio that any one round gave."""
        each = [ours / baseline for ours, baseline in zip(self.ours, self.baseline, strict=True)]
        return min(each), max(each)

    def record(self) -> dict[str, Any]:
        """What a file keeps of it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "against": self.against,
            "ours": statistics.median(self.ours),
            "baseline": statistics.median(self.baseline),
            "ratio": self.ratio,
            "ratios": list(self.ratios),
            "rounds": {"ours": list(self.ours), "baseline": list(self.baseline)},
        }

    def row(self) -> str:
        """The line as it is printed; see ``HEAD``."""
        low, high = self.ratios
        spread = "once" if len(self.ours) == 1 else f"{low:.2f}-{high:.2f}"
        ours, baseline = statistics.median(self.ours), statistics.median(self.baseline)
        costs = f"{ours:>11.2f}{baseline:>11.2f}  {self.unit:<12}"
        return f"{self.name:<52}{costs}{self.ratio:>7.2f}  {spread:<14}{self.against}"


HEAD = f"{'what':<52}{'ours':>11}{'baseline':>11}  {'unit':<12}{'ratio':>7}  {'by round':<14}against"


def line(name: str, unit: str, rounds: list[tuple[float, float]], against: str) -> Line:
    """A line of rounds, each of them (ours, baseline)."""
    return Line(name, unit, against, tuple(ours for ours, _ in rounds), tuple(baseline for _, baseline in rounds))


def in_turns(ours: Callable[[], float], baseline: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """Both measured ``rounds`` times, in turns."""
    return [(ours(), baseline()) for _ in range(rounds)]
