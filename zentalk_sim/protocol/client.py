"""The client: what an application asks, what the relay sends, and what is then to be done (R-11).

Sans-IO, as the relay is: every input returns effects (``client_effects``) in the order they must be applied, and
``next_timeout`` names the instant at which ``handle_timeout`` is wanted. What the relay sends can never raise; an
unknown or malformed frame, or one out of place, is counted as ``frames.ignored``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import UNSET, UnsetType

from zentalk_sim.protocol import client_snapshot, codec
from zentalk_sim.protocol.client_core import ClientCore
from zentalk_sim.protocol.client_effects import Count, Effects, Identity, Rejected
from zentalk_sim.protocol.client_host import FRAMES
from zentalk_sim.protocol.client_receipts import READ
from zentalk_sim.protocol.client_state import OPEN, ClientState
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.crypto import Crypto, Ed25519
from zentalk_sim.protocol.errors import CloseConnection, ProtocolError
from zentalk_sim.protocol.frame_sizes import BINARY_HEADER_BYTES, payload_size
from zentalk_sim.protocol.frames import RELAY_FRAMES, Frame, MessageSend, MessageType, Ping, SettableStatus, X3dhHeader
from zentalk_sim.protocol.pending import Pending
from zentalk_sim.protocol.streams import Streams

MAX_NAME_CHARACTERS: Final = 128
"""Of a topic or a conversation id; a hundred of them then fit a text frame's payload."""
_ENVELOPE_BYTES: Final = 700
"""More than all of a MESSAGE_SEND payload but its ciphertext and its texts."""


# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_CONNECTED: Final = ClientState.CONNECTED
_RELAY_FRAMES: Final = RELAY_FRAMES
_PING: Final[type[Ping]] = Ping


