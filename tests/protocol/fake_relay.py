"""A scripted relay with its own clock around one Client: it answers only when the test says so.

``FakeRelay`` owns time (µs), applies nothing by itself, and keeps every effect in order. ``wire=True`` sends bytes
through the codec in both directions, ``wire=False`` passes frames by reference.
"""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

import msgspec

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import (
    ClientEffect,
    Connect,
    Count,
    Deliver,
    Fetch,
    Identity,
    SendFrame,
    StateChanged,
)
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.crypto import Crypto, Ed25519, Modelled
from zentalk_sim.protocol.frames import (
    AuthChallenge,
    AuthSuccess,
    ErrorPayload,
    Frame,
    MessageAck,
    MessageNew,
    Payload,
    Ping,
    SyncRequired,
)
from zentalk_sim.protocol.streams import Streams

T0_MS = 1_704_067_200_000
MS = 1000
S = 1_000_000
HOUR = 3600 * S
ALICE = "0x" + "a" * 40
BOB = "0x" + "b" * 40
ALICE_DEVICE = "550e8400-e29b-41d4-a716-446655440000"
SECRET = bytes(range(32))
CHALLENGE = b"\x07" * 32
E = TypeVar("E")


def config(**sections: Any) -> ClientConfig:
    """A ClientConfig from plain values; unknown names are refused."""
    return msgspec.convert(sections, ClientConfig)


def message(n: int, at_ms: int = T0_MS, sender: str = BOB) -> tuple[str, MessageNew]:
    """(id, payload) of the n-th message from bob."""
    return str(uuid.UUID(int=n, version=4)), MessageNew(
        sender=sender,
        conversation_id="conv_1",
        ciphertext=b"cipher %d" % n,
        nonce=n.to_bytes(12, "big"),
        message_type="text",
        timestamp=at_ms,
    )


def page(*messages: tuple[str, MessageNew]) -> bytes:
    """The answer to GET /api/messages."""
    entries = [
        {"type": "MESSAGE_NEW", "id": message_id, "timestamp": payload.timestamp, "payload": payload}
        for message_id, payload in messages
    ]
    return msgspec.json.encode({"messages": entries, "total": len(entries)})


