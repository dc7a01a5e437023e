"""What the pictures show, read from a run's tables batch by batch, so that memory does not grow with the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from zentalk_sim.report.histogram import Histogram
from zentalk_sim.trace.tables import CONNECTIONS, TIMESERIES, read_batches

if TYPE_CHECKING:
    from zentalk_sim.report.results import Results

MAX_BINS = 600
_BIN_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


class Series(Struct):
    """A metric over time: seconds from the start, and values, per node and for the whole (key ``""``)."""

    at_s: dict[str, list[float]]
    values: dict[str, list[float]]


class Attempts(Struct):
    """Attempts to connect per bin of ``width_s`` seconds, by whether they ended in AUTH_SUCCESS."""

    width_s: int
    authenticated: list[int]
    others: list[int]


class Cause(Struct, frozen=True):
    """A count of what went wrong; ``family`` is one of ``FAMILIES``."""

    label: str
    count: int
    family: str


def read_series(results: Results, folder: Path, metric: str) -> Series:
    """A metric of the time series. Where no sample stands for the whole cluster, the nodes are added up."""
    return read_all_series(results, folder, (metric,))[0]


def read_all_series(results: Results, folder: Path, metrics: Sequence[str]) -> list[Series]:
    """Several metrics of the time series, the table being read once; see ``read_series``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    at: dict[str, dict[str, list[float]]] = {metric: {} for metric in metrics}
    values: dict[str, dict[str, list[float]]] = {metric: {} for metric in metrics}
    wanted = pa.array(metrics)
    columns = ("t_us", "metric", "node", "value")
    for batch in read_batches(folder / TIMESERIES.file_name, list(columns)):
        kept = batch.filter(pc.is_in(batch.column("metric"), value_set=wanted))
        rows = (kept.column(name).to_pylist() for name in columns)
        for t_us, metric, node, value in zip(*rows, strict=True):
            at[metric].setdefault(node or "", []).append((t_us - results.start_us) / 1_000_000)
            values[metric].setdefault(node or "", []).append(value)
    return [_series(at[metric], values[metric]) for metric in metrics]


def _series(at: dict[str, list[float]], values: dict[str, list[float]]) -> Series:
    if at and "" not in at:
        at[""], values[""] = _added_up(at, values)
    return Series({node: at[node] for node in sorted(at)}, {node: values[node] for node in sorted(at)})


def _added_up(at: dict[str, list[float]], values: dict[str, list[float]]) -> tuple[list[float], list[float]]:
    """The sum over nodes at each instant at which any was sampled; a node counts as last sampled."""
    samples = sorted((t, node, v) for node in at for t, v in zip(at[node], values[node], strict=True))
    last: dict[str, float] = {}
    times: list[float] = []
    sums: list[float] = []
    for t, node, value in samples:
        last[node] = value
        if times and times[-1] == t:
            sums[-1] = sum(last.values())
        else:
            times.append(t)
            sums.append(sum(last.values()))
    return times, sums


