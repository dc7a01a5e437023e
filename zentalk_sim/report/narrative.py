"""What happened in a run, in a few sentences of figures, and what the model takes for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zentalk_sim.report.notes import early_faults, silence
from zentalk_sim.report.summary import time_words

if TYPE_CHECKING:
    from zentalk_sim.report.results import Results

ASSUMPTIONS: tuple[str, ...] = (
    "Relay and clients run the protocol core that the mock relay runs too; what they decide is not a model of it.",
    "The network is TCP: a frame is never lost singly and never overtakes another. Loss shows as delay, a dead path "
    "as silence until a heartbeat or a reset.",
    "Every connection has its link to itself: several connections do not compete for one bottleneck, and congestion "
    "control beyond the initial window is not modelled.",
    "CPU times of TLS, authentication and frames are constants of the experiment; of a relay node's memory its "
    "connections count alone, and disks and garbage collection are not modelled.",
    "The nodes of a cluster share one store that does not fail by itself.",
    "Users act independently of each other: a message does not make its reader write one.",
)
"""What every run takes for granted; `docs/` says more."""


def what_happened(results: Results, summary: Mapping[str, Any]) -> list[str]:
    """Sentences with a run's main figures, from its beginning to its losses. Plain text, not escaped."""
    counts, metrics = results.counts, summary["metrics"]
    sentences = [
        _connecting(results),
        *_faults(results),
        early_faults(results),
        _latency(metrics.get("reconnect_time_s"), "lost connections", "back", "s"),
        silence(results) or _messages(counts),
        _latency(metrics.get("delivery_latency_ms"), "copies", "shown", "ms"),
    ]
    dropped = {n: c for n, c in counts.items() if n.startswith("copies.dropped.") and c}
    if dropped:
        causes = ", ".join(f"{n.rpartition('.')[2].replace('_', ' ')} {dropped[n]:,}" for n in sorted(dropped))
        sentences.append(f"The relay dropped {sum(dropped.values()):,} copies: {causes}.")
    if counts.get("clients.gave_up"):
        sentences.append(f"{counts['clients.gave_up']:,} times a device gave up connecting.")
    return [s for s in sentences if s]


def _connecting(results: Results) -> str:
    counts = results.counts
    population = results.experiment.get("population")
    devices = population.get("devices") if isinstance(population, Mapping) else None
    who = f"{devices:,} devices" if isinstance(devices, int) else "devices"
    attempts, good = counts.get("connections.attempted", 0), counts.get("connections.authenticated", 0)
    simulated = time_words(results.simulated_us / 1_000_000, "s")
    connecting = f"tried {attempts:,} times to connect and were authenticated {good:,} times"
    return f"In {simulated} of {results.time_called}, {who} {connecting}."


def _faults(results: Results) -> list[str]:
    if not results.faults:
        return []
    if len(results.faults) > 4:
        return [f"{len(results.faults):,} faults struck; they are listed below."]
    parts = []
    for fault in results.faults:
        at = time_words((fault.start_us - results.start_us) / 1_000_000, "s")
        length = "" if fault.end_us is None else f" for {time_words((fault.end_us - fault.start_us) / 1_000_000, 's')}"
        parts.append(f"{fault.label} at {at}" + (length if fault.end_us != fault.start_us else ""))
    return [f"Faults: {'; '.join(parts)}."]


def _messages(counts: Mapping[str, int]) -> str:
    parts = [f"{counts.get('messages.acked', 0):,} were acknowledged"]
    for name, words in (
        ("messages.rejected", "rejected by the client itself" + _reasons(counts)),
        ("messages.failed", "given up"),
        ("messages.unacked", "still waiting at the end"),
    ):
        if counts.get(name):
            parts.append(f"{counts[name]:,} {words}")
    return f"Of {counts['messages.sent']:,} messages sent, {', '.join(parts)}."


_REASONS = (("queue_full", "its queue full"), ("too_large", "too large for a frame"))


def _reasons(counts: Mapping[str, int]) -> str:
    """Why clients rejected messages: one reason, or each with its figure; empty where the run does not tell."""
    found = [(counts.get(f"messages.rejected.{reason}", 0), words) for reason, words in _REASONS]
    found = [(count, words) for count, words in found if count]
    if len(found) == 1:
        return f" ({found[0][1]})"
    return f" ({', '.join(f'{count:,} {words}' for count, words in found)})" if found else ""


def _latency(entry: Mapping[str, Any] | None, things: str, done: str, unit: str) -> str:
    if not entry:
        return ""
    waiting = entry.get("censored") or 0
    left = f"; {waiting:,} {'was' if waiting == 1 else 'were'} not {done} at the end" if waiting else ""
    if not entry["count"]:
        return f"No {things} were {done}{left}." if waiting else ""
    return (
        f"Of the {entry['count']:,} {things} that were {done}, half took at most "
        f"{time_words(entry['p50'], unit)}, 99 % at most {time_words(entry['p99'], unit)}, the slowest "
        f"{time_words(entry['max'], unit)}{left}."
    )
