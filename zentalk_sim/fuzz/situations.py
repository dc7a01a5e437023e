"""Interesting situations, counted: what a swarm must have come upon before its silence says anything.

Each is recognised from the same events that the checks read. A situation never reached in a whole run is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.checks.registry import Recent
from zentalk_sim.checks.world import World
from zentalk_sim.fuzz.rogue_wire import ROGUE
from zentalk_sim.fuzz.rules_drawn import FAMILIES
from zentalk_sim.trace import events as ev

if TYPE_CHECKING:
    from zentalk_sim.fuzz.trial import Trial

NAMES: Final[tuple[str, ...]] = (
    "a message sent again was acknowledged as a duplicate",
    "a duplicate arrived after its id was forgotten",
    "a copy was pushed to a device a second time",
    "a device threw away a duplicate",
    "a mailbox overflowed",
    "a mailbox overflowed while its device was fetching",
    "a copy expired",
    "a copy was confirmed after its connection was lost",
    "a session was resumed",
    "a session was resumed on another node",
    "a session was resumed after its node had restarted",
    "a resume token came too late, or was stale",
    "a token expired while its device was away",
    "a token expired on a connection",
    "a frame came within the token's grace",
    "a token was refreshed",
    "a refresh was refused",
    "a limit refused a message by its window",
    "a limit refused a message by its burst",
    "a limit's window was full to its last place",
    "a connection was closed for its refusals",
    "a connection was dropped by the heartbeat",
    "a PONG came after its time-out",
    "a device replaced its own connection",
    "a device replaced its connection on another node",
    "a node died before its commit",
    "a node died after its commit and before the ACK",
    "a node died amid its effects",
    "a node died while a device was fetching",
    "a node stopped in order",
    "an event of the bus was lost",
    "a look at a mailbox made good for a lost event",
    "a message was refused since the store was away",
    "an upgrade was refused since the store was away",
    "a message was sent to a user with no device connected",
    "a message arrived while its device was fetching",
    "a message was rejected by a full queue",
    "a message was given up on",
    "a message was given up on that the relay holds",
    "a client gave up connecting",
    "a user was suspended while connected",
    "a removed device came back",
    "receipts were kept for a user who was away",
    "kept receipts overflowed",
    "a binary frame was delivered",
    "a nonce was used again",
    "a sequence number was used again",
    "an answer to a challenge came too late, or never",
    "too many devices of one user",
    "a typing indicator ended by itself",
    "a device turned away by itself",
    "an application was restarted with messages unacknowledged",
    "a message came again on a connection that a rule had struck",
    "a frame was refused on a connection that a rule had struck",
    "a connection that a rule had struck was closed for what came in",
    "a connection that a rule had struck was dropped by the heartbeat",
    *(f"a rule struck: {action} at {event}" for event, action in FAMILIES),
)
_FOR_WHAT_CAME_IN: Final = (1002, 1003, 1007, 1008, 1009)

_NOTES: Final = {
    "copies.dropped.overflow": "a mailbox overflowed",
    "copies.dropped.expired": "a copy expired",
    "notices.dropped.overflow": "kept receipts overflowed",
}


class Situations:
    """The situations of one trial."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._pushed: Recent[tuple[str, str], int] = Recent(20_000)
        self._sessions: Recent[str, str] = Recent(1_000)
        self._stopped: dict[str, None] = {}
        self._fetching: dict[str, None] = {}
        self._queued: Recent[str, None] = Recent(20_000)
        self._published: dict[str, int] = {}
        self._struck: dict[int, None] = {}
        """Connections that a rule has struck."""
        self._kept = 0
        self._started = (0, 0)
        """The connection that was authenticated last, and when: what comes at once was kept for it."""
        self._handlers: dict[type, Callable[[Any, World], None]] = {
            ev.FrameIn: self._in,
            ev.FrameOut: self._out,
            ev.Note: self._note,
            ev.Upgrade: self._upgrade,
            ev.Refuse: self._refuse,
            ev.Close: self._close,
            ev.Abort: self._abort,
            ev.Lost: self._lost,
            ev.Response: self._response,
            ev.State: self._state,
            ev.Faulted: self._faulted,
        }

    def feed(self, event: Any, world: World) -> None:
        """Look at an event; ``world`` is as it was before it."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event, world)

    def reached(self, name: str, times: int = 1) -> None:
        """A situation came about. Raises KeyError for one that has no name here."""
        if name not in _KNOWN:
            raise KeyError(name)
        self.counts[name] = self.counts.get(name, 0) + times

    # --- frames --------------------------------------------------------------------------------------

    def _in(self, event: ev.FrameIn, world: World) -> None:
        conn = world.conn(event.c)
        if conn.state != "ready":
            return
        over_us = event.t - conn.expires_ms * 1000
        if conn.expires_ms and 0 < over_us <= world.config.token.grace_s * 1_000_000:
            self.reached("a frame came within the token's grace")
        if event.type == "PONG" and event.payload is not None:
            late_us = event.t - event.payload.timestamp * 1000 - world.config.heartbeat.pong_timeout_ms * 1000
            if late_us > 0:
                self.reached("a PONG came after its time-out")

    def _out(self, event: ev.FrameOut, world: World) -> None:
        kind, payload = event.type, event.payload
        conn = world.conn(event.c)
        if kind == "MESSAGE_NEW":
            key = (conn.device, event.id)
            if key in self._pushed:
                self.reached("a copy was pushed to a device a second time")
            self._pushed[key] = event.c
            if event.binary:
                self.reached("a binary frame was delivered")
            if conn.device in self._fetching:
                self.reached("a message arrived while its device was fetching")
            if type(world.cause) is ev.Timer and self._published.get(world.node, 0) == 0 and _is_look(world):
                self.reached("a look at a mailbox made good for a lost event")
        elif kind == "MESSAGE_ACK" and payload is not None:
            self._acknowledged(event, world)
        elif kind == "AUTH_SUCCESS" and payload is not None:
            self._authenticated(event, world)
        elif kind == "ERROR" and payload is not None:
            self._refused(payload)
            if event.c in self._struck:
                self.reached("a frame was refused on a connection that a rule had struck")
        elif kind == "SYNC_REQUIRED":
            self._fetching[conn.device] = None
        elif kind in ("MESSAGE_DELIVERED", "MESSAGE_READ") and self._started == (event.c, event.t):
            self._kept += 1
        elif kind == "TOKEN_REFRESHED":
            self.reached("a token was refreshed")
        elif kind == "TYPING_STOP" and type(world.cause) is ev.Timer and world.node == conn.node:
            self.reached("a typing indicator ended by itself")
        elif kind == "PRESENCE_UPDATE" and type(world.cause) is ev.Timer and getattr(payload, "status", "") == "away":
            self.reached("a device turned away by itself")

    def _acknowledged(self, event: ev.FrameOut, world: World) -> None:
        payload = event.payload
        if payload.status == "duplicate":
            self.reached("a message sent again was acknowledged as a duplicate")
            if event.c in self._struck:
                self.reached("a message came again on a connection that a rule had struck")
            return
        if payload.message_id in self._queued:
            self.reached("a duplicate arrived after its id was forgotten")
        self._queued[payload.message_id] = None
        cause = world.cause
        is_send = type(cause) is ev.FrameIn and cause.payload is not None and cause.type == "MESSAGE_SEND"
        if is_send and not world.places.get(cause.payload.to.lower()):
            self.reached("a message was sent to a user with no device connected")

    def _authenticated(self, event: ev.FrameOut, world: World) -> None:
        conn, payload = world.conn(event.c), event.payload
        node = self._sessions.get(conn.device)
        if payload.resumed:
            self.reached("a session was resumed")
            if node is not None and node != conn.node:
                self.reached("a session was resumed on another node")
            if node is not None and node in self._stopped:
                self.reached("a session was resumed after its node had restarted")
        elif conn.resume_token:
            self.reached("a resume token came too late, or was stale")
        self._sessions[conn.device] = conn.node
        self._started = (event.c, event.t)
        for other in world.places.get(conn.user or "", {}).values():
            before = world.conns.get(other)
            if before is not None and before.device == conn.device and other != event.c:
                self.reached("a device replaced its own connection")
                if before.node != conn.node:
                    self.reached("a device replaced its connection on another node")

    def _refused(self, payload: Any) -> None:
        code, kind = payload.error_code, payload.original_type
        reason = payload.details.get("reason")
        if code == "RATE_LIMITED" and kind == "MESSAGE_SEND":
            self.reached(f"a limit refused a message by its {'burst' if reason == 'burst' else 'window'}")
        elif code == "SERVICE_UNAVAILABLE" and kind == "MESSAGE_SEND":
            self.reached("a message was refused since the store was away")
        elif kind == "TOKEN_REFRESH":
            self.reached("a refresh was refused")
        elif reason == "nonce_reused":
            self.reached("a nonce was used again")
        elif reason == "sequence_replayed":
            self.reached("a sequence number was used again")

    # --- connections ---------------------------------------------------------------------------------

    def _upgrade(self, event: ev.Upgrade, world: World) -> None:
        self._fetching.pop(event.query.get("device_id", "").lower(), None)

    def _refuse(self, event: ev.Refuse, world: World) -> None:
        if event.status == 503:
            self.reached("an upgrade was refused since the store was away")

    def _close(self, event: ev.Close, world: World) -> None:
        conn = world.conn(event.c)
        if event.c in self._struck and event.code in _FOR_WHAT_CAME_IN:
            self.reached("a connection that a rule had struck was closed for what came in")
        if event.code == 4001:
            away = conn.state != "ready"
            self.reached("a token expired while its device was away" if away else "a token expired on a connection")
        elif event.code == 4003 and conn.state == "ready":
            self.reached("a user was suspended while connected")
        elif event.code == 4004:
            self.reached("too many devices of one user")
        elif event.code == 4002 and event.reason == "too many refusals":
            self.reached("a connection was closed for its refusals")
        elif event.reason == "auth_timeout":
            self.reached("an answer to a challenge came too late, or never")
        elif event.reason == "shutting_down":
            self.reached("a node stopped in order")

    def _abort(self, event: ev.Abort, world: World) -> None:
        if event.cause == "heartbeat":
            self.reached("a connection was dropped by the heartbeat")
            if event.c in self._struck:
                self.reached("a connection that a rule had struck was dropped by the heartbeat")

    def _lost(self, event: ev.Lost, world: World) -> None:
        conn = world.conn(event.c)
        if event.cause == "node_halted":
            self._stopped[conn.node] = None
            if conn.device in self._fetching:
                self.reached("a node died while a device was fetching")
        self._fetching.pop(conn.device, None)

    # --- the rest ------------------------------------------------------------------------------------

    def _note(self, event: ev.Note, world: World) -> None:
        name = _NOTES.get(event.name)
        if name is not None:
            self.reached(name)
            if event.name == "copies.dropped.overflow" and event.device in self._fetching:
                self.reached("a mailbox overflowed while its device was fetching")
        elif event.name == "copies.confirmed" and event.device is not None and event.message_id is not None:
            before = self._pushed.get((event.device, event.message_id.lower()))
            if before is not None and before not in world.conns:
                self.reached("a copy was confirmed after its connection was lost")

    def _response(self, event: ev.Response, world: World) -> None:
        asked = world.requests.get(event.r)
        body = event.body if isinstance(event.body, dict) else {}
        if asked is not None and asked.path == "/api/messages" and body.get("total") == 0:
            self._fetching.clear()

    def _faulted(self, event: ev.Faulted, world: World) -> None:
        if event.did != ROGUE:
            self._struck[event.c] = None

    def _state(self, event: ev.State, world: World) -> None:
        """A client's own changes of state say nothing that is not counted elsewhere."""

    def _came_back(self, trial: Trial) -> int:
        """Devices that an operator removed and that are registered again."""
        known = [device for user in trial.world.store.users.values() for device in user.devices]
        return sum(device in trial.acts.removed for device in known)

    # --- what only the world knows -------------------------------------------------------------------

    def finish(self, trial: Trial) -> None:
        """What counts and acts tell when a trial is over."""
        counts = trial.recorder.counts
        for name, count in (
            ("a device threw away a duplicate", counts.get("messages.duplicate", 0)),
            ("a client gave up connecting", counts.get("clients.gave_up", 0)),
            ("a message was rejected by a full queue", counts.get("messages.rejected.queue_full", 0)),
            ("a message was given up on", counts.get("messages.failed", 0)),
            ("a message was given up on that the relay holds", counts.get("messages.failed_but_stored", 0)),
            ("an event of the bus was lost", trial.world.bus.lost),
            ("a removed device came back", self._came_back(trial)),
            ("an application was restarted with messages unacknowledged", trial.acts.killed_with_unacked),
            ("receipts were kept for a user who was away", self._kept),
        ):
            if count:
                self.reached(name, count)
        for rule in trial.rules:
            if rule["fired"]:
                self.reached(f"a rule struck: {rule['action']['do']} at {rule['match']['event']}", rule["fired"])
        full = sum(_is_full(state) for states in trial.world.store.limits.values() for state in states.values())
        if full:
            self.reached("a limit's window was full to its last place", full)
        for _, text in trial.acts.done:
            for point, name in _DEATHS.items():
                if text.endswith(f"died {point}"):
                    self.reached(name)


def _is_full(state: Any) -> bool:
    return bool(len(state.admitted_us) == state.limit.limit > 1)


def _is_look(world: World) -> bool:
    """Whether a message pushed by a timer comes of the look of R-12.5, where there is a bus that loses words."""
    return world.begin is not None and world.begin.nodes > 1


_DEATHS: Final = {
    "before_commit": "a node died before its commit",
    "after_commit": "a node died after its commit and before the ACK",
    "amid_effects": "a node died amid its effects",
}
_KNOWN: Final = frozenset(NAMES)
