"""Every metric of the catalogue has a title, and its figures come in its unit."""

from __future__ import annotations

import pytest

from zentalk_sim.experiment.metrics import DISTRIBUTIONS, Metric
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.metrics import STATISTICS, Unit, metric_order, statistics, title_of, unit_of


@pytest.mark.parametrize("metric", DISTRIBUTIONS, ids=lambda metric: metric.name)
def test_every_metric_of_the_catalogue_has_a_title_and_its_unit(metric: Metric) -> None:
    assert title_of(metric.name) != metric.name, "a metric is shown by a title"
    assert unit_of(metric.name).name == ("" if metric.unit == "1" else metric.unit)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("delivery_latency_ms.fetch", Unit("ms", 1_000)),
        ("reconnect_time_s", Unit("s", 1_000_000)),
        ("outage_s.lte", Unit("s", 1_000_000)),
        ("frame_cost_us", Unit("µs")),
        ("body_bytes", Unit("bytes")),
        ("queue_depth", Unit("")),
        ("anything", Unit("")),
    ],
)
def test_a_name_tells_its_unit(name: str, unit: Unit) -> None:
    assert unit_of(name) == unit


def test_statistics_are_in_the_metrics_unit() -> None:
    histogram = Histogram()
    for ms in range(1, 1001):
        histogram.record(ms * 1_000)
    found = statistics(histogram, Unit("ms", 1_000), censored=3)
    assert (found["count"], found["mean"], found["max"], found["censored"]) == (1000, 500.5, 1000, 3)
    assert [found[q] for q in ("p50", "p90", "p99", "p999")] == pytest.approx([500, 900, 990, 999], rel=0.005)
    assert set(found) == {*STATISTICS, "censored"}


def test_metrics_are_shown_in_a_fixed_order_each_before_its_splits() -> None:
    shuffled = dict.fromkeys(
        (
            "zeal",
            "reconnect_time_s",
            "delivery_latency_ms.fetch",
            "alpha",
            "delivery_latency_ms.push",
            "delivery_latency_ms",
        )
    )
    assert metric_order(shuffled) == [
        "delivery_latency_ms",
        "delivery_latency_ms.push",
        "delivery_latency_ms.fetch",
        "reconnect_time_s",
        "alpha",
        "zeal",
    ]
