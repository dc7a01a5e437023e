"""A client's life on a connection: PONG, typing, token refresh, limits (R-7.4, R-8, R-9.3, R-10)."""

from __future__ import annotations

from typing import Any, Final

from zentalk_sim.checks.registry import Check, Recent, check, mark
from zentalk_sim.protocol.config import TokenConfig
from zentalk_sim.trace import events as ev

APPLICATION_KILLED: Final = "application killed"
"""The cause of the state that a simulated application's restart leaves: it has forgotten its pauses."""
_SLACK_MS = 1_000
"""How far a client's idea of the relay's time may lag: it learnt it over a network."""


class _Pings(Check):
    """Base: the PING outstanding on each connection."""

    def begin(self) -> None:
        self.pings: dict[int, Any] = {}

    def out_ping(self, event: ev.FrameOut) -> None:
        self.pings[event.c] = event

    def on_lost(self, event: ev.Lost) -> None:
        self.pings.pop(event.c, None)


@check("client.pong", "R-8.1")
class PongEchoes(_Pings):
    """A client that is there answers each PING with a PONG that echoes its timestamp."""

    def in_any(self, event: ev.FrameIn) -> None:
        ping = self.pings.get(event.c)
        if ping is None or self.world.conn(event.c).state != "ready":
            return
        due_us = ping.t + self.world.config.heartbeat.pong_timeout_ms * 1000
        if event.type == "PONG":
            if event.payload is None or event.payload.timestamp == ping.payload.timestamp:
                self._done(event.c)
                self.seen()
                return
            # A late PONG for a PING before comes ahead of this one's.
            if event.payload.timestamp not in self.earlier.get(event.c, ()):
                self._done(event.c)
                text = f"PONG echoes {event.payload.timestamp}, the PING has {ping.payload.timestamp}"
                self.broken(text, ping, event)
                return
        if self.world.conn(event.c).heard_us < ping.t:
            # It may answer what a stalled network brought ahead of the PING, which it need not have seen.
            return
        if event.t > due_us and event.timestamp * 1000 > due_us:
            first_ms = self.late.setdefault(event.c, event.timestamp)
            if event.timestamp - first_ms > self.world.config.heartbeat.pong_timeout_ms:
                self._done(event.c)
                self.broken(f"{event.type} after the time-out of a PING without its PONG", ping, event)

    def begin(self) -> None:
        super().begin()
        self.late: dict[int, int] = {}
        """Connection → the client's time of its first frame after the time-out of the PING outstanding."""
        self.earlier: dict[int, tuple[int, ...]] = {}
        """Connection → the timestamps of PINGs before the last one, as many as may go unanswered."""

    def _done(self, c: int) -> None:
        self.pings.pop(c, None)
        self.late.pop(c, None)

    def out_ping(self, event: ev.FrameOut) -> None:
        before = self.pings.get(event.c)
        if before is not None:
            most = self.world.config.heartbeat.max_missed
            self.earlier[event.c] = (*self.earlier.get(event.c, ()), before.payload.timestamp)[-most:]
        super().out_ping(event)
        self.late.pop(event.c, None)

    def on_lost(self, event: ev.Lost) -> None:
        self._done(event.c)
        self.earlier.pop(event.c, None)


@check("client.pong_in_time", "R-8.1", "should")
class PongInTime(_Pings):
    """A PONG comes before its time-out."""

    def in_pong(self, event: ev.FrameIn) -> None:
        ping = self.pings.get(event.c)
        if ping is not None and event.payload.timestamp == ping.payload.timestamp:
            del self.pings[event.c]
            took = event.t - ping.t
            held = took <= self.world.config.heartbeat.pong_timeout_ms * 1000
            self.judge(held, f"PONG after {took} µs", ping, event)


@check("client.typing_pace", "R-7.4")
class TypingPace(Check):
    """TYPING_START comes no sooner than 3 s after the last of that device and conversation."""

    def begin(self) -> None:
        self.last: Recent[tuple[int, str], Any] = Recent()

    def in_typing_start(self, event: ev.FrameIn) -> None:
        limit = self.world.config.limits.typing
        if limit == "off" or self.world.conn(event.c).state != "ready":
            return
        # By connection: with each, the client learns anew what time the relay has.
        key = (event.c, event.payload.conversation_id)
        before = self.last.get(key)
        self.last[key] = mark(event)
        if before is None:
            self.seen()
            return
        # By the client's own time: what a network delays may arrive in a bunch. A ms is lost to rounding.
        apart_ms = event.timestamp - before.timestamp
        held = apart_ms >= limit.window_s * 1000 // limit.limit - 1
        self.judge(held, f"TYPING_START {apart_ms} ms after the last", before, event)


