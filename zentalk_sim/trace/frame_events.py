"""Frames as events: the envelope decoded, the payload typed, and what is wrong with either by its name in R-1.5."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from msgspec import Struct

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.errors import CloseConnection, ProtocolError
from zentalk_sim.protocol.frames import CLIENT_FRAMES, RELAY_FRAMES

_ANY_SIZE: Final = 1 << 62


class FrameEvent(Struct, frozen=True, gc=False):
    """A frame. ``payload`` is typed, or None where it is not of its type's form; ``raw`` its bytes in the frame."""

    line: int
    t: int
    c: int
    type: str
    id: str
    timestamp: int
    payload: Any = None
    raw: bytes = b""
    seq: int | None = None
    mac: bytes | None = None
    binary: bool = False
    fault: str | None = None
    """``malformed``, ``unknown_type``, ``wrong_direction``, ``payload_requires_binary``, ``bad_utf8``, ``bad_length``
    (R-2.3), ``bad_code``; None for a good frame."""
    size: int = 0
    """Bytes of the WebSocket message."""
    real: int | None = None
    """The real time, where a test clock was moved (R-13.2)."""
    id_as_sent: str = ""
    partial: bool = False
    """Only type and id are known."""


class FrameIn(FrameEvent, frozen=True):
    """From a client to the relay, at the instant the relay took it."""


class FrameOut(FrameEvent, frozen=True):
    """From the relay to a client, at the instant the relay sent it."""


_F = TypeVar("_F", FrameIn, FrameOut)


def read_text(event: type[_F], line: int, t: int, c: int, data: bytes, config: RelayConfig, real: int | None) -> _F:
    """A text message as an event; never raises."""
    size = len(data)
    try:
        # A relay's own frames are held to the limit by a check, not by the reader.
        limit = config.frames.max_text_payload_bytes if event is FrameIn else _ANY_SIZE
        found = codec.decode_text(data, limit)
    except ProtocolError as error:
        kind, frame_id = codec.salvage(data)
        fault = str(error.reason)
        return event(line, t, c, kind or "", (frame_id or "").lower(), 0, fault=fault, size=size, real=real)
    return _typed(event, line, t, c, found, size, real)


def read_binary(event: type[_F], line: int, t: int, c: int, data: bytes, real: int | None) -> _F:
    """A binary message as an event; never raises."""
    try:
        found = codec.decode_binary(data)
    except CloseConnection as ending:
        fault = "bad_code" if ending.code == 1003 else "bad_length"
        return event(line, t, c, "", "", 0, binary=True, fault=fault, size=len(data), real=real)
    return _typed(event, line, t, c, found, len(data), real)


def _typed(event: type[_F], line: int, t: int, c: int, found: codec.Incoming, size: int, real: int | None) -> _F:
    own, other = (CLIENT_FRAMES, RELAY_FRAMES) if event is FrameIn else (RELAY_FRAMES, CLIENT_FRAMES)
    raw = found.raw_payload or b""
    payload: Any = None
    fault: str | None = None
    kind = own.get(found.type)
    if kind is None:
        fault = "wrong_direction" if found.type in other else "unknown_type"
    else:
        try:
            payload = codec.decode_payload(kind, raw)
        except ProtocolError as error:
            fault = str(error.reason)
    return event(
        line,
        t,
        c,
        found.type,
        found.id,
        found.timestamp,
        payload,
        raw,
        found.seq,
        found.message_mac,
        found.binary,
        fault,
        size,
        real,
        found.id_as_sent,
    )
