"""What a firing rule makes of a frame, in bytes: what passes in its place, and what each side then knows of it.

Both faces ask here, so that a rule does the same on a socket and in simulated time. When what passes does so, and what
becomes of the connection, is the face's part.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from zentalk_sim.faults import verdicts as do
from zentalk_sim.faults.corruption import corrupt
from zentalk_sim.faults.ruleset import Firing
from zentalk_sim.faults.verdicts import completed
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.errors import CloseConnection

Direction = Literal["in", "out"]
"""As the relay sees it."""
Messages = list[tuple[bytes, bool]]
"""Messages, each with whether it is binary."""
_MAX_ECHO_CHARACTERS: Final = 200


def encoded(frame: Any, now_us: int, firing: Firing) -> bytes:
    """A Replace's or Inject's frame as it goes on the wire, as a text message."""
    frame = completed(frame, now_us, firing.stream)
    return frame.encode() if isinstance(frame, str) else msgspec.json.encode(frame)


def changed(firing: Firing, now_us: int, data: bytes, binary: bool) -> Messages | None:
    """What passes in the frame's place; None where it passes as it is."""
    verdict = firing.verdict
    match verdict:
        case do.Drop() | do.CloseWith() | do.Abort() | do.Blackhole() | do.ErrorAnswer():
            return []
        case do.Duplicate():
            return [(data, binary), (data, binary)]
        case do.Corrupt():
            return [(corrupt(verdict.kind, data, firing.stream, is_text=not binary), binary)]
        case do.Replace():
            return [(encoded(verdict.frame, now_us, firing), False)]
        case do.Inject():
            return [(data, binary), (encoded(verdict.frame, now_us, firing), False)]
        case _:
            return None


def sides(
    firing: Firing, direction: Direction, data: bytes, binary: bool, passed: Messages
) -> tuple[bytes | None, bytes | None, bool]:
    """For a recording: the frame as the core knows it and as it was on the wire, and whether it is binary.

    Of a Duplicate or Inject it is the further frame, which one of the two sides does not know of.
    """
    core, wire = data or None, data or None
    if isinstance(firing.verdict, do.Duplicate | do.Inject):
        more, binary = passed[1]
        core, wire = (None, more) if direction == "out" else (more, None)
    elif direction == "out":
        wire, binary = passed[0] if passed else (None, binary)
    else:
        core = passed[0][0] if passed else None
    return core, wire, binary


def named(data: bytes, binary: bool) -> tuple[str | None, str | None]:
    """Type and id of a frame, as far as they can be read."""
    if not binary:
        return codec.salvage(data)
    try:
        incoming = codec.decode_binary(data)
    except CloseConnection:
        return None, None
    return incoming.type, incoming.id


def payload_of(data: bytes, binary: bool) -> Any:
    """A frame's payload as JSON's objects; None where it cannot be decoded."""
    if binary:
        try:
            return _json(codec.decode_binary(data).raw_payload or b"")
        except CloseConnection:
            return None
    frame = _json(data)
    return frame.get("payload") if isinstance(frame, dict) else None


def body_of(body: bytes | None) -> Any:
    """A REST call's body as JSON's objects; None where there is none, or it cannot be decoded."""
    return _json(body) if body else None


def _json(data: bytes) -> Any:
    if codec.too_deep(data):
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def error_details(verdict: do.ErrorAnswer) -> dict[str, Any]:
    """``details`` of an error that a rule answers with."""
    return {} if verdict.retry_after is None else {"retry_after": verdict.retry_after}


def error_payload(verdict: do.ErrorAnswer, firing: Firing, kind: str | None, frame_id: str | None) -> dict[str, Any]:
    """The payload of the ERROR that answers a frame of this type and id."""
    payload: dict[str, Any] = {
        "error_code": verdict.error_code,
        "message": said(firing),
        "request_id": "req_" + firing.stream.hex(12),
        "details": error_details(verdict),
    }
    if kind is not None:
        payload["original_type"] = kind[:_MAX_ECHO_CHARACTERS]
    if frame_id is not None:
        payload["original_id"] = frame_id[:_MAX_ECHO_CHARACTERS]
    return payload


def said(firing: Firing) -> str:
    """What an error of a rule's says to people."""
    return firing.rule.comment or f"answered by {firing.rule.id}"