@check("client.refresh_window", "R-9.3")
class RefreshWindow(Check):
    """TOKEN_REFRESH is sent within the token's last two hours."""

    def in_token_refresh(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        if conn.state != "ready" or not conn.expires_ms:
            return
        # A client knows the specification's window, not one that this relay was given.
        window_s = max(self.world.config.token.refresh_window_s, TokenConfig().refresh_window_s)
        opens_ms = conn.expires_ms - window_s * 1000
        early_s = (opens_ms - event.t // 1000) // 1000
        self.judge(event.t // 1000 + _SLACK_MS >= opens_ms, f"{early_s} s before the window opens", event)


@check("client.refresh_form", "R-9.3")
class RefreshForm(Check):
    """TOKEN_REFRESH names the session's current token and is signed by the identity key."""

    def in_token_refresh(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        begin = self.world.begin
        if conn.state != "ready" or not conn.session_token or (begin is not None and begin.redacted):
            return
        token = event.payload.session_token
        if token != conn.session_token:
            self.broken("session_token is not this session's current one", event)
        elif conn.identity_key is None or not token.isascii():
            return
        else:
            held = self.world.crypto.verify(conn.identity_key, token.encode(), event.payload.signature)
            self.judge(held, "the signature does not verify", event)


@check("client.limits", "R-10.1", "should")
class KeepsLimits(Check):
    """A client keeps within the limits for messages, receipts, presence and subscriptions."""

    def in_any(self, event: ev.FrameIn) -> None:
        if self.world.conn(event.c).state == "ready" and event.type != "PONG" and not event.partial:
            self.seen()

    def out_error(self, event: ev.FrameOut) -> None:
        payload = event.payload
        if payload.error_code == "RATE_LIMITED" and self.world.conn(event.c).state == "ready":
            details = payload.details
            text = f"{payload.original_type or 'a frame'} refused: limit {details.get('limit')} in"
            self.broken(f"{text} {details.get('window_seconds')} s ({details.get('reason')})", event)


@check("client.pause_after_limit", "R-11.5")
class PauseAfterLimit(Check):
    """After RATE_LIMITED a client sends no more of that operation for retry_after."""

    def begin(self) -> None:
        self.paused: Recent[tuple[str, str], tuple[int, Any]] = Recent(10_000)
        self.told: dict[int, list[tuple[tuple[str, str], int, Any]]] = {}
        """Connection → pauses that its client may not have heard of yet."""

    def on_lost(self, event: ev.Lost) -> None:
        self.told.pop(event.c, None)

    def out_error(self, event: ev.FrameOut) -> None:
        payload = event.payload
        retry_s = payload.details.get("retry_after")
        if payload.error_code == "RATE_LIMITED" and type(retry_s) is int and isinstance(payload.original_type, str):
            device = self.world.conn(event.c).device
            told = ((device, payload.original_type), event.t // 1000 + retry_s * 1000, event)
            self.told.setdefault(event.c, []).append(told)

    def on_state(self, event: ev.State) -> None:
        if event.cause == APPLICATION_KILLED:
            for kind in ("MESSAGE_SEND", "MESSAGE_READ", "PRESENCE_SET", "SUBSCRIBE", "UNSUBSCRIBE", "TOKEN_REFRESH"):
                self.paused.pop((event.device, kind))

    def in_any(self, event: ev.FrameIn) -> None:
        if not self.told and not self.paused:
            return
        conn = self.world.conn(event.c)
        told = self.told.get(event.c)
        if told and conn.heard_us >= told[0][2].t:
            # Before it has answered something later, a client need not have seen the ERROR.
            for pause in [pause for pause in told if conn.heard_us >= pause[2].t]:
                self.paused[pause[0]] = pause[1:]
                told.remove(pause)
        key = (conn.device, event.type)
        found = self.paused.get(key)
        if found is None or event.fault is not None or event.partial or not self.world.comparable:
            return
        until_ms, error = found
        sent_ms = event.timestamp + (conn.lag_ms or 0)
        if sent_ms < error.t // 1000 or event.t <= error.t:
            # Held back by the network on an older connection, or on its way as the ERROR left.
            return
        self.paused.pop(key)
        left_ms = until_ms - sent_ms
        self.judge(left_ms <= _SLACK_MS, f"{event.type} {left_ms} ms before retry_after was over", error, event)