def read_attempts(results: Results, folder: Path) -> Attempts:
    """Attempts per second over the run, from the table of connections."""
    import numpy as np
    import pyarrow.compute as pc

    seconds = max(1, -(-results.simulated_us // 1_000_000))
    width = next((w for w in _BIN_S if seconds <= w * MAX_BINS), -(-seconds // MAX_BINS))
    bins = -(-seconds // width)
    both = [np.zeros(bins, dtype=np.int64), np.zeros(bins, dtype=np.int64)]
    for batch in read_batches(folder / CONNECTIONS.file_name, ["start_us", "auth_us"]):
        start = batch.column("start_us").to_numpy(zero_copy_only=False)
        authenticated = pc.is_valid(batch.column("auth_us")).to_numpy(zero_copy_only=False)
        index = np.clip((start - results.start_us) // (width * 1_000_000), 0, bins - 1)
        for which, mask in enumerate((authenticated, ~authenticated)):
            both[which] += np.bincount(index[mask], minlength=bins)
    return Attempts(width, both[0].tolist(), both[1].tolist())


def cdf(histogram: Histogram, scale: int, censored: int = 0) -> tuple[list[float], list[float]]:
    """Points of the distribution in the metric's unit, and its share in per cent of all, the censored among them."""
    total = histogram.count + censored
    x: list[float] = []
    y: list[float] = []
    seen = 0
    for value, number in histogram.items():
        seen += number
        x.append(value / scale)
        y.append(100.0 * seen / total)
    return x, y


def causes(counts: dict[str, int]) -> list[Cause]:
    """Drops, errors and closes by cause, the most frequent first within its family; those that are zero left out.

    Within a family a fact is counted once. How connections ended makes two: the device's view, and the relay's.
    """
    found = []
    once = _each_once(counts)
    for name in sorted(once):
        entry = _cause(name)
        if entry is not None and once[name] > 0:
            found.append(Cause(entry[0], once[name], entry[1]))
    return sorted(found, key=lambda c: (FAMILIES.index(c.family), -c.count, c.label))


def _each_once(counts: dict[str, int]) -> dict[str, int]:
    """The counts, without what one of them says of a fact that another says more closely."""
    once = dict(counts)
    for whole, parts in (
        ("messages.rejected", [name for name in counts if name.startswith("messages.rejected.")]),
        ("messages.failed", ["messages.failed_but_stored"]),
        # The ERROR frame that answers what a limit refused; a limit of connecting answers by closing.
        (
            "errors.RATE_LIMITED",
            [n for n in counts if n.startswith("rate_limited.") and not n.startswith(_LIMITS_OF_CONNECTING)],
        ),
        ("connections.slow_consumer", ["connections.lost.slow_consumer"]),
    ):
        if whole in once:
            once[whole] -= min(once[whole], sum(counts.get(part, 0) for part in parts))
    return once


FAMILIES = ("messages", "connections", "closes", "losses")
"""Messages and frames; connections that did not come about, and what befell others; their ends as devices saw them;
the same as the relay saw them."""
_LIMITS_OF_CONNECTING = ("rate_limited.connections_per_", "rate_limited.auth_attempts")


_MESSAGE_CAUSES = {
    "messages.rejected": "message rejected by its client",
    "messages.rejected.queue_full": "message rejected (queue full)",
    "messages.rejected.too_large": "message rejected (too large for a frame)",
    "messages.failed": "message failed (given up)",
    "messages.failed_but_stored": "message given up, yet stored",
    "messages.held_dropped": "message held back, then dropped",
    "receipts.dropped": "receipt dropped",
    "receipts.refused": "receipt refused",
    "typing.dropped": "typing notice dropped",
    "sync.request_failed": "request of a fetch failed",
    "sync.abandoned": "fetch abandoned",
}
_CONNECTION_CAUSES = {"clients.gave_up": "device gave up connecting", "heartbeats.missed": "heartbeat missed"}
_NORMAL = ("connections.attempted", "connections.authenticated", "connections.closed.1000")
_PREFIXES = (
    ("copies.dropped.", "copy dropped: ", "messages"),
    ("rate_limited.connections_per_", "rate-limited: connections per ", "connections"),
    ("rate_limited.auth_attempts", "rate-limited: auth attempts", "connections"),
    ("rate_limited.", "rate-limited: ", "messages"),
    ("errors.", "error: ", "messages"),
    ("client.connections.", "dropped by the device: ", "connections"),
    ("connections.closed.", "connection closed: ", "closes"),
    ("connections.refused.", "connection refused: ", "connections"),
    ("connections.lost.", "connection lost: ", "losses"),
    ("connections.", "connection: ", "connections"),
)


_CODES = {
    "1001": "relay stops",
    "1002": "protocol error",
    "1006": "without a close",
    "1008": "policy",
    "1009": "too large",
    "1011": "internal error",
    "4000": "authentication",
    "4001": "token expired",
    "4002": "rate limit",
    "4003": "banned",
    "4004": "too many devices",
}
"""What a close code says, in two or three words."""


def _cause(name: str) -> tuple[str, str] | None:
    if name in _MESSAGE_CAUSES:
        return _MESSAGE_CAUSES[name], "messages"
    if name in _CONNECTION_CAUSES:
        return _CONNECTION_CAUSES[name], "connections"
    for prefix, words, family in _PREFIXES:
        if name.startswith(prefix) and name not in _NORMAL:
            cause = name.removeprefix(prefix)
            # Error codes are written as the protocol writes them.
            cause = cause if prefix == "errors." else cause.replace("_", " ")
            meaning = _CODES.get(cause, "") if prefix == "connections.closed." else ""
            return words + cause + (f" ({meaning})" if meaning else ""), family
    return None


def thin(x: list[float], y: list[float], most: int = 2000) -> tuple[list[float], list[float]]:
    """At most about ``most`` points of a line, keeping the least and greatest of each stretch left out."""
    if len(x) <= most:
        return x, y
    step = -(-2 * len(x) // most)
    kept: list[int] = []
    for start in range(0, len(x), step):
        stretch = range(start, min(start + step, len(x)))
        kept += sorted({min(stretch, key=y.__getitem__), max(stretch, key=y.__getitem__)})
    return [x[i] for i in kept], [y[i] for i in kept]
