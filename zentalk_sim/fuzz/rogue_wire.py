"""A rogue's connection: a socket as a node sees one, without a network in between.

It answers the challenge and PINGs as told, and otherwise says what its holder has it say, numbered and signed as the
holder wants it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.model.relay_node import RelayNode
from zentalk_sim.model.websocket import HEADERS
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.frames import AuthResponse, BinaryFrame, Frame, MessageReceived, Pong
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.upgrade import PATH, UpgradeRequest

if TYPE_CHECKING:
    from zentalk_sim.fuzz.rogue import Rogue
    from zentalk_sim.protocol.connection import Connection

_REACTION_US: Final = 1_000
_KEEP: Final = object()
ROGUE: Final = "rogue"
"""The rule that a trace names for a connection whose client is no client: what it does is nobody's."""


class RogueWire:
    """One connection of a rogue. ``silent``: it answers nothing, as a device that is gone."""

    def __init__(self, rogue: Rogue, node: RelayNode, *, spoilt: bool = False, silent: bool = False) -> None:
        self.rogue = rogue
        self.node = node
        self.conn = rogue.world.next_number()
        self.silent = silent
        self.ready = False
        self.presented: str | None = None
        self.resume_token: str | None = None
        self.session_token = ""
        self.core: Connection | None = None
        # What a node looks at in a device.
        self.device = self
        self.member = self
        self.device_id = ""
        self._spoilt = spoilt
        self._epoch = node.epoch
        self._known = False
        self._seq = 0
        self._challenge = b""

    @property
    def _stands(self) -> bool:
        """Whether the node still has this connection."""
        return self._known and self.node.epoch == self._epoch and self.conn in self.node.sockets

    @property
    def is_opening(self) -> bool:
        """Whether it may yet become ready."""
        return self._stands and not self.ready and not self.silent

    def now_ms(self) -> int:
        """The node's time."""
        return self.node.now() // 1000

    # --- what the rogue does -------------------------------------------------------------------------

    def open(self, query: dict[str, str]) -> None:
        """Ask for the upgrade."""
        self.device_id = query["device_id"]
        self.presented = query.get("resume_token")
        # From an address of its own each time, or the limits per address would soon refuse all that it tries.
        ip = f"11.255.{self.conn >> 8 & 255}.{self.conn & 255}"
        self.rogue.tracer.event(self.node.now(), "wire", self.conn, self.device_id, dir="in", rule=ROGUE, did=ROGUE)
        self.node.connect(self, UpgradeRequest(PATH, query, HEADERS, ip))  # type: ignore[arg-type]

    def leave(self) -> None:
        """The transport is gone."""
        self.ready = False
        if self._stands:
            self._known = False
            self.node.disconnect(self, "client_aborted")  # type: ignore[arg-type]

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._stands and self.node.relay is not None:
            self.node.receive_data(self, data.decode())  # type: ignore[arg-type]

    def emit(
        self,
        kind: str,
        payload: Any,
        *,
        frame_id: str | None = None,
        seq_back: int = 0,
        late_ms: int = 0,
        mac: Any = _KEEP,
    ) -> str:
        """Send a frame; its id. ``seq_back`` and ``late_ms`` put number and time wrong, ``mac`` the MAC."""
        rogue = self.rogue
        frame_id = frame_id or rogue.world.streams.stream("rogue/ids").uuid4()
        if not self._stands or self.node.relay is None:
            return frame_id
        timestamp = self.now_ms() - late_ms
        seq = None
        if self.ready:
            self._seq += 1
            seq = max(1, self._seq - seq_back)
        crypto = rogue.world.crypto
        if mac is _KEEP:
            mac = None
            if self.ready:
                raw = codec.encode_payload(payload) if rogue.world.wire else b""
                key = crypto.session_key(self._key_token, self._challenge)
                mac = crypto.message_mac(key, kind, frame_id, timestamp, raw)
        frame = Frame(kind, frame_id, timestamp, payload, mac, seq)
        if rogue.world.wire:
            self.node.receive_data(self, codec.encode_text(frame).decode())  # type: ignore[arg-type]
        else:
            self.node.receive_frame(self, frame)  # type: ignore[arg-type]
        return frame_id

    # --- what the node does --------------------------------------------------------------------------

    def accepted(self) -> None:
        """101."""
        self._known = True

    def refused(self, status: int, retry_after_s: int | None = None) -> None:
        """An HTTP error."""

    def send_down(self, frame: Frame) -> None:
        """A frame of the relay's."""
        if self.silent or not self._known:
            return
        payload = frame.payload
        match frame.type:
            case "AUTH_CHALLENGE":
                self._challenge = payload.challenge
                self._call(self._answer, payload)
            case "AUTH_SUCCESS":
                self.ready = True
                self._key_token = self.session_token = payload.session_token
                self.resume_token = payload.resume_token
                if not payload.resumed:
                    self._seq = 0
                else:
                    self._seq = 1_000_000
            case "TOKEN_REFRESHED":
                self.session_token = payload.session_token
            case "PING":
                self._call(self._pong, payload.timestamp)
            case "MESSAGE_NEW":
                self._call(self._confirm, frame.id, type(frame) is BinaryFrame)

    _key_token = ""

    def _call(self, function: Any, *arguments: Any) -> None:
        kernel = self.rogue.world.kernel
        kernel.call_at(kernel.now + _REACTION_US, function, *arguments)

    def _answer(self, challenge: Any) -> None:
        rogue = self.rogue
        time_ms = self.now_ms()
        signed = auth_signed_data(challenge.challenge, challenge.server_time, self.device_id, time_ms)
        signature = rogue.world.crypto.sign(rogue.secret, signed + b"!" if self._spoilt else signed)
        key = rogue.world.crypto.public_key(rogue.secret)
        self.emit("AUTH_RESPONSE", AuthResponse(key, self.device_id, signature, time_ms), mac=None)

    def _pong(self, timestamp: int) -> None:
        if not self.silent:
            self.emit("PONG", Pong(timestamp, self.now_ms()))

    def _confirm(self, message_id: str, _: bool) -> None:
        self.emit("MESSAGE_RECEIVED", MessageReceived(message_id))

    def close_down(self, code: int, reason: str) -> None:
        """The relay closes."""
        self.ready = False
        self._call(self.leave)

    def abort_down(self, cause: str) -> None:
        """The relay drops the connection."""
        self.ready = False
        self._call(self.leave)

    def node_gone(self, socket: Any) -> None:
        """The node has died."""

    def node_halted(self, silently: bool) -> None:
        """The node has died."""
        self.ready = self._known = False
