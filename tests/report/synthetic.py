"""A made-up run that looks like a real one: a storm after a node's crash, with messages before, in and after it.

Every figure comes from one seeded generator, so that the same arguments give the same run in any process. The
ledgers balance, the tables agree with the counts, and the histograms hold what the tables say.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.results import CheckResult, FaultSpan, Results, ThresholdResult
from zentalk_sim.trace.digest import Digest
from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, TIMESERIES, TableWriter

START_US = 1_767_225_600_000_000
SECOND = 1_000_000
SIMULATED_S = 240
CRASH_S, RESTART_S = 60, 90

Tables = dict[str, Any]
"""Writers by name, as keyword arguments of ``write_run``."""


class Storm:
    """Builds the run: ``results`` and ``tables`` (closed; files below ``folder``, or in memory without one)."""

    def __init__(self, *, devices: int = 2000, seed: int = 7, folder: Path | None = None, name: str = "storm") -> None:
        self.random = random.Random(seed)
        self.devices = devices
        self.tables: Tables = {
            s.name: TableWriter(s, folder / s.file_name if folder else None)
            for s in (MESSAGES, CONNECTIONS, TIMESERIES)
        }
        self.digest = Digest()
        self.changes: dict[tuple[int, str], int] = {}
        self.results = Results(
            name=name,
            description="Devices in conversation lose one of three relay nodes and come back.",
            question="How long does it take until 99 % of the devices are back after a node's crash?",
            expectation="About a minute: the heartbeat's patience, then the backoff's spread.",
            seed=seed,
            start_us=START_US,
            simulated_us=SIMULATED_S * SECOND,
            warm_up_us=20 * SECOND,
            experiment={"name": name, "population": {"devices": devices}, "relay": {"nodes": 3}},
            faults=[FaultSpan("crash node 1", START_US + CRASH_S * SECOND, START_US + RESTART_S * SECOND)],
            wall_s=3.21,
            events=123_456,
        )
        self._connect()
        self._messages()
        self._samples()
        self._finish()

    def _count(self, name: str, number: int = 1) -> None:
        self.results.counts[name] = self.results.counts.get(name, 0) + number

    def _record(self, metric: str, value_us: int) -> None:
        self.results.metrics.setdefault(metric, Histogram()).record(value_us)

    def _append(self, table: str, row: tuple[Any, ...]) -> None:
        self.tables[table].append(row)
        if table != "timeseries":
            self.digest.row(table, row)

    def _attempt(self, device: int, node: str, number: int, at_us: int, *, ends: tuple[int, int, str] | None) -> int:
        """An attempt that succeeds; returns the instant of its AUTH_SUCCESS."""
        tcp, tls = at_us + 40_000, at_us + 95_000
        auth = tls + int(self.random.lognormvariate(11.6, 0.5))
        end, code, cause = ends or (None, None, None)
        self._append(
            "connections",
            (f"user{device}/web", node, number, at_us, tcp, tls, tls + 45_000, auth, end, code, cause, number > 1),
        )
        self._count("connections.attempted")
        self._count("connections.authenticated")
        self._change(auth, node, 1)
        if end is not None:
            self._count(f"connections.closed.{code}")
            self._change(end, node, -1)
        return auth

    def _change(self, at_us: int, node: str, step: int) -> None:
        key = ((at_us - START_US) // SECOND + 1, node)
        self.changes[key] = self.changes.get(key, 0) + step

    def _connect(self) -> None:
        draw = self.random
        for device in range(self.devices):
            at = START_US + int(draw.uniform(0, 10 * SECOND))
            if device % 3 != 1:
                self._attempt(device, str(device % 3), 1, at, ends=None)
                continue
            lost = START_US + CRASH_S * SECOND + int(draw.uniform(5, 40) * SECOND)
            self._attempt(device, "1", 1, at, ends=(lost, 1006, "heartbeat"))
            retry, number = lost, 2
            while True:
                retry += int(draw.uniform(0.75, 1.25) * min(2 ** (number - 2), 30) * SECOND)
                if draw.random() < 0.35 or number > 6:
                    break
                self._append(
                    "connections",
                    (
                        f"user{device}/web",
                        "1",
                        number,
                        retry,
                        None,
                        None,
                        None,
                        None,
                        retry + SECOND,
                        1006,
                        "syn",
                        False,
                    ),
                )
                self._count("connections.attempted")
                number += 1
            if retry < START_US + (SIMULATED_S - 2) * SECOND:
                auth = self._attempt(device, "02"[device % 2], number, retry, ends=None)
                self._record("reconnect_time_s", auth - lost)
            else:
                self._count("clients.gave_up")

    def _messages(self) -> None:
        draw = self.random
        for number in range(self.devices * 4):
            sent = START_US + int(draw.uniform(12, SIMULATED_S - 0.05) * SECOND)
            acked = sent + int(draw.lognormvariate(11.3, 0.5))
            fetched = draw.random() < 0.12
            shown = acked + int(draw.lognormvariate(15.5, 1.0) if fetched else draw.lognormvariate(10.8, 0.6))
            over = shown >= START_US + SIMULATED_S * SECOND
            self._count("messages.sent")
            self._count("messages.acked")
            self._count("copies.stored")
            overflow = not over and draw.random() < 0.002
            self._count("copies.pending" if over else "copies.dropped.overflow" if overflow else "copies.confirmed")
            if overflow or over:
                shown_us = via = None
                self.results.censored["delivery_latency_ms"] = self.results.censored.get("delivery_latency_ms", 0) + 1
            else:
                shown_us, via = shown, "fetch" if fetched else "push"
                self._count("messages.shown")
                self._count("messages.delivered")
                self._record("delivery_latency_ms", shown - sent)
                self._record(f"delivery_latency_ms.{via}", shown - sent)
            self._record("ack_latency_ms", acked - sent)
            outcome = "pending" if over else "overflow" if overflow else "confirmed"
            users = f"user{draw.randrange(self.devices)}", f"user{draw.randrange(self.devices)}"
            row = (f"{number:08x}", *users, "web", 256, sent, acked, acked, shown_us, shown_us, None, outcome, via, 0)
            self._append("messages", row)

    def _samples(self) -> None:
        connected = dict.fromkeys("012", 0)
        for second in range(SIMULATED_S):
            for node in connected:
                connected[node] += self.changes.get((second, node), 0)
                at = START_US + second * SECOND
                self._append("timeseries", (at, "devices.connected", node, connected[node]))

    def _finish(self) -> None:
        results = self.results
        for name in ("messages.rejected", "messages.failed", "messages.unacked"):
            self._count(name, 0)
        self._count("rate_limited.send_message", 41)
        self.digest.counts(results.counts)
        results.digest = self.digest.hexdigest()
        worst = results.metrics["reconnect_time_s"].quantile(0.99) or 0
        results.thresholds = [
            ThresholdResult("reconnect_time_s: p99 < 60s", worst < 60 * SECOND, worst / SECOND),
            ThresholdResult("clients.gave_up: value == 0", not results.counts.get("clients.gave_up"), 0),
        ]
        results.checks = [CheckResult("ledgers", True, 0)]
        for table in self.tables.values():
            table.close()


def empty_run(name: str = "nothing") -> tuple[Results, Tables]:
    """A run in which nothing happened at all."""
    tables = {s.name: TableWriter(s, None) for s in (MESSAGES, CONNECTIONS, TIMESERIES)}
    digest = Digest()
    digest.counts({})
    results = Results(name=name, seed=1, start_us=START_US, simulated_us=10 * SECOND, digest=digest.hexdigest())
    return results, tables
