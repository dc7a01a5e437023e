"""How far two runs agree in their distributions: a simulated and a live one of an experiment, laid side by side.

Of each figure the values themselves are compared, out of the runs' tables; those of the reconnect time, whose
beginning no table has where a node died unnoticed, out of its histogram, exact to 0.4 %. Compared are their quantiles
p10 … p99 as ratios, and Kolmogorov and Smirnov's distance D of the two samples, with the value that D exceeds once in
a hundred where both are drawn from one distribution, c(0.01)·√((n + m)/(n·m)) with c = 1.628 (asymptotic). That value
supposes independent samples; those of one run are not quite, so a distance somewhat above it is no proof of a
difference. Runs of several seeds may be pooled on either side.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.run import Run

QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
KS_CRITICAL: Final = 1.628
"""Kolmogorov's distribution at 0.99."""
LEAST_VALUES: Final = 8
"""Below this many on either side nothing is said."""

Verdict = Literal["same", "close", "differs", "too few values"]


class Figure(Struct, frozen=True):
    """What is compared: its name, its title and its unit, and µs to one of that."""

    name: str
    title: str
    unit: str
    scale: int


FIGURES: Final = (
    Figure("delivery_latency_ms", "Delivery latency", "ms", 1_000),
    Figure("delivery_latency_ms.push", "by push", "ms", 1_000),
    Figure("delivery_latency_ms.fetch", "by fetch", "ms", 1_000),
    Figure("ack_latency_ms", "Acknowledgement latency", "ms", 1_000),
    Figure("reconnect_time_s", "Reconnect time", "s", 1_000_000),
    Figure("connect_time_ms", "Connecting, SYN to AUTH_SUCCESS", "ms", 1_000),
)


class Sample(Struct):
    """The values of one figure on one side, in its unit, rising."""

    values: list[float]

    @property
    def quantiles(self) -> list[float | None]:
        """The values at rank ⌈q·n⌉."""
        return [quantile(self.values, q) for q in QUANTILES]


class Agreement(Struct, kw_only=True):
    """One figure on both sides."""

    figure: Figure
    a: Sample
    b: Sample
    ratios: list[float | None]
    """Quantile for quantile, b's over a's."""
    distance: float | None
    """Kolmogorov and Smirnov's D; None with too few values."""
    critical: float | None
    aligned_distance: float | None
    """D once b is shifted so that the medians meet: what is left is a difference of shape."""
    shift: float | None
    """How far b's median is above a's."""
    verdict: Verdict


class Report(Struct, kw_only=True):
    """All figures of two sides."""

    a: list[str]
    b: list[str]
    tolerance: float
    agreements: list[Agreement]
    counts: list[tuple[str, int | None, int | None]]
    """Count, and what it was on each side; None where it was not known."""

    @property
    def differs(self) -> bool:
        """Whether any figure differs by more than the tolerance and more than chance."""
        return any(one.verdict == "differs" for one in self.agreements)


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The value at rank ⌈q·n⌉ of values in rising order, as a run's results have it; None where there is none."""
    if not ordered:
        return None
    return ordered[max(0, -int(-q * len(ordered) // 1) - 1)]


def ks_distance(a: Sequence[float], b: Sequence[float]) -> float:
    """The greatest distance between two samples' distribution functions; both in rising order."""
    return max(abs(bisect_right(a, x) / len(a) - bisect_right(b, x) / len(b)) for x in (*a, *b))


def agreement(figure: Figure, a: list[float], b: list[float], tolerance: float) -> Agreement:
    """Compare two samples, each in rising order. ``tolerance`` is the share a quantile may differ by."""
    first, second = Sample(a), Sample(b)
    ratios = [y / x if x and y is not None else None for x, y in zip(first.quantiles, second.quantiles, strict=True)]
    if min(len(a), len(b)) < LEAST_VALUES:
        return Agreement(
            figure=figure,
            a=first,
            b=second,
            ratios=ratios,
            distance=None,
            critical=None,
            aligned_distance=None,
            shift=None,
            verdict="too few values",
        )
    middle_a, middle_b = quantile(a, 0.5), quantile(b, 0.5)
    assert middle_a is not None
    assert middle_b is not None
    shift = middle_b - middle_a
    distance = ks_distance(a, b)
    critical = KS_CRITICAL * sqrt((len(a) + len(b)) / (len(a) * len(b)))
    near = all(ratio is not None and 1 / (1 + tolerance) <= ratio <= 1 + tolerance for ratio in ratios)
    verdict: Verdict = "same" if distance <= critical else "close" if near else "differs"
    return Agreement(
        figure=figure,
        a=first,
        b=second,
        ratios=ratios,
        distance=distance,
        critical=critical,
        aligned_distance=ks_distance(a, [value - shift for value in b]),
        shift=shift,
        verdict=verdict,
    )


# --- runs --------------------------------------------------------------------------------------------------------


def values_of(run: Run) -> dict[str, list[float]]:
    """Figure → its values in a run, without what began in its warm-up."""
    from_us = run.start_us + run.results.warm_up_us
    messages = run.messages[run.messages["sent_us"] >= from_us]
    shown = messages[messages["shown_us"].notna()]
    latency = shown["shown_us"] - shown["sent_us"]
    once = messages.drop_duplicates("message_id")
    acked = once[once["acked_us"].notna()]
    connections = run.connections[run.connections["auth_us"].notna()]
    connecting = connections[connections["start_us"] >= from_us]
    reconnecting = run.results.metrics.get("reconnect_time_s", Histogram())
    found: dict[str, Any] = {
        "delivery_latency_ms": latency,
        "delivery_latency_ms.push": latency[shown["via"] == "push"],
        "delivery_latency_ms.fetch": latency[shown["via"] == "fetch"],
        "ack_latency_ms": acked["acked_us"] - acked["sent_us"],
        "reconnect_time_s": [value for value, count in reconnecting.items() for _ in range(count)],
        "connect_time_ms": connecting["auth_us"] - connecting["start_us"],
    }
    return {figure.name: sorted(int(value) / figure.scale for value in found[figure.name]) for figure in FIGURES}


def agree(a: Sequence[Run], b: Sequence[Run], tolerance: float) -> Report:
    """Compare two sides, the runs of each pooled."""
    pooled: list[dict[str, list[float]]] = []
    for side in (a, b):
        found: dict[str, list[float]] = {figure.name: [] for figure in FIGURES}
        for run in side:
            for name, values in values_of(run).items():
                found[name] += values
        pooled.append({name: sorted(values) for name, values in found.items()})
    mine, theirs = ([run.summary["counts"] for run in side] for side in (a, b))
    names = dict.fromkeys(name for counts in (*mine, *theirs) for name in counts)
    rows = [(name, _mean(name, mine), _mean(name, theirs)) for name in names]
    return Report(
        a=[_label(run) for run in a],
        b=[_label(run) for run in b],
        tolerance=tolerance,
        agreements=[
            agreement(figure, pooled[0][figure.name], pooled[1][figure.name], tolerance)
            for figure in FIGURES
            if pooled[0][figure.name] or pooled[1][figure.name]
        ],
        counts=[row for row in rows if row[1] or row[2]],
    )


def _mean(name: str, counts: Sequence[dict[str, int]]) -> int | None:
    values = [one[name] for one in counts if name in one]
    return round(sum(values) / len(values)) if values else None


def _label(run: Run) -> str:
    where = Path(run.folder) if run.folder is not None else Path(run.results.name)
    return f"{where} (seed {run.results.seed})"