class FakeRelay:
    """The clock, the client alice, and what she did."""

    def __init__(
        self,
        settings: ClientConfig | None = None,
        *,
        wire: bool = True,
        crypto: Crypto | None = None,
        seed: int = 1,
        clock_ahead_us: int = 0,
    ) -> None:
        self.now = T0_MS * MS
        self.wire = wire
        self.crypto: Crypto = crypto or (Ed25519() if wire else Modelled())
        self.identity = Identity(ALICE, SECRET, ALICE_DEVICE, "first-token")
        self.client = Client(
            settings or ClientConfig(),
            self.identity,
            streams=Streams(seed),
            crypto=self.crypto,
            name="alice",
            wire=wire,
        )
        self.clock_ahead_us = clock_ahead_us
        """The relay's clock less alice's."""
        self.effects: list[tuple[int, ClientEffect]] = []
        self._read = 0
        self._ids = 0

    # --- what alice did ---------------------------------------------------------------------------

    def do(self, effects: list[ClientEffect]) -> list[ClientEffect]:
        self.effects += [(self.now, effect) for effect in effects]
        return effects

    def new(self, kind: type[E]) -> list[E]:
        """Effects of one kind since the last look at any; the look takes them all."""
        found: list[E] = [effect for _, effect in self.effects[self._read :] if isinstance(effect, kind)]
        self._read = len(self.effects)
        return found

    def all(self, kind: type[E]) -> list[E]:
        return [effect for _, effect in self.effects if isinstance(effect, kind)]

    def times(self, kind: type[Any]) -> list[int]:
        return [at for at, effect in self.effects if isinstance(effect, kind)]

    def frames(self, kind: str | None = None) -> list[Frame]:
        """Frames sent since the last look."""
        frames = [effect.frame for effect in self.new(SendFrame)]
        return [frame for frame in frames if kind in (None, frame.type)]

    def sent(self, kind: str) -> list[tuple[int, Frame]]:
        """(instant, frame) of all frames of a type."""
        return [
            (at, effect.frame)
            for at, effect in self.effects
            if isinstance(effect, SendFrame) and effect.frame.type == kind
        ]

    def count(self, name: str) -> int:
        return sum(effect.count for effect in self.all(Count) if effect.name == name)

    def shown(self) -> list[str]:
        return [effect.message_id for effect in self.all(Deliver)]

    def states(self) -> list[ClientState]:
        return [effect.new for effect in self.all(StateChanged)]

    @property
    def state(self) -> ClientState:
        return self.client.state

    # --- time -------------------------------------------------------------------------------------

    def advance(self, us: int) -> None:
        """Let time pass, each timer at its own instant."""
        until = self.now + us
        while (due := self.client.next_timeout()) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(self.client.handle_timeout(self.now))
        self.now = until

    # --- what the relay says ----------------------------------------------------------------------

    def say(self, kind: str, payload: Payload, frame_id: str | None = None) -> list[ClientEffect]:
        self._ids += 1
        frame_id = frame_id or str(uuid.UUID(int=2**100 + self._ids, version=4))
        frame = Frame(kind, frame_id, (self.now + self.clock_ahead_us) // MS, payload)
        if self.wire:
            return self.do(self.client.receive_data(codec.encode(frame), self.now))
        return self.do(self.client.receive_frame(frame, self.now))

    def challenge(self) -> None:
        server_time = (self.now + self.clock_ahead_us) // MS
        self.say("AUTH_CHALLENGE", AuthChallenge(CHALLENGE, server_time, b"\x01" * 16))

    def success(
        self,
        *,
        resumed: bool = False,
        token: str = "session-token",
        lifetime_s: int = 86_400,
        resume_token: str = "resume-1",
    ) -> None:
        server_time = (self.now + self.clock_ahead_us) // MS
        self.say(
            "AUTH_SUCCESS",
            AuthSuccess(
                session_token=token,
                expires_at=server_time + lifetime_s * 1000,
                server_time=server_time,
                session_id="sess_0123456789ab",
                capabilities=("send_message", "receive_message", "presence"),
                resume_token=resume_token,
                resumed=resumed,
            ),
        )

    def open(self) -> None:
        self.do(self.client.connected(self.now))

    def handshake(self, **success: Any) -> None:
        """From CONNECTING to CONNECTED in an instant."""
        assert self.client.state is ClientState.CONNECTING
        self.open()
        self.challenge()
        self.success(**success)
        assert self.state is ClientState.CONNECTED

    def join(self, **success: Any) -> FakeRelay:
        """alice connects; what that took is not among ``new`` effects any more."""
        self.do(self.client.connect(self.now))
        self.handshake(**success)
        self.new(object)
        return self

    def lose(self, code: int = 1006) -> None:
        self.do(self.client.closed(code, self.now))

    def rejoin(self, **success: Any) -> None:
        """The connection is lost, and comes back after its backoff."""
        self.lose()
        self.wait_for_attempt()
        self.handshake(**success)

    def wait_for_attempt(self) -> int:
        """Let time pass until the next attempt; returns the wait in µs."""
        start = self.now
        attempts = len(self.all(Connect))
        while len(self.all(Connect)) == attempts:
            due = self.client.next_timeout()
            assert due is not None, "no attempt is planned"
            self.advance(due - self.now)
        return self.now - start

    def ping(self) -> None:
        self.say("PING", Ping(self.now // MS))

    def ack(self, message_id: str, status: str = "queued") -> None:
        self.say("MESSAGE_ACK", MessageAck(message_id, self.now // MS, status, 1))

    def new_message(self, entry: tuple[str, MessageNew]) -> None:
        self.say("MESSAGE_NEW", entry[1], entry[0])

    def sync_required(self, pending: int = 1) -> None:
        at = self.now // MS
        self.say("SYNC_REQUIRED", SyncRequired("offline_messages", pending, at, at, at))

    def error(self, code: str, frame: Frame | None = None, **details: Any) -> None:
        """An ERROR in answer to ``frame``."""
        original = {} if frame is None else {"original_type": frame.type, "original_id": frame.id}
        self.say("ERROR", ErrorPayload(code, code.lower(), "req_0123456789ab", details, **original))

    def respond(self, status: int, body: object = b"") -> Fetch:
        """Answer the last request."""
        fetch = self.all(Fetch)[-1]
        self.do(self.client.receive_response(fetch.fetch, status, body, self.now))
        return fetch

    # --- what alice's application does ------------------------------------------------------------

    def send(self, text: str = "hello", **fields: Any) -> str:
        self.do(self.client.send(BOB, text.encode(), "text", self.now, **fields))
        return self.client.last_id
