"""A rogue client: a user of its own that speaks to a node directly and breaks rules on purpose, move by move.

It shows whether the relay refuses what it must: replays, stale times, wrong MACs, floods, tokens and resume tokens past
their time, frames out of place, silence. The trace marks its connections as touched by a fault rule, so that checks of
clients pass them over; those of the relay go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from zentalk_sim.fuzz.rogue_wire import RogueWire
from zentalk_sim.model.relay_node import RelayNode
from zentalk_sim.model.tracer import Tracer
from zentalk_sim.model.world import World
from zentalk_sim.protocol import control
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.frames import (
    Frame,
    MessageRead,
    MessageReceived,
    MessageSend,
    Pong,
    PresenceSet,
    TokenRefresh,
    Topics,
    TypingSignal,
)
from zentalk_sim.protocol.identity import address_of, conversation_id
from zentalk_sim.protocol.rest_types import Request

_LONG_WAIT_US: Final = 40_000_000
_BURST: Final = 25
_WITHOUT_CONNECTION: Final = frozenset(
    ("wait", "reconnect", "fetch", "post", "expired_token", "bad_auth", "no_answer", "many_devices")
)


class Rogue:
    """One rogue; ``moves`` of its act are made ``gap_ms`` apart."""

    def __init__(self, world: World, tracer: Tracer, number: int, act: dict[str, Any]) -> None:
        self.world = world
        self.tracer = tracer
        self._act = act
        self._stream = world.streams.fresh(f"rogue/{number}")
        self.secret = self._stream.bytes(32)
        self.address = address_of(world.crypto.public_key(self.secret))
        self.device_id = self._stream.uuid4()
        self.token = ""
        self._short_token = ""
        self.wire: RogueWire | None = None
        self.wires: list[RogueWire] = []
        self.stale_resume: str | None = None
        self._sent: list[tuple[str, MessageSend]] = []
        self._victims = list(dict.fromkeys(device.member.person.address for device in world.devices))
        self._at = 0
        self._waited = False

    def begin(self) -> None:
        """Register, connect, and make the first move."""
        node = self.node()
        if node is None:
            self.world.kernel.call_at(self.world.kernel.now + 1_000_000, self.begin)
            return
        key = self.world.crypto.public_key(self.secret)
        node.command(control.AddUser(key))
        node.command(control.AddDevice(self.address, self.device_id, "rogue", "web"))
        self.token = node.command(control.IssueToken(self.address, self.device_id))[0]
        self._short_token = node.command(control.IssueToken(self.address, self.device_id, lifetime_s=1))[0]
        self.connect()
        self._later()

    def node(self) -> RelayNode | None:
        """The node it speaks to: its own, or the first that is up."""
        nodes = self.world.nodes
        own = nodes[self._act["node"] % len(nodes)]
        return next((node for node in (own, *nodes) if node.relay is not None), None)

    def _later(self) -> None:
        kernel = self.world.kernel
        kernel.call_at(kernel.now + max(1, self._act["gap_ms"] * 1000), self._move)

    def _move(self) -> None:
        if self._at >= len(self._act["moves"]):
            for wire in self.wires:
                wire.leave()
            return
        name = self._act["moves"][self._at]
        needs_connection = name not in _WITHOUT_CONNECTION
        if needs_connection and not self._waited and (self.wire is None or not self.wire.ready):
            # A handshake takes two commits; the move is made once it should be done.
            self._waited = True
            if self.wire is None or not self.wire.is_opening:
                self.connect()
            wait_us = 10_000 + 3 * max(node.store_latency_us for node in self.world.nodes)
            self.world.kernel.call_at(self.world.kernel.now + wait_us, self._move)
            return
        self._waited = False
        self._at += 1
        if name == "long_wait":
            self.world.kernel.call_at(self.world.kernel.now + _LONG_WAIT_US, self._move)
            return
        move: Callable[[], None] = getattr(self, "_" + name)
        move()
        self._later()

    # --- connections ---------------------------------------------------------------------------------

    def connect(
        self, *, resume: str | None = None, token: str | None = None, device_id: str | None = None, **answer: Any
    ) -> None:
        """Another connection; the one before stays as it is."""
        node = self.node()
        if node is None:
            return
        query = {"token": token or self.token, "device_id": device_id or self.device_id, "protocol_version": "1"}
        if resume is not None:
            query["resume_token"] = resume
        self.wire = RogueWire(self, node, **answer)
        self.wires.append(self.wire)
        self.wire.open(query)

    def _reconnect(self) -> None:
        if self.wire is not None:
            self.stale_resume = self.wire.resume_token or self.stale_resume
            self.wire.leave()
        self.connect()

    def _reconnect_stale(self) -> None:
        stale = self.stale_resume or (self.wire.presented if self.wire is not None else None)
        self._reconnect()
        if self.wire is not None:
            self.wire.leave()
        self.connect(resume=stale)

    def _resume(self) -> None:
        token = self.wire.resume_token if self.wire is not None else None
        if self.wire is not None:
            self.wire.leave()
        self.connect(resume=token)
        self.stale_resume = token

    def _replace(self) -> None:
        self.connect()

    def _abandon(self) -> None:
        if self.wire is not None:
            self.wire.silent = True
            self.wire = None

    def _expired_token(self) -> None:
        self.connect(token=self._short_token)

    def _bad_auth(self) -> None:
        self.connect(spoilt=True)

    def _no_answer(self) -> None:
        self.connect(silent=True)
        self.wire = None

    def _many_devices(self) -> None:
        node = self.node()
        for _ in range(6):
            other = self._stream.uuid4()
            if node is None or node.relay is None:
                return
            try:
                node.command(control.AddDevice(self.address, other, "rogue", "web"))
                token = node.command(control.IssueToken(self.address, other))[0]
            except ProtocolError:
                return
            self.connect(token=token, device_id=other)
        self.connect()

    def _wait(self) -> None:
        """Nothing."""

    # --- messages ------------------------------------------------------------------------------------

    def _emit(self, kind: str, payload: Any, **wrong: Any) -> str:
        return self.wire.emit(kind, payload, **wrong) if self.wire is not None else ""

    def _fresh(self, **changed: Any) -> MessageSend:
        fields: dict[str, Any] = {
            "to": self._victims[self._stream.between(0, len(self._victims) - 1)],
            "ciphertext": self._stream.bytes(16),
            "nonce": self._stream.bytes(12),
            "message_type": "text",
        }
        return MessageSend(**{**fields, **changed})

    def _send(self, **wrong: Any) -> None:
        payload = self._fresh()
        self._sent.append((self._emit("MESSAGE_SEND", payload, **wrong), payload))

    def _last(self) -> tuple[str, MessageSend]:
        if not self._sent or not self._sent[-1][0]:
            self._send()
        return self._sent[-1]

    def _again_same(self) -> None:
        frame_id, payload = self._last()
        self._emit("MESSAGE_SEND", payload, frame_id=frame_id or None)

    def _again_other(self) -> None:
        self._send()
        frame_id, payload = self._last()
        self._emit("MESSAGE_SEND", msgspec.structs.replace(payload, ciphertext=b"other"), frame_id=frame_id or None)

    def _nonce_again(self) -> None:
        self._emit("MESSAGE_SEND", self._fresh(nonce=self._last()[1].nonce))

    def _old_seq(self) -> None:
        self._send()
        self._send(seq_back=2)

    def _bad_mac(self) -> None:
        self._send(mac=b"!" * 32)

    def _no_mac(self) -> None:
        self._send(mac=None)

    def _stale_time(self) -> None:
        self._send(late_ms=self._stream.between(300_500, 400_000))

    def _burst(self) -> None:
        for _ in range(_BURST):
            self._send()

    def _received_foreign(self) -> None:
        foreign = next((m.id for m in self.world.store.messages.values() if m.recipient != self.address), None)
        if foreign is not None:
            self._emit("MESSAGE_RECEIVED", MessageReceived(foreign))

    def _received_unknown(self) -> None:
        self._emit("MESSAGE_RECEIVED", MessageReceived(self._stream.uuid4()))

    def _read_twice(self) -> None:
        # A message to oneself reaches one's other devices only; with none, nobody can confirm it.
        own = next((m.id for m in self.world.store.messages.values() if m.recipient == self.address), None)
        for kind in (MessageReceived, MessageReceived, MessageRead, MessageRead):
            if own is not None:
                self._emit("MESSAGE_RECEIVED" if kind is MessageReceived else "MESSAGE_READ", kind(own))

    # --- signals -------------------------------------------------------------------------------------

    def _typing_fast(self) -> None:
        if self._sent:
            conversation = conversation_id(self.address, self._sent[-1][1].to)
            for _ in range(3):
                self._emit("TYPING_START", TypingSignal(conversation))

    def _presence_fast(self) -> None:
        for status in ("away", "online", "away"):
            self._emit("PRESENCE_SET", PresenceSet(status))

    def _spy(self) -> None:
        for victim in self._victims:
            self._emit("SUBSCRIBE", Topics((f"presence:{victim}",)))

    # --- what is no good -----------------------------------------------------------------------------

    def _malformed(self) -> None:
        if self.wire is not None:
            self.wire.raw(b'{"type":"MESSAGE_SEND","id":1}')

    def _malformed_run(self) -> None:
        for _ in range(11):
            self._malformed()

    def _early_refresh(self) -> None:
        if self.wire is not None and self.wire.session_token:
            token = self.wire.session_token
            signature = self.world.crypto.sign(self.secret, token.encode())
            self._emit("TOKEN_REFRESH", TokenRefresh(token, signature))

    def _stray_pong(self) -> None:
        now_ms = self.wire.now_ms() if self.wire is not None else 0
        self._emit("PONG", Pong(now_ms + 5, now_ms))

    # --- REST ----------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, query: dict[str, str], body: Any) -> None:
        node = self.node()
        if node is None:
            return
        encoded = None if body is None else msgspec.json.encode(body)
        request = Request(method, path, query, self.token, encoded, "11.255.255.1")
        node.handle_request(self, 0, request)  # type: ignore[arg-type]

    def is_first(self, number: int) -> bool:
        """Whether a full node may turn this request away with its connection: it has none that takes memory."""
        return False

    def respond(self, fetch: int, status: int, body: Any) -> None:
        """As a REST line: the answer is of no interest."""

    def _fetch(self) -> None:
        self._ask("GET", "/api/messages", {"limit": "100", "offset": "0"}, None)

    def _post(self) -> None:
        payload = self._fresh()
        frame_id = self._stream.uuid4()
        for _ in range(2):
            self._ask("POST", "/api/messages", {}, {"id": frame_id, **msgspec.to_builtins(payload)})

    def heard(self, frame: Frame) -> None:
        """A frame of the relay's."""
