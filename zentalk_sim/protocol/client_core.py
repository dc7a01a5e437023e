"""What a client does about each frame of the relay, and the timers and requests that this needs.

One function a frame, and a table of state and frame type that names it. Parts that a client may never need (outbox,
receipts, signals, inbox) are made when first used, since one process may hold a million clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zentalk_sim.protocol.client_connection import UNKNOWN, ConnectionLife
from zentalk_sim.protocol.client_effects import Count, Effects, Fetch, Identity, Receipt, SendFrame, Update
from zentalk_sim.protocol.client_host import MAX_TIME_MS, retry_after_us
from zentalk_sim.protocol.client_queue import Outbox
from zentalk_sim.protocol.client_receipts import RECEIVED, Receipts
from zentalk_sim.protocol.client_signals import Signals
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.client_sync import Inbox
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.crypto import Crypto
from zentalk_sim.protocol.errors import HTTP_STATUS, RATE_LIMITED
from zentalk_sim.protocol.frames import BinaryFrame, Frame, Payload, Pong
from zentalk_sim.protocol.streams import Stream, Streams
from zentalk_sim.protocol.timers import NEVER

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_CONNECTED: Final = ClientState.CONNECTED
_FRAME: Final = Frame
_PONG: Final = Pong
_SEND_FRAME: Final = SendFrame


class ClientCore(ConnectionLife):
    """The relay's half of a client."""

    __slots__ = (
        "_fetch_count",
        "_fetches",
        "_ids",
        "_inbox",
        "_outbox",
        "_receipts",
        "_send_seq",
        "_signals",
        "frame",
        "hands_over_frames",
        "wire",
    )

    def __init__(
        self, config: ClientConfig, identity: Identity, *, streams: Streams, crypto: Crypto, name: str, wire: bool
    ) -> None:
        super().__init__(config, identity, streams=streams, crypto=crypto, name=name)
        self.wire = wire
        self.hands_over_frames = False
        """Where an input's first effect is a frame other than MESSAGE_SEND, the face takes it from ``frame``.

        It is no ``SendFrame`` then: for a face of many clients, which it saves a record a frame.
        """
        self._send_seq = config.send_seq
        self.frame: Any = None
        """Such a frame, to be sent before the other effects of the last input; the face puts None in its place."""
        self._ids: Stream | None = None
        self._outbox: Outbox | None = None
        self._receipts: Receipts | None = None
        self._signals: Signals | None = None
        self._inbox: Inbox | None = None
        self._fetches: dict[int, tuple[str, str, int]] | None = None
        self._fetch_count = 0

    # --- parts ------------------------------------------------------------------------------------

    @property
    def outbox(self) -> Outbox:
        """Queue and pending sends."""
        if self._outbox is None:
            self._outbox = Outbox(self)
        return self._outbox

    @property
    def receipts(self) -> Receipts:
        """Receipts on their way out."""
        if self._receipts is None:
            self._receipts = Receipts(self)
        return self._receipts

    @property
    def signals(self) -> Signals:
        """Presence, typing, subscriptions."""
        if self._signals is None:
            self._signals = Signals(self)
        return self._signals

    @property
    def inbox(self) -> Inbox:
        """Messages received."""
        if self._inbox is None:
            self._inbox = Inbox(self)
        return self._inbox

    # --- frames, one function each ----------------------------------------------------------------

    def _take(self, kind: str, frame: Frame, now: int, out: Effects) -> None:
        # To hash a state costs more than all the rest of this.
        handlers = _WHEN_CONNECTED if self.state is _CONNECTED else _HANDLERS[self.state]
        handler = handlers.get(kind)
        if handler is None:
            out.append(Count("frames.ignored"))
        else:
            handler(self, frame, now, out)

    def _auth_challenge(self, frame: Frame, now: int, out: Effects) -> None:
        # A challenge is good for one answer; a time that cannot be signed is no time.
        if self.session.challenge is not None or not 0 <= frame.payload.server_time <= MAX_TIME_MS:
            out.append(Count("frames.ignored"))
            return
        trust = self.config.trust_server_time
        answer = self.session.answer(frame.payload, self.identity, self.crypto, trust, now)
        self.emit("AUTH_RESPONSE", answer, now, out)

    def _auth_success(self, frame: Frame, now: int, out: Effects) -> None:
        success = frame.payload
        if self.session.challenge is None or not _usable(success.session_token, success.expires_at):
            out.append(Count("frames.ignored"))
            return
        self.session.succeed(success, self.crypto, self.config.send_mac)
        self._new_token(success.session_token, success.expires_at, now)
        self._authenticated(out)
        if self._signals is not None:
            self._signals.connected(success.resumed, now, out)
        if self._receipts is not None:
            self._receipts.connected(now, out)
        if self._outbox is not None:
            self._outbox.connected(now, out)

    def _new_token(self, token: str, expires_at: int, now: int) -> None:
        self.token = token
        self.session.take_token(token, expires_at)
        self.session.plan_refresh(self.config, now)
        if self.session.refreshes_later:
            self._drawn_refresh += 1

    def _refresh_us(self) -> int:
        """When to send TOKEN_REFRESH; to be asked once that may be near."""
        session = self.session
        if session.refreshes_later:
            session.draw_refresh(self.streams.fresh(self.name + "/refresh", self._drawn_refresh - 1))
        return session.refresh_us

    def _auth_failed(self, frame: Frame, now: int, out: Effects) -> None:
        # The close that follows decides; if none comes, the time-out does.
        out.append(Update(frame))

    def _message_new(self, frame: Frame, now: int, out: Effects) -> None:
        self.inbox.pushed(frame.id, frame.payload, now, out)

    def _message_ack(self, frame: Frame, now: int, out: Effects) -> None:
        self.outbox.acknowledged(frame.payload, now, out)

    def _delivered(self, frame: Frame, now: int, out: Effects) -> None:
        notice = frame.payload
        out.append(Receipt("delivered", notice.message_id, notice.device_id, notice.timestamp))

    def _read(self, frame: Frame, now: int, out: Effects) -> None:
        notice = frame.payload
        out.append(Receipt("read", notice.message_id, notice.read_by, notice.timestamp))

    def _typing(self, frame: Frame, now: int, out: Effects) -> None:
        self.signals.peer_typing(frame, now, out)

    def _update(self, frame: Frame, now: int, out: Effects) -> None:
        out.append(Update(frame))

    def _ping(self, frame: Frame, now: int, out: Effects) -> None:
        self.emit("PONG", _PONG(frame.payload.timestamp, self.session.time_ms(now)), now, out)
        if self._receipts is not None:
            self._receipts.forget(now)
        if self._signals is not None:
            self._signals.forget(now)

    def _sync_required(self, frame: Frame, now: int, out: Effects) -> None:
        self.inbox.sync(now, out)

    def _token_refreshed(self, frame: Frame, now: int, out: Effects) -> None:
        fresh = frame.payload
        if not _usable(fresh.session_token, fresh.expires_at):
            out.append(Count("frames.ignored"))
            return
        self._new_token(fresh.session_token, fresh.expires_at, now)

    def _token_expiring(self, frame: Frame, now: int, out: Effects) -> None:
        remaining = min(max(frame.payload.seconds_remaining, 0), MAX_TIME_MS)
        self._refresh_us()
        self.session.warned(remaining, self.config, now)
        self._session_timers(now, out)

    def _auth_error(self, frame: Frame, now: int, out: Effects) -> None:
        if frame.payload.error_code == RATE_LIMITED:
            self._rate_limited_us = retry_after_us(frame.payload, self.config)
        code = frame.payload.error_code
        out.append(Count(f"errors.{code if code in HTTP_STATUS else 'unknown'}"))

    def _error(self, frame: Frame, now: int, out: Effects) -> None:
        self._auth_error(frame, now, out)
        error = frame.payload
        code = error.error_code
        pause_us = retry_after_us(error, self.config) if code == RATE_LIMITED else 0
        kind = error.original_type if isinstance(error.original_type, str) else ""
        frame_id = error.original_id.lower() if isinstance(error.original_id, str) else ""
        match kind:
            # The specification's example of RATE_LIMITED does not say what it answers: sending pauses then too.
            case "MESSAGE_SEND" | "" if self._outbox is not None:
                self._outbox.refused(frame_id, code, pause_us, now, out)
            case "MESSAGE_READ" | "MESSAGE_RECEIVED" if self._receipts is not None:
                self._receipts.refused(frame_id, code, pause_us, now, out)
            case "PRESENCE_SET" | "SUBSCRIBE" | "UNSUBSCRIBE" if self._signals is not None:
                self._signals.refused(kind, frame_id, code, pause_us, now, out)
            case "TOKEN_REFRESH":
                self.session.refresh_refused(self.config, now, pause_us)

    # --- Host: what the parts ask -----------------------------------------------------------------

    def _next_id(self) -> str:
        if self._ids is None:
            self._ids = self.streams.fresh(f"{self.name}/ids")
        return self._ids.uuid4()

    def emit(
        self, kind: str, payload: Payload, now: int, out: Effects, frame_id: str | None = None, binary: bool = False
    ) -> str:
        """Send a frame; with ``seq`` and ``message_mac`` once authenticated, unless binary (R-1.3, R-2.1)."""
        session = self.session
        if frame_id is None:
            frame_id = self._next_id()
        timestamp = session.time_ms(now)
        if binary:
            out.append(SendFrame(BinaryFrame(kind, frame_id, timestamp, payload)))
            return frame_id
        seq = mac = None
        if session.ready:
            if self._send_seq:
                seq = session.seq = session.seq + 1
            mac = session.mac(self.crypto, kind, frame_id, timestamp, payload, self.wire)
        frame = _FRAME(kind, frame_id, timestamp, payload, mac, seq)
        if self.hands_over_frames and not out and self.frame is None and kind != "MESSAGE_SEND":
            self.frame = frame
        else:
            out.append(_SEND_FRAME(frame))
        return frame_id

    def fetch(self, purpose: str, key: str, method: str, path: str, body: bytes | None, now: int, out: Effects) -> None:
        """Make a REST request; no answer within the time-out counts as its failure."""
        if self._fetches is None:
            self._fetches = {}
        self._fetch_count += 1
        self._fetches[self._fetch_count] = (purpose, key, now + self.config.fetch_timeout_ms * 1000)
        out.append(Fetch(self._fetch_count, method, path, body))

    def public_key(self) -> bytes:
        """The identity key."""
        return self.crypto.public_key(self.identity.identity_secret)

    def confirm(self, message_id: str, now: int, out: Effects) -> None:
        """MESSAGE_RECEIVED for one copy."""
        self.receipts.add(RECEIVED, message_id, now, out)

    def _answered(self, purpose: str, key: str, status: int, body: Any, now: int, out: Effects) -> None:
        match purpose:
            case "messages":
                self.inbox.answered(status, body, now, out)
            case "ack":
                self.inbox.acknowledged(status, now, out)
            case _:
                self.outbox.keys_answered(key, status, body, now, out)

    # --- time -------------------------------------------------------------------------------------

    def next_timeout(self) -> int | None:
        """The earliest instant at which ``handle_timeout`` has something to do, or None."""
        due_us = self.due_us()
        return None if due_us == NEVER else due_us

    def due_us(self) -> int:
        """As ``next_timeout``, but NEVER in place of None."""
        if self._next_us == UNKNOWN:
            # A face asks after each input, and the next input asks again: half of the work is saved.
            self._next_us = self._earliest()
        return self._next_us

    def _earliest(self) -> int:
        due = self._due_us
        if self.state is _CONNECTED:
            due = self._silent_us
            if self.session.refresh_us < due:
                at = self._refresh_us()
                if at < due:
                    due = at
        # Spelt out, since this runs at every input.
        outbox = self._outbox
        if outbox is not None and (outbox.sent or outbox.queue):
            at = outbox.next_us()
            if at < due:
                due = at
        receipts = self._receipts
        if receipts is not None and receipts.waiting:
            at = receipts.next_us()
            if at < due:
                due = at
        signals = self._signals
        if signals is not None:
            at = signals.next_us()
            if at < due:
                due = at
        inbox = self._inbox
        if inbox is not None:
            at = inbox.next_us()
            if at < due:
                due = at
        if self._fetches:
            at = next(iter(self._fetches.values()))[2]
            if at < due:
                due = at
        return due

    def _fire(self, now: int, out: Effects) -> None:
        if self._due_us <= now:
            self._state_timeout(now, out)
        self._session_timers(now, out)
        for part in (self._outbox, self._receipts, self._signals, self._inbox):
            if part is not None:
                part.fire(now, out)
        while self._fetches:
            fetch, (purpose, key, due) = next(iter(self._fetches.items()))
            if due > now:
                break
            del self._fetches[fetch]
            self._answered(purpose, key, 0, None, now, out)

    def _session_timers(self, now: int, out: Effects) -> None:
        if self.state is not _CONNECTED:
            return
        session = self.session
        if self._silent_us <= now:
            self._abort("silence", now, out)
        elif session.refresh_us <= now and self._refresh_us() <= now:
            payload = session.refresh(self.identity, self.crypto, self.config, now)
            session.refresh_id = self.emit("TOKEN_REFRESH", payload, now, out)

    def _left(self) -> None:
        for part in (self._receipts, self._signals, self._inbox):
            if part is not None:
                part.lost()
        if self._fetches:
            # A page that comes after the next connection's synchronisation began is none of that one's.
            self._fetches = {number: entry for number, entry in self._fetches.items() if entry[0] == "keys"}


