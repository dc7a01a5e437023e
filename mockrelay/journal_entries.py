"""Entries of a journal: one thing that happened, its frame kept as bytes and decoded only for whoever looks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from zentalk_sim.faults.matching import FaultEvent
from zentalk_sim.faults.ruleset import Firing
from zentalk_sim.faults.verdicts import name_of
from zentalk_sim.faults.vocabulary import EVENTS
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.errors import CloseConnection

JOURNAL_EVENTS: Final = (
    *EVENTS,
    "closed",
    "lost",
    "drop",
    "push",
    "push_cleared",
    "rtt",
    "control",
    "rule",
)
"""What an entry's ``event`` may be. ``closed``: the first close frame, ``direction`` says whose. ``lost``: the
transport ended without one. ``rule``: a rule fired at an instant that has no entry of its own."""
ENTRY_BYTES: Final = 400
"""What an entry costs beside its bytes."""


class Party:
    """Whose connection it is; shared by all its entries."""

    __slots__ = ("connection", "device", "opened_us", "user")

    def __init__(self, connection: int | None = None, user: str | None = None, device: str | None = None) -> None:
        self.connection = connection
        self.user = user
        """The address."""
        self.device = device
        self.opened_us: int | None = None
        """When the upgrade was answered with 101."""


NOBODY: Final = Party()


def kind_of(data: bytes, binary: bool) -> str | None:
    """The type that a frame names, as far as it can be read."""
    if not binary:
        return codec.salvage(data)[0]
    try:
        return codec.decode_binary(data).type
    except CloseConnection:
        return None


def frame_of(data: bytes, binary: bool) -> dict[str, Any] | None:
    """The frame as JSON's objects; None where it is none."""
    if binary:
        try:
            incoming = codec.decode_binary(data)
        except CloseConnection:
            return None
        payload = _json(incoming.raw_payload or b"")
        return {"type": incoming.type, "id": incoming.id, "timestamp": incoming.timestamp, "payload": payload}
    frame = _json(data)
    return frame if isinstance(frame, dict) else None


def _json(data: bytes) -> Any:
    if codec.too_deep(data):
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _as_text(data: bytes, binary: bool) -> dict[str, str]:
    """Bytes for JSON: a text as it is, anything else in base64."""
    if not binary:
        try:
            return {"text": data.decode()}
        except UnicodeDecodeError:
            pass
    return {"base64": b64encode(data).decode()}


class Entry(Struct, gc=False, eq=False):
    """One thing that happened. It refers to nothing that could refer to it, so the collector need not follow it."""

    t_us: int
    event: str
    party: Party
    data: bytes | None = None
    """The frame's bytes, or a request's body."""
    binary: bool = False
    firing: dict[str, Any] | None = None
    wire: tuple[bytes, ...] | None = None
    """What went on in the frame's place, where a rule changed it."""
    facts: dict[str, Any] | None = None
    n: int = 0
    """Its number; told by its place, and written down when somebody looks."""

    @property
    def size(self) -> int:
        """Bytes, roughly, that the entry holds in memory."""
        size = ENTRY_BYTES
        if self.data is not None:
            size += len(self.data)
        if self.wire is not None:
            size += sum(map(len, self.wire))
        return size

    @property
    def direction(self) -> str | None:
        """``in`` from the client, ``out`` to it."""
        if self.event == "frame_in":
            return "in"
        if self.event == "frame_out":
            return "out"
        return self.facts.get("direction") if self.facts else None

    def type(self) -> str | None:
        """The frame's type."""
        if self.data is None or self.event not in ("frame_in", "frame_out"):
            return None
        return kind_of(self.data, self.binary)

    def fault_event(self, names: Mapping[str, str], with_payload: bool) -> FaultEvent:
        """The entry as a match looks at it."""
        facts, party, firing = self.facts or {}, self.party, self.firing or {}
        kind: Any = None
        payload: Any = None
        if not with_payload or self.data is None:
            kind = self.type()
        elif self.event == "rest":
            payload = _json(self.data)
        else:
            frame = frame_of(self.data, self.binary) or {}
            kind, payload = frame.get("type"), frame.get("payload")
        user = facts.get("user", party.user)
        name = names.get(user or "")
        return FaultEvent(
            self.event,
            self.t_us,
            party.opened_us,
            party.connection,
            user,
            () if name is None else (name,),
            facts.get("device", party.device),
            kind if isinstance(kind, str) else None,
            payload,
            facts.get("method"),
            facts.get("path"),
            self.direction,
            facts.get("close_code"),
            firing.get("id"),
            firing.get("comment"),
        )

    def as_json(self) -> dict[str, Any]:
        """The entry as ``GET /admin/journal`` shows it."""
        party = self.party
        shown: dict[str, Any] = {"n": self.n, "t_ms": self.t_us // 1000, "event": self.event}
        named = {
            "direction": self.direction,
            "connection": party.connection,
            "user": party.user,
            "device": party.device,
            "type": self.type(),
        }
        shown.update({name: value for name, value in named.items() if value is not None})
        if self.facts:
            shown.update(self.facts)
        if self.data is not None:
            self._show_data(shown)
        if self.wire is not None:
            shown["wire"] = [_as_text(data, self.binary) for data in self.wire]
        if self.firing is not None:
            shown["rule"] = self.firing
        return shown

    def _show_data(self, shown: dict[str, Any]) -> None:
        assert self.data is not None
        if self.event == "rest":
            body = _json(self.data)
            shown.update({"body": body} if body is not None else _as_text(self.data, False))
            return
        frame = frame_of(self.data, self.binary)
        shown.update({"frame": frame} if frame is not None else _as_text(self.data, self.binary))
        if self.binary:
            shown["binary"] = True


def firing_as_json(firing: Firing) -> dict[str, Any]:
    """A rule's firing as an entry tells it."""
    rule = firing.rule
    shown: dict[str, Any] = {"id": rule.id, "do": name_of(firing.verdict), "number": firing.number}
    return shown if rule.comment is None else {**shown, "comment": rule.comment}
