"""From measurements of a live relay to settings of a simulated one: medians with intervals, costs, a fragment.

Costs are differences of latencies, on a relay that has nothing else to do: what an operation takes beyond the round
trip of a WebSocket ping is the relay's work on it (and this client's, which is small). They are upper bounds of CPU
time. The cost of a frame is bounded twice, by the acknowledgement's latency and by throughput; the lower bound of the
two is taken, and what is left of the acknowledgement counts as the store's latency.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.files.yaml import dump
from zentalk_sim.report.sweep_statistics import Interval, median_interval

FRAMES_PER_MESSAGE = 2
"""MESSAGE_SEND and MESSAGE_RECEIVED: what the relay takes in for a message to one device."""
_POINTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


class Measurements(Struct, kw_only=True):
    """What was measured, in µs; a list is empty where there was nothing to measure."""

    ws_url: str
    tcp_us: list[int]
    """TCP connect."""
    tls_us: list[int]
    """TLS handshake after it; empty for ws://."""
    upgrade_us: list[int]
    """From the connection (with TLS) to the 101."""
    auth_us: list[int]
    """From the 101 to AUTH_SUCCESS: the challenge, the answer, and its check."""
    ping_us: list[int]
    """A WebSocket ping and its pong."""
    ack_us: list[int]
    """From MESSAGE_SEND to MESSAGE_ACK, one message at a time."""
    delivery_us: list[int]
    """From MESSAGE_SEND to its showing on another device."""
    burst_messages: int = 0
    """Messages sent with many under way at once; 0 where the relay's limits forbid it."""
    burst_us: int = 0
    """How long they took until the last was acknowledged and delivered."""


class Line(Struct, frozen=True):
    """A measured figure in ms: its median with a 95 % bootstrap interval, and its extremes."""

    name: str
    interval: Interval
    low_ms: float
    high_ms: float


def lines(found: Measurements) -> list[Line]:
    """The figures that were measured."""
    named = (
        ("TCP connect", found.tcp_us),
        ("TLS handshake", found.tls_us),
        ("upgrade to 101", found.upgrade_us),
        ("authentication", found.auth_us),
        ("WebSocket ping", found.ping_us),
        ("MESSAGE_ACK", found.ack_us),
        ("delivery", found.delivery_us),
    )
    return [
        Line(name, median_interval([value / 1000 for value in values]), min(values) / 1000, max(values) / 1000)
        for name, values in named
        if values
    ]


def median_us(values: list[int]) -> int:
    """The middle value; 0 where there is none."""
    return sorted(values)[len(values) // 2] if values else 0


def costs(found: Measurements) -> dict[str, int]:
    """The settings that follow: ``tls_us``, ``auth_us``, ``frame_us`` and ``store_latency_us``."""
    ping = median_us(found.ping_us)

    def beyond(values: list[int]) -> int:
        return max(0, median_us(values) - ping) if values else 0

    ack = beyond(found.ack_us)
    frame = ack
    if found.burst_messages:
        frame = min(ack, round(found.burst_us / found.burst_messages / FRAMES_PER_MESSAGE))
    return {
        "tls_us": beyond(found.upgrade_us) + beyond(found.tls_us),
        "auth_us": beyond(found.auth_us),
        "frame_us": frame,
        "store_latency_us": max(0, ack - frame),
    }


def fragment(found: Measurements) -> dict[str, Any]:
    """The settings as a fragment of an experiment, to be laid over a file: ``zsim run FILE --with``."""
    estimated = costs(found)
    store = estimated.pop("store_latency_us")
    return {
        "relay": {"ingress": {"workers": 1, "costs": estimated}, "store_latency_us": store},
        "population": {"networks": {"measured": 1}},
        "network": {
            "measured": {
                "latency": {"dist": "empirical", "quantiles_ms": one_way_ms(found)},
                "tls_round_trips": 1 if found.tls_us else 0,
                "source": f"Half the WebSocket round trips measured to {found.ws_url}, {len(found.ping_us)} of them.",
            }
        },
    }


def one_way_ms(found: Measurements) -> list[list[float]]:
    """Quantiles of half the round trip."""
    ordered = sorted(found.ping_us)
    last = len(ordered) - 1
    return [[share, round(ordered[round(share * last)] / 2000, 3)] for share in _POINTS]


def as_yaml(found: Measurements) -> str:
    """The fragment as a file, what was measured in comments above it."""
    head = [f"# Measured at {found.ws_url}, one client on an idle relay; medians with 95 % intervals, in ms."]
    for line in lines(found):
        at = line.interval
        bounds = "" if at.low is None else f" [{at.low:.3f}, {at.high:.3f}]"
        head.append(
            f"#   {line.name:<16}{at.median:>9.3f}{bounds:<22} min {line.low_ms:.3f}, max {line.high_ms:.3f}, n {at.n}"
        )
    if found.burst_messages:
        rate = found.burst_messages * 1_000_000 / found.burst_us
        head.append(f"#   throughput     {rate:>10,.0f} messages/s, {found.burst_messages} with many under way")
    else:
        head.append("#   throughput            not measured: without its control API the relay's limits hold")
    head += [
        "# Costs are what each operation takes beyond a round trip: upper bounds of the relay's CPU time.",
        "# Use it with: zsim run FILE --with THIS",
    ]
    return "\n".join(head) + "\n" + dump(fragment(found))


def as_data(found: Measurements) -> dict[str, Any]:
    """The same for programs."""
    return {
        "ws_url": found.ws_url,
        "measured_ms": {
            line.name: {
                "n": line.interval.n,
                "median": line.interval.median,
                "low": line.interval.low,
                "high": line.interval.high,
                "min": line.low_ms,
                "max": line.high_ms,
            }
            for line in lines(found)
        },
        "throughput_per_s": found.burst_messages * 1e6 / found.burst_us if found.burst_messages else None,
        "fragment": fragment(found),
    }
