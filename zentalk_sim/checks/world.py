"""What the trace has shown so far: connections, users, devices. Shared by all checks, changed by none.

Checks see an event before the world does, except that the connection of an event exists already. What the world
keeps is as large as what the relay itself keeps of users and connections, whatever the length of the trace.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from zentalk_sim.protocol import control
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.crypto import Crypto, Ed25519, Modelled
from zentalk_sim.protocol.identity import address_of
from zentalk_sim.protocol.tokens import plain_claims
from zentalk_sim.trace import events as ev

_MOST_UNANSWERED = 2_000
_INPUTS = frozenset(ev.INPUTS)
DEVICE_PATH = re.compile(r"/api/devices/([0-9a-fA-F-]{36})\Z")


class Conn:
    """One connection. ``known``: its story is known from its upgrade, or from the recording's snapshot."""

    def __init__(self, c: int, known: bool) -> None:
        self.c = c
        self.known = known
        self.node = ""
        """The node that has it."""
        self.state = "upgrading"
        """upgrading, open, challenged, ready, ended."""
        self.user: str | None = None
        self.device = ""
        self.ip = ""
        self.token = ""
        self.resume_token: str | None = None
        """As presented at the upgrade."""
        self.upgraded: Any = None
        self.challenge: Any = None
        """The event of AUTH_CHALLENGE."""
        self.challenge_bytes = b""
        self.server_time = 0
        self.identity_key: bytes | None = None
        self.session_token = ""
        """The current one, which a refresh replaces."""
        self.key_token = ""
        self.session_key: bytes | None = None
        self.session_id = ""
        self.expires_ms = 0
        self.capabilities: tuple[str, ...] = ()
        self.ready_us: int | None = None
        self.ending: Any = None
        """The event that ended it."""
        self.faulted = False
        """A fault rule has come between the client and the relay: what the client did is not known any more."""
        self.frames_in = 0
        self.frames_out = 0
        self.heard_us = 0
        """The instant of the latest frame that the client has shown to have received, by an answer to it."""
        self.lag_ms: int | None = None
        """The least by which its frames' timestamps were behind the relay's clock at their arrival, as far as seen."""
        self.pings: dict[int, int] = {}
        """PINGs not yet echoed: timestamp → when they were sent."""
        self.pushes: dict[str, int] = {}
        """Messages pushed and not yet confirmed → when."""


class Claims(Struct):
    """What a token says; its signature is not looked at."""

    sub: str = ""
    device_id: str = ""
    exp: int = 0
    iat: int = 0
    session_id: str = ""


# Made once, by whoever imports: see ``zentalk_sim.trace.event_reader``, whose traces are checked in threads too.
_decode_claims = msgspec.json.Decoder(Claims).decode


def claims_of(token: str | None) -> Claims | None:
    """The claims of a JWT or a modelled token, unverified; None for what is none, as in a redacted trace."""
    parts = (token or "").split(".")
    try:
        if len(parts) == 3:
            claims = _decode_claims(base64.urlsafe_b64decode(parts[1] + "=="))
        else:
            plain = plain_claims(token or "")
            claims = Claims(plain.sub, plain.device_id, plain.exp, plain.iat, plain.session_id or "")
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
    claims.sub, claims.device_id = claims.sub.lower(), claims.device_id.lower()
    return claims


def device_asked_for(asked: ev.Request) -> str | None:
    """The device that a request would register; None where it is no such request, or names none."""
    if asked.method != "POST" or asked.path != "/api/devices" or asked.body is None:
        return None
    try:
        device = msgspec.json.decode(asked.body, type=dict[str, Any]).get("device_id")
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    return device.lower() if isinstance(device, str) else None


class Person:
    """A registered user."""

    def __init__(self) -> None:
        self.devices: dict[str, None] = {}
        self.known = False
        """All devices are known: registered in the trace, or in its snapshot."""


