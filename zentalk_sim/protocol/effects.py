"""What a relay asks its face to do: frozen records, returned in the order they must be applied.

Effects of one connection are never reordered. ``Close`` flushes what stands before it, ``Abort`` does not.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.protocol.frames import Frame

ConnId = int
"""A connection, unique among all nodes of a cluster; chosen by the face."""
RequestId = int
"""A REST request under way; chosen by the face."""


class _Effect(Struct, frozen=True, gc=False, tag=True, tag_field="effect"):
    """One thing to do."""


class Accept(_Effect, frozen=True):
    """Answer the upgrade with 101 and sub-protocol ``zentalk.v1``."""

    conn: ConnId


class Refuse(_Effect, frozen=True):
    """Answer the upgrade with an HTTP error (R-3.1); the connection is over."""

    conn: ConnId
    status: int
    error_code: str
    message: str
    retry_after_s: int | None = None


class Send(_Effect, frozen=True):
    """Send one frame."""

    conn: ConnId
    frame: Frame


class SendMany(_Effect, frozen=True):
    """Send one body to many connections, each with its own ``seq`` (the frame itself has none)."""

    targets: tuple[tuple[ConnId, int], ...]
    frame: Frame


class Close(_Effect, frozen=True):
    """Flush, then close with a closing handshake (RFC 6455 §7.1.2)."""

    conn: ConnId
    code: int
    reason: str = ""


class Abort(_Effect, frozen=True):
    """Drop the connection without a closing handshake; the peer sees 1006."""

    conn: ConnId
    cause: str


class Respond(_Effect, frozen=True):
    """Answer a REST request. ``body`` is what JSON can hold, or None."""

    request: RequestId
    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Push(_Effect, frozen=True):
    """Wake a device through its push service (R-6.7)."""

    user: str
    device_id: str
    push_token: str
    pending: int


class ClearPush(_Effect, frozen=True):
    """Take a device's push notifications away: its mailbox is empty (R-6.6)."""

    user: str
    device_id: str


class Publish(_Effect, frozen=True):
    """Tell another node, best effort (R-12.5)."""

    node: str
    event: BusEvent


class Note(_Effect, frozen=True):
    """A counted fact, such as a drop with its cause. ``name`` is a dotted metric name."""

    name: str
    count: int = 1
    conn: ConnId | None = None
    user: str | None = None
    device_id: str | None = None
    message_id: str | None = None
    value_us: int | None = None


# --- what nodes tell each other ----------------------------------------------------------------------


class _BusEvent(Struct, frozen=True, gc=False, tag=True, tag_field="event"):
    """One message on the bus between nodes."""


class Forward(_BusEvent, frozen=True):
    """Send this frame to a connection of yours."""

    conn: ConnId
    type: str
    payload: Any


class NewCopy(_BusEvent, frozen=True):
    """A copy was put into the mailbox of a device that is connected to you."""

    conn: ConnId
    message_id: str


class Kick(_BusEvent, frozen=True):
    """Close a connection of yours: replaced, device removed, suspended."""

    conn: ConnId
    code: int
    reason: str


BusEvent = Forward | NewCopy | Kick
Effect = Accept | Refuse | Send | SendMany | Close | Abort | Respond | Push | ClearPush | Publish | Note
