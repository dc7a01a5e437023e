"""What a relay saw of a session, in figures: the same for a recording and for the full trace of a simulation.

All instants are the relay's: a message's latency runs from the first arrival of its MESSAGE_SEND to the arrival of the
recipient device's confirmation, so that it holds the recipient's round trip but not the sender's way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from zentalk_sim.trace.events import (
    Abort,
    Accept,
    AnyEvent,
    Begin,
    Close,
    FrameIn,
    FrameOut,
    Lost,
    Note,
    Push,
    Refuse,
    Request,
    Restart,
    Upgrade,
)

_KEPT_NOTES = ("copies.", "rate_limited.", "connections.lost.", "messages.", "heartbeats.missed")


class RelayView(Struct):
    """Counts, and values in µs in the order they came up."""

    counts: dict[str, int] = field(default_factory=dict)
    delivery_us: list[int] = field(default_factory=list)
    """From a message's arrival to its confirmation, per copy."""
    ack_us: list[int] = field(default_factory=list)
    """From a message's arrival to its acknowledgement."""
    away_us: list[int] = field(default_factory=list)
    """From the loss of a device's connection to its next AUTH_SUCCESS."""
    lasted_us: int = 0


class _Reader:
    def __init__(self) -> None:
        self.view = RelayView()
        self._arrived: dict[str, int] = {}
        self._acked: dict[str, None] = {}
        self._devices: dict[int, str] = {}
        self._lost: dict[str, int] = {}
        self._by_relay: dict[int, None] = {}
        self._start_us = 0

    def take(self, event: AnyEvent) -> None:
        if isinstance(event, Begin):
            self._start_us = event.t
            if event.image is not None:
                self._devices = {conn.id: conn.device_id for conn in event.image.connections}
            return
        if self._start_us == 0:
            self._start_us = event.t
        self.view.lasted_us = max(self.view.lasted_us, event.t - self._start_us)
        if isinstance(event, Note):
            self._note(event)
        elif isinstance(event, FrameIn):
            if event.type == "MESSAGE_SEND" and event.fault is None:
                self._arrives(event.id, event.t)
        elif isinstance(event, FrameOut):
            self._frame_out(event)
        elif isinstance(event, Request):
            self._request(event)
        else:
            self._connection(event)

    def _arrives(self, message_id: str, t: int) -> None:
        if message_id not in self._arrived:
            self._arrived[message_id] = t
            self._count("messages.arrived")
        else:
            self._count("messages.arrived_again")

    def _note(self, event: Note) -> None:
        if event.name.startswith(_KEPT_NOTES):
            self._count(event.name, event.count)
        if event.name == "copies.confirmed" and event.message_id in self._arrived:
            self.view.delivery_us.append(event.t - self._arrived[event.message_id])

    def _frame_out(self, event: FrameOut) -> None:
        if event.type == "MESSAGE_ACK" and event.payload is not None:
            self._acknowledged(str(event.payload.message_id), event.t)
        elif event.type == "ERROR" and event.payload is not None:
            self._count(f"errors.{event.payload.error_code}")
        elif event.type == "AUTH_SUCCESS":
            self._count("connections.authenticated")
            device = self._devices.get(event.c, "")
            if device in self._lost:
                self.view.away_us.append(event.t - self._lost.pop(device))

    def _acknowledged(self, message_id: str, t: int) -> None:
        if message_id in self._arrived and message_id not in self._acked:
            self._acked[message_id] = None
            self.view.ack_us.append(t - self._arrived[message_id])

    def _request(self, event: Request) -> None:
        if (event.method, event.path) == ("POST", "/api/messages"):
            import msgspec

            try:
                body: Any = msgspec.json.decode(event.body or b"")
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                return
            if isinstance(body, dict) and isinstance(body.get("id"), str):
                self._arrives(body["id"].lower(), event.t)

    def _connection(self, event: AnyEvent) -> None:
        if isinstance(event, Upgrade):
            self._count("connections.attempted")
            self._devices[event.c] = event.query.get("device_id", "").lower()
        elif isinstance(event, Accept):
            self._count("connections.accepted")
        elif isinstance(event, Refuse):
            self._count(f"connections.refused.{event.status}")
            self._devices.pop(event.c, None)
        elif isinstance(event, Close):
            self._by_relay[event.c] = None
            self._count(f"connections.closed.{event.code}")
        elif isinstance(event, Abort):
            self._by_relay[event.c] = None
            self._count(f"connections.aborted.{event.cause}")
        elif isinstance(event, Lost):
            device = self._devices.pop(event.c, "")
            by_client = event.cause in ("closed", "client_closed") and event.c not in self._by_relay
            self._by_relay.pop(event.c, None)
            if device and not by_client and device not in self._devices.values():
                self._lost[device] = event.t
        elif isinstance(event, Restart):
            self._count("restarts")
            for device in self._devices.values():
                self._lost.setdefault(device, event.t)
            self._devices.clear()
        elif isinstance(event, Push) and event.pending is not None:
            self._count("push.sent")

    def _count(self, name: str, count: int = 1) -> None:
        self.view.counts[name] = self.view.counts.get(name, 0) + count


def relay_view(events: Iterable[AnyEvent]) -> RelayView:
    """The figures of a recording or a full trace, read to its end. Raises what reading raises."""
    reader = _Reader()
    for event in events:
        reader.take(event)
    return reader.view