class _Conns(dict[int, Conn]):
    """Connections by their number; one that is looked up comes into being."""

    def __missing__(self, c: int) -> Conn:
        found = self[c] = Conn(c, False)
        return found


class World:
    """The trace's present."""

    def __init__(self) -> None:
        self.now = 0
        self.node = ""
        """The node that speaks, where there are several."""
        self.true_us = 0
        """The instant by a clock that all nodes share: ``now``, unless node clocks are off."""
        self._skewed = False
        self.begin: ev.Begin | None = None
        self.config = RelayConfig()
        self.client = ClientConfig()
        self.crypto: Crypto = Ed25519()
        self.conns: dict[int, Conn] = _Conns()
        self.conn: Callable[[int], Conn] = self.conns.__getitem__
        """A connection; one first heard of amid its life is not ``known``. Called more often than all else."""
        self.people: dict[str, Person] = {}
        self.places: dict[str, dict[str, int]] = {}
        """User → device → connection, of those authenticated and not ended."""
        self.cause: Any = None
        """The input whose group this is."""
        self.requests: dict[int, ev.Request] = {}
        self.awaiting: list[Any] = []
        """Checks that want to hear of this group's end."""
        self.skip_pings_until_us = 0
        self.tells_states = False
        """A simulation that says what its clients' states are, and what its applications show."""

    # --- looking ------------------------------------------------------------------------------------

    def person(self, user: str) -> Person:
        """A user."""
        found = self.people.get(user)
        if found is None:
            found = self.people[user] = Person()
        return found

    def session_key(self, conn: Conn) -> bytes | None:
        """R-5.1: the key of a connection's MACs; None where the trace does not show what it is made of."""
        if conn.session_key is None and conn.key_token.isascii() and conn.key_token and conn.challenge_bytes:
            conn.session_key = self.crypto.session_key(conn.key_token, conn.challenge_bytes)
        return conn.session_key

    def near(self, event: ev.FrameIn, time_ms: int) -> bool:
        """Whether a client's time is within the window of the relay's clock, or of real time (R-1.4, R-13.2)."""
        window_us = self.config.auth.time_window_ms * 1000
        if abs(time_ms * 1000 - event.t) <= window_us:
            return True
        return event.real is not None and abs(time_ms * 1000 - event.real) <= window_us

    def still_indexed(self, then_us: int) -> bool:
        """Whether the relay's index still holds a message accepted then, and so must know it (R-5.6, R-6.5)."""
        return self.now - then_us < self.config.mailbox.retention_s * 1_000_000

    @property
    def redacted(self) -> bool:
        """Whether addresses, conversations, keys and tokens are pseudonyms: alike where they were, and no more.

        What the relay works out of them (an id, a fingerprint, a MAC, a frame's size) cannot be judged then.
        """
        return self.begin is not None and self.begin.redacted

    @property
    def send(self) -> ev.FrameIn | None:
        """The well-formed MESSAGE_SEND that this group answers, if that is its input."""
        cause = self.cause
        good = type(cause) is ev.FrameIn and cause.type == "MESSAGE_SEND" and cause.payload is not None
        return cause if good else None

    @property
    def comparable(self) -> bool:
        """Whether instants that different nodes told can be compared."""
        return not self._skewed or self.begin is None or self.begin.nodes == 1

    # --- before the checks --------------------------------------------------------------------------

    def prepare(self, event: Any) -> None:
        """The connection of an event comes into being; the time and the input are noted."""
        self.now = event.t
        kind = type(event)
        if not self._skewed or kind is ev.Turn:
            self.true_us = event.t
        if kind is ev.Turn:
            self.node, self.cause = event.node, None
            return
        if kind is ev.Begin:
            self._begin(event)
            return
        if kind is ev.Restart:
            self.conns.clear()
            self.places.clear()
            self.config = event.config
        if kind is ev.Upgrade:
            before = self.conns.get(event.c)
            conn = self.conns[event.c] = Conn(event.c, True)
            # A fault rule may act on the upgrade itself.
            conn.faulted = before is not None and before.faulted and before.upgraded is None
            conn.upgraded = event
            conn.node = self.node
            conn.device = event.query.get("device_id", "").lower()
            conn.token = event.query.get("token", "")
            conn.resume_token = event.query.get("resume_token")
            conn.ip = event.ip
            claims = claims_of(conn.token)
            if claims is not None:
                conn.user = claims.sub or None
                conn.expires_ms = claims.exp * 1000
        elif kind is ev.Request:
            if len(self.requests) > 10_000:
                self.requests.clear()
            self.requests[event.r] = event
        elif kind is ev.FrameIn:
            self._heard(event)
        elif kind is ev.State:
            self.tells_states = True
        if kind in _INPUTS:
            self.cause = event

    def _heard(self, event: ev.FrameIn) -> None:
        """An answer shows that what it answers has arrived, and with it all that was sent before (TCP keeps order)."""
        conn = self.conn(event.c)
        payload = event.payload
        if payload is None:
            return
        lag_ms = max(0, event.t // 1000 - event.timestamp)
        if conn.lag_ms is None or lag_ms < conn.lag_ms:
            conn.lag_ms = lag_ms
        at_us: int | None = None
        if event.type == "PONG":
            at_us = conn.pings.pop(payload.timestamp, None)
        elif event.type == "MESSAGE_RECEIVED":
            at_us = conn.pushes.pop(payload.message_id.lower(), None)
        elif conn.heard_us == 0 and event.type != "AUTH_RESPONSE" and conn.ready_us is not None:
            at_us = conn.ready_us
        if at_us is not None and at_us > conn.heard_us:
            conn.heard_us = at_us

    def _begin(self, event: ev.Begin) -> None:
        self.begin = event
        self.config, self.client = event.config, event.client
        self._skewed = event.skewed
        if event.modelled:
            self.crypto = Modelled()
        image = event.image
        if image is None:
            return
        self.skip_pings_until_us = image.skip_pings_until_us
        for address, user in image.store.users.items():
            person = self.person(address)
            person.devices = dict.fromkeys(user.devices)
            person.known = True
        for at in image.connections:
            conn = self.conns[at.id] = Conn(at.id, True)
            conn.state, conn.user, conn.device, conn.ip = at.state, at.user or None, at.device_id, at.ip
            conn.resume_token = at.resume_token
            conn.challenge_bytes, conn.server_time = at.challenge, at.server_time_ms
            conn.session_token, conn.key_token = at.session_token, at.key_token
            conn.capabilities = at.token_capabilities
            conn.expires_ms = at.token_exp_s * 1000
            if at.session is not None:
                conn.session_id = at.session.session_id
            if at.state == "ready" and conn.user:
                self.places.setdefault(conn.user, {})[conn.device] = at.id

    # --- after the checks ---------------------------------------------------------------------------

    def settle(self, event: Any) -> None:
        """The event has happened."""
        kind = type(event)
        if kind is ev.FrameOut:
            self._sent(event)
        elif kind is ev.FrameIn:
            conn = self.conn(event.c)
            conn.frames_in += 1
            if event.type == "AUTH_RESPONSE" and event.payload is not None:
                conn.identity_key = event.payload.identity_key
        elif kind is ev.Accept:
            self.conn(event.c).state = "open"
        elif kind in (ev.Close, ev.Abort):
            self._ended(event)
        elif kind is ev.Lost:
            self._ended(event)
            self.conns.pop(event.c, None)
        elif kind is ev.Refuse:
            self.conns.pop(event.c, None)
        elif kind is ev.Config:
            self.config = event.config
        elif kind is ev.Faulted:
            self.conn(event.c).faulted = True
        elif kind is ev.Note:
            if event.name == "connections.authenticated" and event.c is not None and event.user:
                self._placed(self.conn(event.c), event.user)
        elif kind is ev.Control:
            self._commanded(event.command)
        elif kind is ev.Response:
            self._answered(event)

    def _sent(self, event: ev.FrameOut) -> None:
        conn = self.conn(event.c)
        conn.frames_out += 1
        payload = event.payload
        if event.type == "PING" and payload is not None and len(conn.pings) < _MOST_UNANSWERED:
            conn.pings[payload.timestamp] = event.t
        elif event.type == "MESSAGE_NEW" and len(conn.pushes) < _MOST_UNANSWERED:
            conn.pushes.setdefault(event.id, event.t)
        elif event.type == "AUTH_CHALLENGE" and payload is not None:
            conn.challenge, conn.challenge_bytes = event, payload.challenge
            conn.server_time = payload.server_time
            if conn.state == "open":
                conn.state = "challenged"
        elif event.type == "AUTH_SUCCESS":
            if conn.state == "ended":
                return
            conn.state, conn.ready_us = "ready", event.t
            if payload is not None:
                conn.session_token = conn.key_token = payload.session_token
                conn.session_key = None
                conn.session_id, conn.expires_ms = payload.session_id, payload.expires_at
                conn.capabilities = payload.capabilities
            if conn.user is not None and conn.device:
                self._placed(conn, conn.user)
        elif event.type == "TOKEN_REFRESHED" and payload is not None:
            conn.session_token, conn.expires_ms = payload.session_token, payload.expires_at

    def _placed(self, conn: Conn, user: str) -> None:
        """A connection is authenticated; a redacted token did not tell whose it was."""
        if conn.state == "ready":
            conn.user = user
            self.person(user).devices[conn.device] = None
            self.places.setdefault(user, {})[conn.device] = conn.c

    def _ended(self, event: Any) -> None:
        conn = self.conn(event.c)
        if conn.state != "ended":
            conn.state, conn.ending = "ended", event
        place = self.places.get(conn.user or "")
        if place is not None and place.get(conn.device) == conn.c:
            del place[conn.device]

    def _commanded(self, command: Any) -> None:
        match command:
            case control.AddUser():
                if len(command.identity_key) == 32 or command.address:
                    address = (command.address or address_of(command.identity_key)).lower()
                    self.person(address).known = True
            case control.AddDevice():
                self._register(command.address.lower(), command.device_id.lower())
            case control.RemoveDevice():
                self.person(command.address.lower()).devices.pop(command.device_id.lower(), None)
            case control.AdvanceClock():
                if command.heartbeat == "skip":
                    self.skip_pings_until_us = max(self.skip_pings_until_us, command.until_us)

    def _register(self, user: str, device: str) -> None:
        devices = self.person(user).devices
        if len(devices) < self.config.devices.max_registered:
            devices[device] = None

    def _answered(self, event: ev.Response) -> None:
        asked = self.requests.pop(event.r, None)
        if asked is None or not 200 <= event.status < 300:
            return
        claims = claims_of(asked.bearer)
        found = DEVICE_PATH.match(asked.path) if asked.method == "DELETE" else None
        if asked.method == "POST" and asked.path == "/api/token" and asked.body is not None:
            self._token_given(event.body)
        if claims is None:
            if found and self.redacted:
                # Whose it was the pseudonym of the token does not tell.
                for person in self.people.values():
                    person.devices.pop(found.group(1).lower(), None)
            return
        device = device_asked_for(asked)
        if device is not None:
            self._register(claims.sub, device)
        elif found:
            self.person(claims.sub).devices.pop(found.group(1).lower(), None)

    def _token_given(self, body: Any) -> None:
        """In profile ``dev`` asking for a token registers its user."""
        claims = claims_of(body.get("token")) if isinstance(body, dict) and isinstance(body.get("token"), str) else None
        if claims is not None:
            self.person(claims.sub).known = True
