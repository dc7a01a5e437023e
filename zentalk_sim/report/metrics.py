"""How metrics are shown: their titles, their units, and the figures that stand for a histogram.

Definitions are the catalogue's (``zentalk_sim.experiment.metrics``); nothing is defined here a second time.
A metric of time is recorded in integer microseconds and reported in the unit its name ends in. A split of a metric
carries a suffix (``delivery_latency_ms.push``) and shares its definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from zentalk_sim.experiment.metrics import DISTRIBUTIONS, STATISTICS, Metric
from zentalk_sim.report.histogram import Histogram

__all__ = ["METRICS", "STATISTICS", "TITLES", "Unit", "metric_order", "statistics", "title_of", "unit_of"]


class Unit(Struct, frozen=True):
    """How a histogram's integers are reported: divided by ``scale``, followed by ``name``."""

    name: str
    scale: int = 1


MILLISECONDS = Unit("ms", 1_000)
SECONDS = Unit("s", 1_000_000)
MICROSECONDS = Unit("µs")
BYTES = Unit("bytes")
PLAIN = Unit("")


TITLES = {
    "delivery_latency_ms": "Delivery latency",
    "ack_latency_ms": "Acknowledgement latency",
    "reconnect_time_s": "Reconnect time",
    "rtt_ms": "Round trip",
    "half_open_s": "Half-open at the relay",
    "queue_depth": "Queue depth",
}
"""What tables and pictures call the metrics, in the order they are shown."""

METRICS: dict[str, Metric] = {metric.name: metric for metric in DISTRIBUTIONS}
"""The catalogue's metrics and splits by name."""

_UNITS = {"ms": MILLISECONDS, "s": SECONDS, "us": MICROSECONDS, "bytes": BYTES}
_SPLITS = ("", "push", "fetch")
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def title_of(name: str) -> str:
    """What a metric is called; a split as its whole, a metric without a title by its name."""
    return TITLES.get(name.partition(".")[0], name)


def unit_of(name: str) -> Unit:
    """A metric's unit: what its name, or that of the whole it is a split of, ends in; none for a plain number."""
    return _UNITS.get(name.partition(".")[0].rpartition("_")[2], PLAIN)


def statistics(histogram: Histogram, unit: Unit, censored: int | None = None) -> dict[str, Any]:
    """A metric's figures in its unit; None where nothing was recorded. ``censored`` is added if given."""
    figures: dict[str, Any] = {"count": histogram.count, "mean": None}
    if histogram.count:
        figures["mean"] = round(histogram.sum / (histogram.count * unit.scale), 6)
    for name, q in _QUANTILES.items():
        figures[name] = _scaled(histogram.quantile(q), unit)
    figures["max"] = _scaled(histogram.max, unit)
    if censored is not None:
        figures["censored"] = censored
    return figures


def _scaled(value: int | None, unit: Unit) -> int | float | None:
    if value is None or unit.scale == 1:
        return value
    return value / unit.scale


def metric_order(names: Mapping[str, Any]) -> list[str]:
    """Names in the order they are shown: the known ones as in ``TITLES``, each before its splits, then the others."""
    known = list(TITLES)

    def key(name: str) -> tuple[int, str, int, str]:
        base, _, split = name.partition(".")
        place = _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)
        return (known.index(base) if base in TITLES else len(known), base, place, split)

    return sorted(names, key=key)
