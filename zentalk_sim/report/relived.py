"""A recorded session beside the same actions lived again, both as their relay saw them: text and data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from zentalk_sim.report.summary import figure
from zentalk_sim.trace.relay_view import RelayView

_QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
_FIRST: Final = (
    ("messages.arrived", "messages that reached the relay"),
    ("messages.arrived_again", "of these sent again"),
    ("copies.stored", "copies stored"),
    ("copies.confirmed", "copies confirmed"),
    ("messages.read", "copies read"),
    ("connections.attempted", "upgrades"),
    ("connections.authenticated", "authenticated"),
    ("push.sent", "pushes"),
)
_FAULTS: Final = (
    ("copies.dropped.", "copies dropped, "),
    ("connections.refused.", "upgrades refused, "),
    ("connections.closed.", "closed by the relay, code "),
    ("connections.aborted.", "aborted by the relay, "),
    ("connections.lost.", "connections lost, "),
    ("errors.", "errors, "),
    ("rate_limited.", "rate-limited, "),
    ("heartbeats.missed", "heartbeats missed"),
    ("restarts", "restarts of the relay"),
)


def _timed(view: RelayView) -> list[tuple[str, str, list[float]]]:
    return [
        ("Arrival to confirmation", "ms", sorted(value / 1000 for value in view.delivery_us)),
        ("Arrival to acknowledgement", "ms", sorted(value / 1000 for value in view.ack_us)),
        ("Time without connection", "s", sorted(value / 1_000_000 for value in view.away_us)),
    ]


def _quantile(ordered: Sequence[float], q: float) -> float | None:
    return ordered[max(0, -int(-q * len(ordered) // 1) - 1)] if ordered else None


def rows(recorded: RelayView, lived: RelayView) -> list[tuple[str, float | int | None, float | int | None]]:
    """What is set side by side: words, and the figure of each."""
    found: list[tuple[str, float | int | None, float | int | None]] = []
    names = dict.fromkeys((*recorded.counts, *lived.counts))
    for name, words in _FIRST:
        found.append((words, recorded.counts.get(name, 0), lived.counts.get(name, 0)))
    for prefix, words in _FAULTS:
        for name in sorted(name for name in names if name.startswith(prefix)):
            text = words + name.removeprefix(prefix).replace("_", " ")
            found.append((text, recorded.counts.get(name, 0), lived.counts.get(name, 0)))
    for (title, unit, mine), (_, _, theirs) in zip(_timed(recorded), _timed(lived), strict=True):
        found.append((f"{title}: count", len(mine), len(theirs)))
        for name, q in _QUANTILES:
            found.append((f"{title}: {name} ({unit})", _quantile(mine, q), _quantile(theirs, q)))
    return found


def as_text(
    recorded: RelayView, lived: RelayView, left_out: dict[str, int], skipped: int, carried_over: int = 0
) -> str:
    """The table, at most 100 columns."""
    lines = [f"{'As the relay saw it':<56}{'recorded':>14}{'lived again':>14}"]
    for words, mine, theirs in rows(recorded, lived):
        text = words if len(words) <= 52 else words[:51] + "…"
        lines.append(f"  {text:<54}{figure(mine):>14}{figure(theirs):>14}")
    if carried_over:
        lines.append(f"Carried over: {carried_over} copies that waited when the recording began")
    if left_out:
        lines.append("Not lifted: " + ", ".join(f"{count} {what}" for what, count in sorted(left_out.items())))
    if skipped:
        lines.append(f"Skipped: {skipped} actions of devices that a fault had switched off")
    return "\n".join(lines) + "\n"


def as_data(
    recorded: RelayView, lived: RelayView, left_out: dict[str, int], skipped: int, carried_over: int = 0
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "rows": [{"what": words, "recorded": mine, "lived": theirs} for words, mine, theirs in rows(recorded, lived)],
        "carried_over": carried_over,
        "not_lifted": left_out,
        "skipped": skipped,
    }
