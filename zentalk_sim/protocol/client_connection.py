"""The life of a client's connection: states, time-outs, backoff, and what follows a close (R-11.1 to R-11.3).

Time is ``now``, integer microseconds of the client's own clock. At every input the timers due strictly before
``now`` run first, each at its own instant (R-13.1). An event that has no edge in the present state is ignored.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, Literal

import msgspec

from zentalk_sim.protocol import backoff
from zentalk_sim.protocol.client_effects import (
    AbortSocket,
    CloseSocket,
    Connect,
    Count,
    Effects,
    GaveUp,
    Identity,
    NeedToken,
    StateChanged,
)
from zentalk_sim.protocol.client_host import MAX_RETRY_AFTER_S, Host
from zentalk_sim.protocol.client_session import Session
from zentalk_sim.protocol.client_state import TRANSITIONS, ClientState, Event
from zentalk_sim.protocol.close_policy import CloseAction, close_action, close_cause
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.crypto import Crypto
from zentalk_sim.protocol.errors import CloseCode
from zentalk_sim.protocol.identity import token_signed_data
from zentalk_sim.protocol.streams import Stream, Streams
from zentalk_sim.protocol.timers import NEVER

Purpose = Literal["backoff", "nonce"]
"""What draws of randomness are for, besides ids and the instant of a refresh."""
ENDS_SESSION: Final = frozenset({CloseCode.AUTH_FAILED, CloseCode.BANNED, CloseCode.DEVICE_LIMIT})
"""Close codes after which a session cannot be resumed (R-3.4)."""
UNKNOWN: Final = -1
"""An instant before all others: of the next deadline while it has not been worked out."""

# Compiled, what belongs to this module is at hand; what is imported, and an enumeration's members, are looked up.
_DISCONNECTED: Final = ClientState.DISCONNECTED
_CONNECTING: Final = ClientState.CONNECTING
_AUTHENTICATING: Final = ClientState.AUTHENTICATING
_CONNECTED: Final = ClientState.CONNECTED
_CLOSING: Final = ClientState.CLOSING
_FAILED: Final = ClientState.FAILED
_TRANSITIONS: Final = TRANSITIONS
_StateChanged: Final[type[StateChanged]] = StateChanged
_Connect: Final[type[Connect]] = Connect


class ConnectionLife(Host):
    """The connection's half of a client."""

    __slots__ = (
        "_backoffs",
        "_cool_until_us",
        "_drawn_backoff",
        "_drawn_nonce",
        "_drawn_refresh",
        "_due_us",
        "_next_us",
        "_rate_limited_us",
        "_silence_ms",
        "_silent_us",
        "_told_us",
        "_waited_us",
        "_waits_for_token",
        "attempts",
        "crypto",
        "failures",
        "identity",
        "name",
        "session",
        "streams",
        "token",
    )

    def __init__(
        self, config: ClientConfig, identity: Identity, *, streams: Streams, crypto: Crypto, name: str
    ) -> None:
        # Compiled, attributes lie in memory in this order: what every frame touches stands together, at the end.
        self.identity = identity
        self.streams = streams
        self.name = name
        self.token = identity.token
        """The newest token: what the next upgrade and REST's bearer present (R-3.3)."""
        self.attempts = 0
        """Connections attempted in all."""
        self.failures = 0
        """Attempts failed in a row."""
        self._backoffs = 0
        self._waited_us = 0
        self._cool_until_us = 0
        self._rate_limited_us: int | None = None
        self._told_us: int | None = None
        """What the Retry-After of the last refused upgrade asked for."""
        self._drawn_backoff = 0
        self._drawn_nonce = 0
        self._drawn_refresh = 0
        self.config = config
        self.crypto = crypto
        self.session = Session()
        self.state = _DISCONNECTED
        self._due_us = NEVER
        """The end of what the state allows: a time-out, or in FAILED the next attempt; NEVER where there is none."""
        self._next_us = UNKNOWN
        """What ``due_us`` says; UNKNOWN from each input until somebody asks."""
        self._silence_ms = config.silence_timeout_ms
        self._silent_us = NEVER
        """When the relay will have been silent for too long, unless a frame comes before; counts while CONNECTED."""
        self._waits_for_token = False

    # --- what the other half does -----------------------------------------------------------------

    @abstractmethod
    def due_us(self) -> int:
        """The earliest instant at which ``handle_timeout`` has something to do; NEVER where there is none."""

    @abstractmethod
    def _fire(self, now: int, out: Effects) -> None:
        """Run what is due at ``now``."""

    @abstractmethod
    def _left(self) -> None:
        """The connection is no longer CONNECTED."""

    # --- randomness -------------------------------------------------------------------------------

    def draw(self, purpose: Purpose) -> Stream:
        """A stream for one draw. A count is kept instead of the stream: a million clients draw rarely."""
        if purpose == "backoff":
            count = self._drawn_backoff
            self._drawn_backoff = count + 1
        else:
            count = self._drawn_nonce
            self._drawn_nonce = count + 1
        return self.streams.fresh(self.name + "/" + purpose, count)

    def backoff_us(self, attempt: int) -> int:
        """A wait by the backoff policy before retry 0, 1, … of something other than the connection."""
        return backoff.delay_us(self.config.backoff, attempt, 0, self.draw("backoff"))

    # --- inputs -----------------------------------------------------------------------------------

    def _begin(self, now: int) -> Effects:
        """R-13.1: what was due strictly before this input runs first, each at its own instant."""
        out: Effects = []
        if self._next_us < now:
            # Also where it is UNKNOWN.
            while (due := self.due_us()) < now:
                self._next_us = UNKNOWN
                self._fire(due, out)
        self._next_us = UNKNOWN
        return out

    def handle_timeout(self, now: int) -> Effects:
        """Run every timer due by ``now``, each at its own instant."""
        out: Effects = []
        while (due := self.due_us()) <= now:
            self._next_us = UNKNOWN
            self._fire(due, out)
        return out

    def connect(self, now: int) -> Effects:
        """The application asks for a connection; at once, without backoff. No effect while there is one."""
        out = self._begin(now)
        if self.state is _CLOSING:
            out.append(AbortSocket("reconnect"))
            self._move("closed", "application", out)
        if self.state is _DISCONNECTED or (self.state is _FAILED and self._due_us == NEVER):
            self.failures = self._backoffs = self._waited_us = 0
        if self.state in (_DISCONNECTED, _FAILED):
            self._connect(now, "application", out)
        return out

    def close(self, now: int) -> Effects:
        """The application ends the connection, or stops the attempts to have one."""
        out = self._begin(now)
        if self.state in (_AUTHENTICATING, _CONNECTED):
            self._leave("close", "application", out)
            self._due_us = now + self.config.closing_timeout_ms * 1000
            out.append(CloseSocket(CloseCode.NORMAL, ""))
        elif self.state is _CONNECTING:
            self._due_us = NEVER
            out.append(AbortSocket("application"))
            self._move("lost", "application", out)
        elif self.state is _FAILED:
            self._due_us = NEVER
            self._waits_for_token = False
        return out

    def connected(self, now: int) -> Effects:
        """The WebSocket is open; the relay's challenge comes next."""
        out = self._begin(now)
        if self.state is _CONNECTING:
            self._due_us = now + self.config.auth_timeout_ms * 1000
            self.session.open()
            self._silent_us = now + self._silence_ms * 1000
            if self.config.backoff.reset_at == "open":
                self.failures = self._backoffs = self._waited_us = 0
            self._move("opened", "open", out)
        return out

    def connect_failed(self, now: int, status: int | None = None, retry_after_ms: int | None = None) -> Effects:
        """The attempt failed; ``status`` is the upgrade's HTTP status where it was refused (R-3.1).

        ``retry_after_ms``: what the refusal's Retry-After asked for, which policy ``server_directed`` heeds, up to a
        day; a time below 0 is none.
        """
        out = self._begin(now)
        if self.state is _CONNECTING:
            action: CloseAction = "token" if status == 401 else "backoff"
            if retry_after_ms is not None and retry_after_ms >= 0:
                self._told_us = min(retry_after_ms, MAX_RETRY_AFTER_S * 1000) * 1000
            self._ended(action, "no connection" if status is None else f"refused with {status}", now, out)
        return out

    def closed(self, code: int, now: int) -> Effects:
        """The socket is gone; ``code`` is what it closed with, 1006 without a closing handshake (R-11.3)."""
        out = self._begin(now)
        if self.state is _CLOSING:
            self._due_us = NEVER
            self._move("closed", close_cause(code), out)
        elif self.state in (_AUTHENTICATING, _CONNECTED):
            if code in ENDS_SESSION:
                self.session.resume_token = None
            self._ended(close_action(code), close_cause(code), now, out)
        elif self.state is _CONNECTING:
            self._ended("backoff", close_cause(code), now, out)
        return out

    def network_changed(self, now: int) -> Effects:
        """Another network: the old one's connection is given up, and the next attempt made at once (R-11.2).

        The cool-down of a 4002 still runs to its end, and what was given up on or stopped stays so.
        """
        out = self._begin(now)
        if self.state in (_CONNECTING, _AUTHENTICATING, _CONNECTED):
            out.append(AbortSocket("network_changed"))
            self._leave("lost", "network_changed", out)
            self._connect(now, "network_changed", out)
        elif self.state is _FAILED and self._due_us != NEVER:
            if self._cool_until_us <= now:
                self._connect(now, "network_changed", out)
            else:
                self._due_us = min(self._due_us, self._cool_until_us)
        return out

    def renew_token(self, token: str, now: int) -> Effects:
        """A new token; the attempt that waited for it follows, at once the first time, then with backoff."""
        out = self._begin(now)
        self.token = token
        if self._waits_for_token and self.state is _FAILED:
            self._waits_for_token = False
            if self.failures > 1:
                self._due_us = now + self._next_wait_us()
            else:
                self._connect(now, "new token", out)
        return out

    def token_request(self, now: int) -> bytes:
        """The body of ``POST /api/token`` that gets this client a new connection token (R-3.3)."""
        timestamp = self.session.time_ms(now)
        secret, device_id = self.identity.identity_secret, self.identity.device_id
        signature = self.crypto.sign(secret, token_signed_data(device_id, timestamp))
        body = {
            "identity_key": self.crypto.public_key(secret),
            "device_id": device_id,
            "timestamp": timestamp,
            "signature": signature,
        }
        return msgspec.json.encode(body)

    # --- moves ------------------------------------------------------------------------------------

    def _move(self, event: Event, cause: str, out: Effects) -> None:
        old = self.state
        new = self.state = _TRANSITIONS[old][event]
        out.append(_StateChanged(old, new, cause))

    def _leave(self, event: Event, cause: str, out: Effects) -> None:
        was_connected = self.state is _CONNECTED
        self._due_us = NEVER
        self._move(event, cause, out)
        if was_connected:
            self._left()

    def _connect(self, now: int, cause: str, out: Effects) -> None:
        self._move("connect", cause, out)
        self._due_us = now + self.config.connect_timeout_ms * 1000
        self.attempts += 1
        self._waits_for_token = False
        self._rate_limited_us = self._told_us = None
        query = {"token": self.token, "device_id": self.identity.device_id, "protocol_version": "1"}
        if self.session.resume_token is not None:
            query["resume_token"] = self.session.resume_token
        out.append(_Connect(query))

    def _next_wait_us(self) -> int:
        """R-11.2: the wait before the next attempt."""
        stream = self.draw("backoff")
        told_us, self._told_us = self._told_us, None
        self._waited_us = backoff.delay_us(self.config.backoff, self._backoffs, self._waited_us, stream, told_us)
        self._backoffs += 1
        return self._waited_us

    def _ended(self, action: CloseAction, cause: str, now: int, out: Effects) -> None:
        """The connection, or the attempt, is over: stop, or arrange what comes next."""
        if self.state is not _CONNECTED:
            self.failures += 1
        if action == "stop":
            self._leave("stopped", cause, out)
            return
        self._leave("lost", cause, out)
        if action == "token":
            # Also where no attempt follows: the application's next one would meet the same end.
            out.append(NeedToken())
        if self.failures >= self.config.backoff.max_attempts:
            out.append(GaveUp(self.failures))
        elif action == "token":
            self._waits_for_token = True
        else:
            start = now
            if action == "cooldown":
                cooldown = self._rate_limited_us
                start += self.config.rate_limited_cooldown_ms * 1000 if cooldown is None else cooldown
                self._cool_until_us = start
            self._due_us = start + self._next_wait_us()

    def _state_timeout(self, now: int, out: Effects) -> None:
        """The present state has lasted too long, or in FAILED long enough."""
        self._due_us = NEVER
        state = self.state
        if state is _FAILED:
            self._connect(now, "backoff over", out)
        elif state is _CLOSING:
            out.append(AbortSocket("closing_timeout"))
            self._move("closed", "closing_timeout", out)
        elif state is _CONNECTING:
            self._abort("connect_timeout", now, out)
        else:
            self._abort("auth_timeout", now, out)

    def _abort(self, cause: str, now: int, out: Effects) -> None:
        out.append(AbortSocket(cause))
        out.append(Count(f"connections.{cause}"))
        self._ended("backoff", cause, now, out)

    def _authenticated(self, out: Effects) -> None:
        """AUTH_SUCCESS: the row of failures is over (R-11.2)."""
        self._due_us = NEVER
        self.failures = self._backoffs = self._waited_us = 0
        self._move("authenticated", "authenticated", out)
