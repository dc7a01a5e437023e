"""The catalogue of results: every metric and count with its unit, its definition and the population it is over.

A threshold may name nothing else, and a run reports nothing else. ``<…>`` in a name stands for any one of
the values that ``values`` lists.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from zentalk_sim.protocol.config import Limits
from zentalk_sim.protocol.errors import CloseCode

STATISTICS: Final = ("count", "mean", "p50", "p90", "p99", "p999", "max")
"""What is reported of each metric."""

CENSORED: Final = "censored"
"""Of some metrics also: how many of the population had no value when the run ended."""


class Metric(Struct, frozen=True, kw_only=True):
    """One line of the catalogue."""

    name: str
    unit: Literal["ms", "s", "1"]
    definition: str
    population: str
    kind: Literal["distribution", "count"] = "distribution"
    censored: str = ""
    """What the statistic ``censored`` counts; empty where there is none."""
    values: tuple[str, ...] = ()
    """What ``<…>`` in the name may be."""

    def statistics(self) -> tuple[str, ...]:
        """The statistics a threshold may name; a count has only its value."""
        if self.kind == "count":
            return ("value",)
        return (*STATISTICS, CENSORED) if self.censored else STATISTICS

    def names(self) -> tuple[str, ...]:
        """The names this line stands for."""
        stem, bracket, _ = self.name.partition("<")
        return tuple(stem + value for value in self.values) if bracket else (self.name,)


_NOT_SHOWN = "copies of such messages not shown when the run ends"

DISTRIBUTIONS: Final[tuple[Metric, ...]] = (
    Metric(
        name="delivery_latency_ms",
        unit="ms",
        definition="from the application's send() to the message's first showing on the recipient's device",
        population="copies of messages sent after the warm-up and shown before the end",
        censored=_NOT_SHOWN,
    ),
    Metric(
        name="delivery_latency_ms.push",
        unit="ms",
        definition="delivery_latency_ms of the copies that came by MESSAGE_NEW over the connection",
        population="copies of messages sent after the warm-up and shown before the end, by push",
    ),
    Metric(
        name="delivery_latency_ms.fetch",
        unit="ms",
        definition="delivery_latency_ms of the copies that came by GET /api/messages",
        population="copies of messages sent after the warm-up and shown before the end, by fetch",
    ),
    Metric(
        name="ack_latency_ms",
        unit="ms",
        definition="from the application's send() to MESSAGE_ACK, queueing on the device and re-sends included",
        population="messages sent after the warm-up and acknowledged before the end",
        censored="such messages neither acknowledged, rejected nor failed when the run ends",
    ),
    Metric(
        name="reconnect_time_s",
        unit="s",
        definition="from the loss of an authenticated connection (its node dies, or the device learns of it) to the "
        "next AUTH_SUCCESS",
        population="losses after the warm-up that ended in a new AUTH_SUCCESS",
        censored="losses after the warm-up without a new AUTH_SUCCESS when the run ends",
    ),
    Metric(
        name="rtt_ms",
        unit="ms",
        definition="from a PING's sending to its PONG at the relay (R-8.2)",
        population="answered heartbeats after the warm-up",
    ),
    Metric(
        name="queue_depth",
        unit="1",
        definition="pieces of work waiting for a CPU worker at a node, connections and frames together",
        population="nodes that are up, at each step of the time series after the warm-up",
    ),
)


def _count(name: str, definition: str, population: str, values: tuple[str, ...] = ()) -> Metric:
    return Metric(name=name, unit="1", definition=definition, population=population, kind="count", values=values)


_MESSAGES = "messages, whole run"
_COPIES = "copies (one per message and recipient device), whole run"
_CONNECTIONS = "connections, whole run"

COUNTS: Final[tuple[Metric, ...]] = (
    _count("messages.sent", "send() called by the application", _MESSAGES),
    _count("messages.acked", "MESSAGE_ACK received by the sender", _MESSAGES),
    _count("messages.rejected", "refused by the client's own full queue (R-11.4)", _MESSAGES),
    _count("messages.failed", "given up by the client, or refused for good by the relay", _MESSAGES),
    _count("messages.unacked", "sent and still without an outcome when the run ends", _MESSAGES),
    _count("messages.failed_but_stored", "counted in messages.failed although the relay holds the message", _MESSAGES),
    _count("messages.delivered", "MESSAGE_RECEIVED processed by the relay, once per receiving device", _COPIES),
    _count("messages.shown", "shown to the user, once per device", _COPIES),
    _count("messages.read", "first MESSAGE_READ of a user processed by the relay", _MESSAGES),
    _count("messages.duplicate", "copies that reached a device again after it had shown them", _COPIES),
    _count("copies.stored", "put into a device's mailbox", _COPIES),
    _count("copies.confirmed", "taken out by the device's MESSAGE_RECEIVED or by POST /api/messages/ack", _COPIES),
    _count("copies.dropped.overflow", "dropped as the oldest of a full mailbox (R-6.5)", _COPIES),
    _count("copies.dropped.expired", "dropped at the end of the retention (R-6.5)", _COPIES),
    _count("copies.dropped.device_removed", "dropped with the removed device's mailbox (R-7.1)", _COPIES),
    _count("copies.pending", "still in a mailbox when the run ends", _COPIES),
    _count("connections.attempted", "attempts to connect begun by a device", _CONNECTIONS),
    _count("connections.authenticated", "attempts that reached AUTH_SUCCESS", _CONNECTIONS),
    _count(
        "connections.closed.<code>",
        "connections that ended, by the close code their device saw (1006: without a close frame)",
        _CONNECTIONS,
        tuple(str(int(code)) for code in CloseCode),
    ),
    _count("clients.gave_up", "times a device stopped trying after its last attempt (R-11.2)", "devices, whole run"),
    _count(
        "rate_limited.<operation>",
        "frames and connections refused by that limit (R-10)",
        "frames and connection attempts, whole run",
        Limits.__struct_fields__,
    ),
    _count("heartbeats.sent", "PINGs sent by the relay", "heartbeats, whole run"),
    _count("heartbeats.missed", "PINGs without a PONG in time (R-8.1)", "heartbeats, whole run"),
    _count("push.sent", "push notifications handed to the push service (R-6.7)", "messages, whole run"),
)

CATALOGUE: Final[tuple[Metric, ...]] = DISTRIBUTIONS + COUNTS

BY_NAME: Final[dict[str, Metric]] = {name: metric for metric in CATALOGUE for name in metric.names()}
"""Every full name → its line."""
