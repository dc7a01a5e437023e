"""What the pictures of single messages and of a single device show: a few rows chosen from a run's tables."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, read_batches

if TYPE_CHECKING:
    from zentalk_sim.report.results import Results

STAGES = ("acked_us", "pushed_us", "shown_us", "received_us", "read_us")
"""Instants of a copy, in the order they are usually reached."""
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Of the copies that the metric of delivery latency is over, those that stand at these places by their latency."""
STATES = ("connected", "authenticating", "connecting", "waiting")


class Timeline(Struct, frozen=True):
    """One copy: its place among all by latency, how it came, and when it reached each stage, in µs after send()."""

    share: float
    via: str
    retries: int
    stages: dict[str, int]


class DeviceStates(Struct, frozen=True):
    """What one device was doing when: state → stretches (from, to), in µs of Unix time."""

    device: str
    attempts: int
    stretches: dict[str, list[tuple[int, int]]]


def read_timelines(results: Results, folder: Path) -> list[Timeline]:
    """Copies at chosen places of the distribution of latency, the fastest first; the same copy stands once.

    As in the metrics, messages of the warm-up are left out, and the quantile *q* of *n* is at rank ⌈*q·n*⌉.
    """
    import numpy as np
    import pyarrow.compute as pc

    parts = []
    for batch in read_batches(folder / MESSAGES.file_name, ["sent_us", "shown_us"]):
        latency = pc.fill_null(pc.subtract(batch.column("shown_us"), batch.column("sent_us")), -1)
        is_early = pc.less(batch.column("sent_us"), results.start_us + results.warm_up_us)
        latency = pc.if_else(is_early, -1, latency)
        parts.append(latency.to_numpy(zero_copy_only=False).astype(np.int64))
    latencies = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    order = np.argsort(latencies, kind="stable")
    order = order[int(np.count_nonzero(latencies < 0)) :]
    if not len(order):
        return []
    wanted: dict[int, float] = {}
    for share in SHARES:
        wanted.setdefault(int(order[rank_of(share, len(order)) - 1]), share)
    rows = _rows_at(folder, sorted(wanted))
    found = [_timeline(wanted[index], row) for index, row in rows.items()]
    return sorted(found, key=lambda timeline: timeline.share)


def rank_of(share: float, count: int) -> int:
    """The rank, from 1, of a quantile of ``count`` values, as ``Histogram.quantile`` has it."""
    return max(1, ceil(Fraction(repr(share)) * count))


def _rows_at(folder: Path, indices: list[int]) -> dict[int, dict[str, Any]]:
    columns = ["sent_us", *STAGES, "via", "retries"]
    rows: dict[int, dict[str, Any]] = {}
    first = 0
    for batch in read_batches(folder / MESSAGES.file_name, columns):
        for index in indices:
            if first <= index < first + batch.num_rows:
                rows[index] = batch.slice(index - first, 1).to_pylist()[0]
        first += batch.num_rows
    return rows


def _timeline(share: float, row: dict[str, Any]) -> Timeline:
    stages = {stage: row[stage] - row["sent_us"] for stage in STAGES if row[stage] is not None}
    return Timeline(share, row["via"] or "", row["retries"], stages)


def read_device_states(results: Results, folder: Path) -> DeviceStates | None:
    """The states of the device with the most attempts, the first of equals by its name; None without an attempt."""
    import pyarrow.compute as pc

    attempts: dict[str, int] = {}
    for batch in read_batches(folder / CONNECTIONS.file_name, ["device"]):
        for entry in pc.value_counts(batch.column("device")).to_pylist():
            attempts[entry["values"]] = attempts.get(entry["values"], 0) + entry["counts"]
    if not attempts:
        return None
    device = min(attempts, key=lambda name: (-attempts[name], name))
    rows: list[dict[str, Any]] = []
    for batch in read_batches(
        folder / CONNECTIONS.file_name, ["device", "start_us", "upgraded_us", "auth_us", "end_us"]
    ):
        rows += batch.filter(pc.equal(batch.column("device"), device)).to_pylist()
    rows.sort(key=lambda row: row["start_us"])
    return DeviceStates(device, len(rows), _stretches(rows, results.start_us + results.simulated_us))


def _stretches(rows: list[dict[str, Any]], end_us: int) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {state: [] for state in STATES}
    for position, row in enumerate(rows):
        over_us = end_us if row["end_us"] is None else row["end_us"]
        opened_us, good_us = row["upgraded_us"], row["auth_us"]
        found["connecting"].append((row["start_us"], over_us if opened_us is None else opened_us))
        if opened_us is not None:
            found["authenticating"].append((opened_us, over_us if good_us is None else good_us))
        if good_us is not None:
            found["connected"].append((good_us, over_us))
        next_us = rows[position + 1]["start_us"] if position + 1 < len(rows) else end_us
        if row["end_us"] is not None and next_us > over_us:
            found["waiting"].append((over_us, next_us))
    return found