class Client(ClientCore):
    """One device of one user.

    ``wire``: frames become bytes, so that MACs cover the payload's bytes; False in fidelity ``frames``.
    """

    __slots__ = ("last_id",)

    def __init__(
        self,
        config: ClientConfig,
        identity: Identity,
        *,
        streams: Streams,
        crypto: Crypto | None = None,
        name: str = "client",
        wire: bool = True,
    ) -> None:
        super().__init__(config, identity, streams=streams, crypto=crypto or Ed25519(), name=name, wire=wire)
        self.last_id = ""
        """The id of the message that ``send`` took last."""

    @property
    def unacked(self) -> int:
        """Messages neither acknowledged, rejected nor failed: queued or sent."""
        return len(self._outbox) if self._outbox is not None else 0

    @property
    def queued(self) -> int:
        """Messages that wait in the outgoing queue."""
        return len(self._outbox.queue) if self._outbox is not None else 0

    # --- the application --------------------------------------------------------------------------

    def send(
        self,
        to: str,
        ciphertext: bytes,
        message_type: MessageType,
        now: int,
        *,
        conversation_id: str | UnsetType = UNSET,
        x3dh_header: X3dhHeader | UnsetType = UNSET,
    ) -> Effects:
        """Send a message; its id is then in ``last_id``. Rejected where the queue is full or it is too large."""
        out = self._begin(now)
        message_id = self.last_id = self._next_id()
        payload = MessageSend(
            to=to,
            ciphertext=ciphertext,
            nonce=self.draw("nonce").bytes(12),
            message_type=message_type,
            conversation_id=conversation_id,
            x3dh_header=x3dh_header,
        )
        texts = len(to) + (len(conversation_id) if isinstance(conversation_id, str) else 0)
        binary = False
        if 4 * (len(ciphertext) // 3 + 1) + 6 * texts + _ENVELOPE_BYTES > FRAMES.max_text_payload_bytes:
            size = payload_size(payload)
            binary = size > FRAMES.max_text_payload_bytes
            if size + BINARY_HEADER_BYTES > FRAMES.max_bytes:
                out.append(Rejected(message_id, "too_large"))
                return out
        self.outbox.add(Pending(message_id, payload, self.config.queue.max_retries, binary), now, out)
        return out

    def mark_read(self, message_id: str, now: int) -> Effects:
        """The user has seen a message: MESSAGE_READ, now or once connected."""
        out = self._begin(now)
        self.receipts.add(READ, message_id, now, out)
        return out

    def start_typing(self, conversation_id: str, now: int) -> Effects:
        """The user types; at most every 3 s a conversation, dropped while not connected."""
        out = self._begin(now)
        if self._short((conversation_id,), out):
            self.signals.start_typing(conversation_id, now, out)
        return out

    def stop_typing(self, conversation_id: str, now: int) -> Effects:
        """The user stopped typing; dropped while not connected."""
        out = self._begin(now)
        if self._short((conversation_id,), out):
            self.signals.stop_typing(conversation_id, now, out)
        return out

    def set_presence(self, status: SettableStatus, now: int) -> Effects:
        """Set the user's presence; while it cannot be sent, the latest is kept."""
        out = self._begin(now)
        self.signals.set_presence(status, now, out)
        return out

    def subscribe(self, topics: Iterable[str], now: int) -> Effects:
        """Subscribe to topics (R-7.2) until ``unsubscribe``, over reconnections too."""
        out = self._begin(now)
        wanted = tuple(topics)
        if self._short(wanted, out):
            self.signals.subscribe(wanted, now, out)
        return out

    def unsubscribe(self, topics: Iterable[str], now: int) -> Effects:
        """Take subscriptions back."""
        out = self._begin(now)
        self.signals.unsubscribe(tuple(topics), now, out)
        return out

    def foreground(self, is_foreground: bool, now: int) -> Effects:
        """The application went to the foreground or the background: the presence follows, unless invisible."""
        out = self._begin(now)
        self.signals.foreground(is_foreground, now, out)
        return out

    def _short(self, names: tuple[str, ...], out: Effects) -> bool:
        if all(len(name) <= MAX_NAME_CHARACTERS for name in names):
            return True
        out.append(Rejected("", "too_large"))
        return False

    # --- what comes in ----------------------------------------------------------------------------

    def receive_data(self, data: str | bytes, now: int) -> Effects:
        """A frame from the relay: ``str`` for a text frame, ``bytes`` for a binary one. Never raises."""
        out = self._begin(now)
        if self.state not in OPEN:
            out.append(Count("frames.ignored"))
            return out
        self._silent_us = now + self._silence_ms * 1000
        try:
            if isinstance(data, str):
                incoming = codec.decode_text(data.encode(), FRAMES.max_bytes)
            else:
                incoming = codec.decode_binary(data)
            kind = RELAY_FRAMES.get(incoming.type)
            if kind is None:
                raise ProtocolError("INVALID_MESSAGE", "unknown type")
            assert incoming.raw_payload is not None
            payload = codec.decode_payload(kind, incoming.raw_payload)
        except (ProtocolError, CloseConnection, UnicodeError):
            out.append(Count("frames.ignored"))
            return out
        frame = Frame(incoming.type, incoming.id, incoming.timestamp, payload, None, incoming.seq)
        self._take(incoming.type, frame, now, out)
        return out

    def receive_frame(self, frame: Frame, now: int) -> Effects:
        """A frame from the relay that travelled by reference (fidelity ``frames``)."""
        out = self._begin(now)
        if self.state is not _CONNECTED and self.state not in OPEN:
            out.append(Count("frames.ignored"))
            return out
        self._silent_us = now + self._silence_ms * 1000
        kind = frame.type
        payload = frame.payload
        if type(payload) is _PING and kind == "PING" and self.state is _CONNECTED:
            # What ``_take`` would come to, for the frame that is by far the most frequent.
            self._answer(payload, now, out)
            return out
        if type(payload) is not _RELAY_FRAMES.get(kind):
            out.append(Count("frames.ignored"))
            return out
        self._take(kind, frame, now, out)
        return out

    def receive_response(self, fetch: int, status: int, body: Any, now: int) -> Effects:
        """The answer to a Fetch: raw JSON, or objects by reference; ``status`` 0 means that the request failed."""
        out = self._begin(now)
        if self._fetches is not None:
            found = self._fetches.pop(fetch, None)
            if found is not None:
                self._answered(found[0], found[1], status, body, now, out)
        return out

    # --- an application's restart -----------------------------------------------------------------

    def snapshot(self) -> bytes:
        """What survives the application's restart: pending sends, receipts, subscriptions, what was shown."""
        return client_snapshot.take(self)

    def restore(self, snapshot: bytes) -> None:
        """Take over what ``snapshot`` kept, in a client that has not yet been used. Raises ValueError."""
        client_snapshot.put(self, snapshot)