def _usable(token: str, expires_at: int) -> bool:
    """Whether a token is ASCII (it is signed and keyed as such) and its end a time."""
    return token.isascii() and 0 <= expires_at <= MAX_TIME_MS


Handler = Callable[[ClientCore, Frame, int, Effects], None]
_ANSWERS: Final[dict[str, Handler]] = {
    "MESSAGE_ACK": ClientCore._message_ack,
    "MESSAGE_DELIVERED": ClientCore._delivered,
    "MESSAGE_READ": ClientCore._read,
}
_HANDLERS: Final[dict[ClientState, dict[str, Handler]]] = {
    ClientState.AUTHENTICATING: {
        "AUTH_CHALLENGE": ClientCore._auth_challenge,
        "AUTH_SUCCESS": ClientCore._auth_success,
        "AUTH_FAILED": ClientCore._auth_failed,
        "ERROR": ClientCore._auth_error,
    },
    ClientState.CONNECTED: {
        **_ANSWERS,
        "MESSAGE_NEW": ClientCore._message_new,
        "TYPING_START": ClientCore._typing,
        "TYPING_STOP": ClientCore._typing,
        "PRESENCE_UPDATE": ClientCore._update,
        "KEY_CHANGE": ClientCore._update,
        "PING": ClientCore._ping,
        "ERROR": ClientCore._error,
        "AUTH_FAILED": ClientCore._auth_failed,
        "SYNC_REQUIRED": ClientCore._sync_required,
        "TOKEN_REFRESHED": ClientCore._token_refreshed,
        "TOKEN_EXPIRING": ClientCore._token_expiring,
    },
    ClientState.CLOSING: _ANSWERS,
}
"""State → frame → what is done about it. A closing client can send nothing more, and takes answers only."""
_WHEN_CONNECTED: Final = _HANDLERS[ClientState.CONNECTED]
