"""Bounds: how they read, and when they hold."""

from __future__ import annotations

import pytest

from zentalk_sim.experiment.thresholds import ThresholdError, evaluate, parse


@pytest.mark.parametrize(
    ("metric", "text", "statistic", "operator", "value"),
    [
        ("reconnect_time_s", "p99 < 5s", "p99", "<", 5.0),
        ("reconnect_time_s", "p50<=1500ms", "p50", "<=", 1.5),
        ("delivery_latency_ms", "mean < 0.2s", "mean", "<", 200.0),
        ("delivery_latency_ms.push", "max > 250us", "max", ">", 0.25),
        ("delivery_latency_ms", "censored = 0", "censored", "==", 0.0),
        ("rtt_ms", "count >= 1e3", "count", ">=", 1000.0),
        ("queue_depth", "p999 ≤ 12.5", "p999", "<=", 12.5),
        ("messages.failed", "== 0", "value", "==", 0.0),
        ("messages.failed", "value != 3", "value", "!=", 3.0),
        ("connections.closed.1006", "< 10", "value", "<", 10.0),
        ("rate_limited.send_message", "= 0", "value", "==", 0.0),
    ],
)
def test_a_bound_reads_in_the_metrics_unit(metric: str, text: str, statistic: str, operator: str, value: float) -> None:
    bound = parse(metric, text)
    assert (bound.statistic, bound.operator, bound.value) == (statistic, operator, value)


@pytest.mark.parametrize(
    ("metric", "text", "complaint"),
    [
        ("latency", "p99 < 5s", "unknown metric `latency`"),
        ("deliverylatency_ms", "p99 < 5s", "did you mean `delivery_latency_ms`?"),
        ("messages.fail", "== 0", "did you mean `messages.failed`?"),
        ("connections.closed.42", "== 0", "unknown metric `connections.closed.42`; did you mean `connections.closed."),
        ("rtt_ms", "p95 < 5s", "unknown statistic `p95` of `rtt_ms`; did you mean `p99`?"),
        ("rtt_ms", "censored == 0", "unknown statistic `censored` of `rtt_ms`"),
        ("rtt_ms", "< 5s", "names no statistic of `rtt_ms`; write one such as `p99 < 5s`"),
        ("rtt_ms", "p99 5s", "is no bound on `rtt_ms`"),
        ("rtt_ms", "p99 <", "is no bound on `rtt_ms`"),
        ("rtt_ms", "p99 <> 5s", "`<>` is no comparison; use one of <, <=, >, >=, ==, !="),
        ("rtt_ms", "p99 < 5", "`5` needs a unit of time"),
        ("rtt_ms", "p99 < 1.2.3", "`1.2.3` is no duration"),
        ("rtt_ms", "p99 < .", "`.` is no duration"),
        ("rtt_ms", "p99 < .5", "`.5` needs a unit of time"),
        ("rtt_ms", "p99 < 5KiB", "`KiB` is no unit of time"),
        ("rtt_ms", "p99 < -5s", "is negative"),
        ("rtt_ms", "count < 5s", "`5s` is no number"),
        ("messages.failed", "p99 < 3", "unknown statistic `p99` of `messages.failed`"),
        ("messages.failed", "== none", "`none` is no number"),
        ("messages.failed", "== nan", "not a finite number"),
    ],
)
def test_what_is_no_bound_is_refused_with_its_reason(metric: str, text: str, complaint: str) -> None:
    with pytest.raises(ThresholdError) as caught:
        parse(metric, text)
    assert complaint in str(caught.value)


METRICS = {
    "rtt_ms": {"count": 3, "p99": 40.0, "mean": 10},
    "reconnect_time_s": {"count": 0, "p50": None, "censored": 2},
}
COUNTS = {"messages.failed": 2}


@pytest.mark.parametrize(
    ("metric", "text", "held", "value"),
    [
        ("rtt_ms", "p99 < 41ms", True, 40.0),
        ("rtt_ms", "p99 < 40ms", False, 40.0),
        ("rtt_ms", "p99 <= 40ms", True, 40.0),
        ("rtt_ms", "count == 3", True, 3),
        ("reconnect_time_s", "censored == 0", False, 2),
        ("messages.failed", "== 2", True, 2),
        ("messages.failed", "< 2", False, 2),
        ("messages.failed", "!= 2", False, 2),
        ("messages.failed", ">= 2", True, 2),
        ("messages.failed", "> 2", False, 2),
        # What a run does not report was counted zero times.
        ("clients.gave_up", "== 0", True, 0),
        # Without a single value nothing was shown, so no bound on a quantile holds.
        ("reconnect_time_s", "p50 < 5s", False, None),
        ("ack_latency_ms", "p50 < 5s", False, None),
        ("ack_latency_ms", "count == 0", True, 0),
    ],
)
def test_a_bound_holds_or_not(metric: str, text: str, held: bool, value: float | None) -> None:
    (verdict,) = evaluate([parse(metric, text)], METRICS, COUNTS)
    assert (verdict.id, verdict.held, verdict.value) == (f"{metric}: {text}", held, value)
