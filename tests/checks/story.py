"""A recording's events in memory, to be broken by hand: found, changed, dropped, added."""

from __future__ import annotations

import itertools
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.frames import (
    AuthChallenge,
    AuthFailed,
    AuthResponse,
    AuthSuccess,
    ErrorPayload,
    MessageAck,
    MessageNew,
    MessageSend,
)
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.trace import events as ev

SECRET = b"s" * 32
BOB = "0x" + "b" * 40
CRYPTO = Ed25519()


class Story:
    """Events, and hands to change them."""

    def __init__(self, events: list[Any]) -> None:
        self.events = list(events)
        self.ids = (f"00000000-0000-4000-8000-{n:012d}" for n in itertools.count(1))
        self.conns = itertools.count(900_001)

    @property
    def end_us(self) -> int:
        return int(self.events[-1].t)

    def at(self, kind: type, nth: int = 0, **wanted: Any) -> int:
        """The index of the nth event of a kind with these fields; ``payload_x`` is a field of the payload."""

        def fits(event: Any) -> bool:
            for name, value in wanted.items():
                on, _, field = name.partition("payload_")
                found = getattr(event, name, None) if on else getattr(event.payload, field, None)
                if found != value:
                    return False
            return True

        found = [i for i, event in enumerate(self.events) if type(event) is kind and fits(event)]
        return found[nth]

    def change(self, index: int, **fields: Any) -> None:
        """Replace fields of an event; a frame of the client loses its MAC, which would not verify any more."""
        event = self.events[index]
        payload = {name.removeprefix("payload_"): fields.pop(name) for name in list(fields) if name[:8] == "payload_"}
        if payload:
            fields["payload"] = replace(event.payload, **payload)
        if type(event) is ev.FrameIn:
            fields.setdefault("mac", None)
        self.events[index] = replace(event, **fields)

    def drop(self, index: int) -> Any:
        return self.events.pop(index)

    def add(self, *events: Any, before: int = -1) -> None:
        """Put events before an index; before the end, if none is named."""
        self.events[before if before >= 0 else len(self.events) - 1 : before if before >= 0 else -1] = events

    def frame_in(self, c: int, kind: str, payload: Any = None, t: int | None = None, **more: Any) -> ev.FrameIn:
        t = self.end_us if t is None else t
        frame_id = more.pop("id", None) or next(self.ids)
        timestamp = more.pop("timestamp", t // 1000)
        return ev.FrameIn(0, t, c, kind, frame_id, timestamp, payload, id_as_sent=frame_id, **more)

    def frame_out(self, c: int, kind: str, payload: Any = None, t: int | None = None, **more: Any) -> ev.FrameOut:
        t = self.end_us if t is None else t
        return ev.FrameOut(0, t, c, kind, more.pop("id", None) or next(self.ids), t // 1000, payload, **more)

    # --- a connection of a device of its own

    def opening(self, t: int | None = None, device: str | None = None, **query: str) -> tuple[int, list[Any]]:
        """Upgrade, accept, challenge; the connection and its events."""
        t = self.end_us if t is None else t
        c, device = next(self.conns), device or next(self.ids)
        challenge = AuthChallenge(b"c" * 32, t // 1000, b"n" * 16)
        asked = {"device_id": device, "token": f"token of {device}", **query}
        return c, [
            ev.Upgrade(0, t, c, "/ws/v1", asked, {}, "127.0.0.1"),
            ev.Accept(0, t, c),
            self.frame_out(c, "AUTH_CHALLENGE", challenge, t),
        ]

    def answer(self, events: list[Any], t: int | None = None, **wrong: Any) -> Any:
        """AUTH_RESPONSE to the challenge; ``device``, ``client_time`` and ``spoilt`` put it wrong."""
        upgrade, challenge = events[0], events[2]
        t = upgrade.t if t is None else t
        device = wrong.get("device", upgrade.query["device_id"])
        client_time = wrong.get("client_time", t // 1000)
        data = auth_signed_data(challenge.payload.challenge, challenge.payload.server_time, device, client_time)
        signature = CRYPTO.sign(SECRET, data + b"!" if wrong.get("spoilt") else data)
        payload = AuthResponse(CRYPTO.public_key(SECRET), device, signature, client_time)
        return self.frame_in(upgrade.c, "AUTH_RESPONSE", payload, t)

    def failed(self, c: int, t: int | None = None) -> list[Any]:
        """AUTH_FAILED, 4000, and the end."""
        t = self.end_us if t is None else t
        return [
            self.frame_out(c, "AUTH_FAILED", AuthFailed("UNAUTHORIZED", "no"), t),
            ev.Close(0, t, c, 4000, "auth_failed"),
            ev.Lost(0, t, c, "closed"),
        ]

    def success(self, c: int, t: int | None = None, **more: Any) -> Any:
        t = self.end_us if t is None else t
        fields: dict[str, Any] = {
            "session_token": f"session {c}",
            "expires_at": t // 1000 + 86_400_000,
            "server_time": t // 1000,
            "session_id": f"sess_{c:012x}",
            "capabilities": ("send_message", "receive_message", "presence"),
            "resume_token": f"resume {c}",
            "resumed": False,
        }
        return self.frame_out(c, "AUTH_SUCCESS", AuthSuccess(**{**fields, **more}), t, seq=1)

    def ready(self, t: int | None = None, device: str | None = None, **query: str) -> tuple[int, list[Any]]:
        """A whole handshake."""
        t = self.end_us if t is None else t
        c, events = self.opening(t, device, **query)
        return c, [*events, self.answer(events, t), self.success(c, t)]

    def joined(self, t: int | None = None, device: str | None = None, **query: str) -> int:
        """As ``ready``, added at the end."""
        c, events = self.ready(t, device, **query)
        self.add(*events)
        return c

    def message(self, c: int, t: int | None = None, **more: Any) -> Any:
        """MESSAGE_SEND."""
        fields = {"to": BOB, "ciphertext": b"hello", "nonce": b"n" * 12, "message_type": "text"}
        named = {name: more.pop(name) for name in list(fields) if name in more}
        frame = self.frame_in(c, "MESSAGE_SEND", MessageSend(**{**fields, **named}), t, **more)
        return frame if "nonce" in named else replace(frame, payload=replace(frame.payload, nonce=_nonce(frame.id)))

    def ack(self, send: Any, seq: int | None, **more: Any) -> list[Any]:
        """The notes and the ACK that take a message."""
        fields: dict[str, Any] = {
            "message_id": send.id,
            "server_timestamp": send.t // 1000,
            "status": "queued",
            "recipient_devices": 1,
        }
        payload = MessageAck(**{**fields, **more})
        stored = ev.Note(0, send.t, "copies.stored", 1, None, BOB, None, send.id)
        notes = [stored] if payload.status == "queued" else []
        return [*notes, self.frame_out(send.c, "MESSAGE_ACK", payload, send.t, seq=seq)]

    def push(self, c: int, message_id: str, seq: int | None, t: int | None = None) -> Any:
        """MESSAGE_NEW."""
        t = self.end_us if t is None else t
        payload = MessageNew("0x" + "a" * 40, "conv_1", b"hello", b"n" * 12, "text", t // 1000)
        return self.frame_out(c, "MESSAGE_NEW", payload, t, id=message_id, seq=seq)

    def error(self, c: int, code: str, seq: int | None, to: Any = None, **details: Any) -> Any:
        """ERROR."""
        named = {} if to is None else {"original_type": to.type, "original_id": to.id}
        payload = ErrorPayload(code, "no", "req_0123456789ab", details, **named)
        return self.frame_out(c, "ERROR", payload, to.t if to is not None else None, seq=seq)


def _nonce(frame_id: str) -> bytes:
    return frame_id.encode()[-12:]


LIMITED: dict[str, Any] = {
    "limit": 60,
    "window_seconds": 60,
    "current_count": 60,
    "retry_after": 10,
    "reset_at": 2**45,
    "reason": "window",
}

__all__ = ["BOB", "CRYPTO", "LIMITED", "SECRET", "UNSET", "Story"]
