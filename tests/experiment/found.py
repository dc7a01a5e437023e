"""What the library's experiments say they found, figure by figure: told where, measured how, and of what value.

A change of behaviour makes these stale. ``python -m tests.experiment.found [NAME …]`` runs the experiments at their
full size, each as often as it says, and prints what each figure is now (seconds to a minute each; ``million`` is not
among them, since it takes an hour).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from zentalk_sim.experiment import loader
from zentalk_sim.experiment.metrics import BY_NAME
from zentalk_sim.experiment.runner import simulate
from zentalk_sim.model.world import START_US
from zentalk_sim.trace.tables import SCHEMAS, TableWriter

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


class Figure(NamedTuple):
    """``told`` as the expectation has it, of ``measure``: a count, ``metric.statistic``, or one of ``DERIVED``.

    ``value`` is in the metric's unit, to four figures.
    """

    told: str
    measure: str
    value: float


class Finding(NamedTuple):
    """A run of an experiment under some settings, and its figures."""

    experiment: str
    settings: tuple[str, ...]
    figures: tuple[Figure, ...]

    @property
    def id(self) -> str:
        return " ".join((self.experiment, *self.settings))


DERIVED = ("attempts_per_s", "waiting")
"""With `@s` behind: the most attempts in one second from then on; the most pieces of work waiting at all nodes."""


WEAK = ("relay.ingress.workers=1", "relay.ingress.costs.frame=30ms")


def _jitter(policy: str, p50: float, p99: float, attempts: int, *more: Figure) -> Finding:
    first = Figure(f"{p50:.1f} s", "reconnect_time_s.p50", p50), Figure(f"{p99:.1f} s", "reconnect_time_s.p99", p99)
    rest = Figure(f"{attempts}", "attempts_per_s@140", attempts), *more
    return Finding("jitter_study", (f"client.backoff.policy={policy}",), (*first, *rest))


def _capacity(devices: int, told: str, p99_ms: float) -> Finding:
    return Finding("capacity", (f"population.devices={devices}",), (Figure(told, "delivery_latency_ms.p99", p99_ms),))


FOUND: tuple[Finding, ...] = (
    _jitter(
        "spec",
        34.21,
        36.83,
        775,
        Figure("2 000", "attempts_per_s@121", 2000),
        Figure("1 980", "attempts_per_s@122", 1980),
        Figure("1 965", "attempts_per_s@127", 1965),
        Figure("1 302", "attempts_per_s@128", 1302),
        Figure("397 pieces", "waiting@60", 397),
    ),
    _jitter("server_directed", 29.69, 38.67, 138, Figure("no queue", "waiting@140", 0)),
    _jitter("equal", 24.44, 47.58, 270),
    _jitter("full", 28.11, 47.32, 176),
    _jitter("decorrelated", 25.10, 48.37, 241, Figure("one device", "clients.gave_up", 1)),
    Finding(
        "jitter_study",
        ("client.backoff.policy=none",),
        (Figure("19 229", "attempts_per_s@60", 19229), Figure("2 000 devices", "clients.gave_up", 2000)),
    ),
    Finding(
        "bus_outage",
        (),
        (
            Figure("5 449", "bus.lost", 5449),
            Figure("2 201", "errors.SERVICE_UNAVAILABLE", 2201),
            Figure("33.7 s", "delivery_latency_ms.max", 33680),
        ),
    ),
    Finding("bus_outage", ("faults.1.for=45s",), (Figure("325", "messages.failed", 325),)),
    Finding(
        "clock_skew",
        ("client.trust_server_time=false",),
        (Figure("53 of", "clients.gave_up", 53), Figure("488", "errors.INVALID_MESSAGE", 488)),
    ),
    Finding(
        "half_open_detection",
        (),
        (
            Figure("104 s", "half_open_s.p50", 104.1),
            Figure("120 s", "half_open_s.max", 120.0),
            Figure("199 s", "reconnect_time_s.p50", 198.7),
            Figure("38 messages", "messages.failed", 38),
        ),
    ),
    Finding(
        "lossy_mobile",
        (),
        (
            Figure("0.2 s", "delivery_latency_ms.p50", 164.4),
            Figure("0.7 s", "delivery_latency_ms.p90", 698.4),
            Figure("23 s", "delivery_latency_ms.max", 23010),
            Figure("3 s", "reconnect_time_s.p50", 3.105),
            Figure("6 copies", "messages.duplicate", 6),
        ),
    ),
    Finding(
        "office_nat",
        (),
        (
            Figure("80 of", "connections.authenticated", 80),
            Figure("6 500", "connections.attempted", 6543),
            Figure("952", "copies.pending", 952),
            Figure("1 214", "copies.stored", 1214),
        ),
    ),
    Finding(
        "presence_fanout",
        (),
        (
            Figure("103 000", "signals.presence", 103223),
            Figure("17 800", "copies.stored", 17808),
            Figure("1 340", "rate_limited.presence", 1344),
            Figure("40 ms", "delivery_latency_ms.p50", 40.32),
            Figure("0.3 s", "delivery_latency_ms.p99", 295.9),
        ),
    ),
    Finding(
        "rate_limit_burst",
        (),
        (
            Figure("0.1 s", "ack_latency_ms.p50", 127.2),
            Figure("28 s", "ack_latency_ms.p90", 27980),
            Figure("14 000", "rate_limited.send_message", 14210),
            Figure("31 000", "messages.sent", 31172),
            Figure("34 messages", "messages.rejected", 34),
        ),
    ),
    Finding(
        "reconnect_storm",
        (),
        (
            Figure("1.3 s", "reconnect_time_s.p50", 1.298),
            Figure("1.6 s", "reconnect_time_s.p99", 1.634),
            Figure("4.4 s", "reconnect_time_s.max", 4.428),
            Figure("0.3 s", "delivery_latency_ms.p99", 295.9),
            Figure("28 of", "delivery_latency_ms.fetch.count", 28),
            Figure("19 700", "delivery_latency_ms.count", 19715),
        ),
    ),
    Finding(
        "rolling_deploy",
        (),
        (
            Figure("2 002", "connections.closed.1001", 2002),
            Figure("1.5 s", "reconnect_time_s.p50", 1.470),
            Figure("1.9 s", "reconnect_time_s.p99", 1.896),
        ),
    ),
    Finding(
        "offline_backlog",
        (),
        (Figure("5 045", "copies.dropped.overflow", 5045), Figure("164", "copies.dropped.expired", 164)),
    ),
    Finding("offline_backlog", ("client.ack_by=frame",), (Figure("13 271", "messages.duplicate", 13271),)),
    Finding(
        "offline_backlog",
        ("workload.push={wake_probability: 2%, delay: 10s, stay: 2m}",),
        (Figure("3 copies", "copies.dropped.expired", 3),),
    ),
    Finding("token_cliff", (), (Figure("nobody closed", "connections.closed.4001", 0),)),
    Finding(
        "token_cliff",
        ("client.token_refresh=never",),
        (Figure("500", "connections.closed.4001", 500), Figure("0.2 s", "reconnect_time_s.p50", 0.2309)),
    ),
    Finding("token_cliff", ("client.token_refresh=window_opens", *WEAK), (Figure("644", "queue_depth.max", 644),)),
    Finding("token_cliff", WEAK, (Figure("164", "queue_depth.max", 164),)),
    _capacity(1000, "11 ms", 10.78),
    _capacity(1400, "17", 16.83),
    _capacity(1800, "39", 38.78),
    _capacity(2000, "86", 85.76),
    _capacity(2100, "707", 706.6),
    _capacity(2200, "9.3 s", 9339),
    Finding(
        "capacity",
        ("population.devices=2300",),
        (
            Figure("119 000", "messages.resent", 119358),
            Figure("96 000", "messages.sent", 96249),
            Figure("7 000", "messages.failed", 6961),
        ),
    ),
)


def four_figures(value: float) -> float:
    """``value`` to four figures."""
    return float(f"{value:.4g}") if abs(value) < 10_000 else round(value, 3 - len(str(int(value))) + 1)


def agrees(told: str, measure: str, value: float) -> bool:
    """Whether ``told`` is ``value`` in words or rounded to the digits it is told to, in its own unit."""
    words = {"no": 0, "nobody": 0, "one": 1}
    if told.split()[0] in words:
        return value == words[told.split()[0]]
    found = re.match(r"(\d+(?: \d{3})*)(?:\.(\d+))? ?(ms|s)?\b", told)
    assert found is not None, told
    whole, decimals, unit = found[1].replace(" ", ""), found[2] or "", found[3]
    own = BY_NAME[measure.rpartition(".")[0]].unit if unit else ""
    scale = {("s", "ms"): 1000, ("ms", "s"): 0.001}.get((unit, own), 1.0)
    zeros = 0 if decimals else len(whole) - len(whole.rstrip("0"))
    step = 10.0 ** (zeros - len(decimals))
    return abs(value / scale - float(f"{whole}.{decimals or 0}")) <= step / 2 * 1.001


def measured(finding: Finding) -> dict[str, float]:
    """Run it at full size: its figures, by measure."""
    experiment = loader.load(FOLDER / f"{finding.experiment}.yaml", list(finding.settings))
    tables = {schema.name: TableWriter(schema, None) for schema in SCHEMAS}
    results = simulate(experiment, tables)
    for table in tables.values():
        table.close()
    from zentalk_sim.report.run import Run

    run = Run(results, None, tables)
    return {figure.measure: four_figures(_value(run, figure.measure)) for figure in finding.figures}


def _value(run: Any, measure: str) -> float:
    name, at, since = measure.partition("@")
    if at and name == "attempts_per_s":
        seconds = (run.connections["start_us"] - START_US) // 1_000_000
        return float(seconds[seconds >= int(since)].value_counts().max())
    if at and name == "waiting":
        rows = run.timeseries[run.timeseries["metric"] == "queue_depth"]
        rows = rows[rows["t_us"] >= START_US + int(since) * 1_000_000]
        return float(rows.groupby("t_us")["value"].sum().max())
    metric, _, statistic = measure.rpartition(".")
    if metric in run.summary["metrics"]:
        return float(run.summary["metrics"][metric][statistic])
    return float(run.summary["counts"].get(measure, 0))


def main(names: list[str]) -> None:
    """Print what each figure is now."""
    for finding in FOUND:
        if not names or finding.experiment in names:
            now = measured(finding)
            for figure in finding.figures:
                mark = "" if now[figure.measure] == four_figures(figure.value) else f"  NOW {now[figure.measure]:g}"
                print(f"{finding.id}: {figure.told} ({figure.measure} {figure.value:g}){mark}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
