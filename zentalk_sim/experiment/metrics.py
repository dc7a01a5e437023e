"""The catalogue of results: every metric and count with its unit, its definition and the population it is over.

A threshold may name nothing else, and a run reports nothing else. ``<…>`` in a name stands for any one of
the values that ``values`` lists.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from zentalk_sim.faults.verdicts import ACTIONS
from zentalk_sim.protocol.config import Limits
from zentalk_sim.protocol.errors import HTTP_STATUS, CloseCode

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
        name="half_open_s",
        unit="s",
        definition="from the cutting of a device's path (partition, sleep, handover) to the relay's end of the "
        "connection, where the path is still cut then",
        population="connections that the relay ended while their path was cut, cut after the warm-up",
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
_FRAMES = "frames, whole run"
_NOTICES = "receipts and key changes kept for devices that are away, whole run"
_BUS = "events between nodes, whole run, with two nodes or more"

REFUSALS: Final = ("400", "401", "403", "404", "421", "503")
"""HTTP statuses of a refused upgrade (R-3.1)."""
LOSSES: Final = (
    "client_aborted",
    "client_closed",
    "close_timeout",
    "closed",
    "heartbeat",
    "operator",
    "reset",
    "slow_consumer",
    "timeout",
)
"""How the transport of a connection ended, as the relay saw it."""
ABORTS: Final = ("auth_timeout", "connect_timeout", "silence")
"""Why a client dropped a connection, or an attempt, without a handshake."""
REJECTIONS: Final = ("queue_full", "too_large")
"""Why a client refuses a message by itself (R-11.4, R-1.6)."""
CLOSE_CODES: Final = (*(str(int(code)) for code in CloseCode), "other")


def closed_count(code: int) -> str:
    """The count of connections that ended with this code."""
    return f"connections.closed.{code if code in _KNOWN_CODES else 'other'}"


_KNOWN_CODES: Final = frozenset(int(code) for code in CloseCode)

COUNTS: Final[tuple[Metric, ...]] = (
    _count("messages.sent", "send() called by the application", _MESSAGES),
    _count("messages.acked", "MESSAGE_ACK received by the sender", _MESSAGES),
    _count("messages.rejected", "refused by the client itself, before anything of it was sent", _MESSAGES),
    _count(
        "messages.rejected.<reason>",
        "of messages.rejected: queue_full (its queue was full, R-11.4), too_large (no frame holds the message, R-1.6)",
        _MESSAGES,
        REJECTIONS,
    ),
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
        "connections that ended, by the close code their device saw (1006: without a close frame; other: one that the "
        "protocol does not know, as a fault rule may close with)",
        _CONNECTIONS,
        CLOSE_CODES,
    ),
    _count(
        "connections.lost.<cause>",
        "connections that ended, by what the relay saw: heartbeat (three PINGs unanswered, R-8.1), timeout (TCP gave "
        "up), reset, client_aborted, client_closed, closed (by the relay, answered), close_timeout (by the relay, not "
        "answered), slow_consumer, operator",
        _CONNECTIONS,
        LOSSES,
    ),
    _count("connections.refused.<status>", "upgrades refused with that HTTP status (R-3.1)", _CONNECTIONS, REFUSALS),
    _count("upgrades.refused", "upgrades refused, whatever the status", _CONNECTIONS),
    _count(
        "upgrades.refused_for_memory",
        "upgrades refused with 503 by a node whose memory is full (`relay.ingress.memory.limit`)",
        _CONNECTIONS,
    ),
    _count(
        "requests.refused_for_memory",
        "REST connections refused with 503, at their first request, by a node whose memory is full",
        "REST connections, whole run",
    ),
    _count("connections.auth_failed", "authentications answered with AUTH_FAILED (R-4.2)", _CONNECTIONS),
    _count("connections.auth_timeout", "connections without an AUTH_RESPONSE in time (R-4.3)", _CONNECTIONS),
    _count("connections.syn_dropped", "SYNs dropped by a full accept backlog", "SYNs, whole run"),
    _count("connections.slow_consumer", "connections dropped for a full outbox (R-12.4)", _CONNECTIONS),
    _count(
        "connections.reading_paused",
        "times the relay ceased to read from a connection, its outbox being more than half full (R-12.4)",
        _CONNECTIONS,
    ),
    _count(
        "client.connections.<cause>",
        "connections and attempts that a device dropped by itself: no opening, no AUTH_SUCCESS, or silence (R-8.3)",
        _CONNECTIONS,
        ABORTS,
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
    _count("errors.<code>", "ERROR frames sent by the relay, by error_code", _FRAMES, tuple(HTTP_STATUS)),
    _count("client.errors.<code>", "ERROR frames that reached a device", _FRAMES, (*HTTP_STATUS, "unknown")),
    _count("frames.ignored", "relay frames that a device could not use where it stood", _FRAMES),
    _count("messages.resent", "messages a device put on its socket again (R-11.4)", _MESSAGES),
    _count("messages.sent_again", "sends the relay had accepted before, answered as duplicate (R-5.6)", _MESSAGES),
    _count("messages.held_dropped", "messages held back during a fetch and dropped for want of room", _COPIES),
    _count("acks.unknown", "MESSAGE_ACKs for a message no longer waited for", _FRAMES),
    _count("receipts.dropped", "receipts a device dropped, its list being full (R-11.4)", "receipts, whole run"),
    _count("receipts.refused", "receipts the relay refused for good", "receipts, whole run"),
    _count("typing.dropped", "typing notices not sent for want of a connection", _FRAMES),
    _count("sync.request_failed", "requests of a fetch that failed and are made again", "REST requests, whole run"),
    _count("sync.abandoned", "fetches given up", "fetches, whole run"),
    _count("notices.dropped.overflow", "dropped as the oldest of a full list (R-6.3)", _NOTICES),
    _count("notices.dropped.device_removed", "dropped with the removed device (R-7.1)", _NOTICES),
    _count("signals.presence", "PRESENCE_UPDATE frames sent by the relay, one per device told", _FRAMES),
    _count("signals.typing", "TYPING_START and TYPING_STOP frames sent by the relay, one per device told", _FRAMES),
    _count("signals.keys", "KEY_CHANGE frames sent by the relay, one per device told", _FRAMES),
    _count(
        "faults.fired.<do>",
        "times a fault rule (`match` and `action`, under `faults`) was carried out; what such a rule refuses by itself "
        "is counted here alone",
        "what passes the relay's edge, whole run, where a rule does that",
        tuple(ACTIONS),
    ),
    _count("bus.sent", "events published", _BUS),
    _count("bus.lost", "events that reached no one: an outage, a loss, a node that was down", _BUS),
    _count(
        "push.woke",
        "push notifications that switched a device on or brought an app to the foreground (`workload.push`)",
        "push notifications, whole run",
    ),
    _count("push.sent", "push notifications handed to the push service (R-6.7)", "messages, whole run"),
)

CATALOGUE: Final[tuple[Metric, ...]] = DISTRIBUTIONS + COUNTS

BY_NAME: Final[dict[str, Metric]] = {name: metric for metric in CATALOGUE for name in metric.names()}
"""Every full name → its line."""
