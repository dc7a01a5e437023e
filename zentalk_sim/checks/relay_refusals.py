"""What a relay must not let through: replays, stale times, wrong MACs, more than its limits (R-1.4, R-5, R-9, R-10)."""

from __future__ import annotations

from collections import deque
from typing import Any

from zentalk_sim.checks.client_messages import hash_of
from zentalk_sim.checks.registry import Check, Recent, check, mark
from zentalk_sim.protocol.config import Ceiling, Limit
from zentalk_sim.trace import events as ev


@check("relay.refuses_seq", "R-5.4")
class RefusesSeq(Check):
    """A message whose seq is not above the session's last is not acknowledged."""

    def begin(self) -> None:
        self.last: Recent[str, int] = Recent(200_000)
        self.before = 0

    def in_any(self, event: ev.FrameIn) -> None:
        if event.seq is None:
            return
        conn = self.world.conn(event.c)
        self.before = self.last.get(conn.session_id) or 0
        if conn.session_id and conn.state == "ready":
            self.last[conn.session_id] = max(self.before, event.seq)

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        if send.seq is not None:
            self.judge(send.seq > self.before, f"seq {send.seq} taken after {self.before}", send, ack)


@check("relay.refuses_time", "R-1.4")
class RefusesTime(Check):
    """A message whose timestamp is outside the time window is not acknowledged."""

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        self.judge(self.world.near(send, send.timestamp), "a timestamp out of the window was taken", send, ack)


@check("relay.refuses_mac", "R-5.3")
class RefusesMac(Check):
    """A message with a wrong MAC, or where one is required without, is not acknowledged."""

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        world = self.world
        if send.mac is None:
            required = world.config.integrity == "require" and not send.binary
            self.judge(not required, "taken without the message_mac required", send, ack)
            return
        key = world.session_key(world.conn(send.c))
        if key is None or (world.begin is not None and (world.begin.redacted or world.begin.modelled)):
            return
        right = world.crypto.message_mac(key, send.type, send.id_as_sent, send.timestamp, send.raw)
        self.judge(right == send.mac, "taken with a wrong message_mac", send, ack)


@check("relay.refuses_nonce", "R-5.5")
class RefusesNonce(Check):
    """A nonce accepted before from the same sender is not taken under another id."""

    def begin(self) -> None:
        self.held: Recent[tuple[str, bytes], tuple[str, Any]] = Recent()

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        user = self.world.conn(send.c).user
        if user is None or ack.payload.status != "queued":
            return
        before = self.held.get((user, send.payload.nonce))
        if before is None or send.t - before[1].t > self.world.config.dedup.window_s * 1_000_000:
            self.held[user, send.payload.nonce] = (send.id, mark(ack))
            self.seen()
        else:
            self.judge(before[0] == send.id, "a nonce was taken for a second message", before[1], ack)


@check("relay.refuses_other_content", "R-5.6")
class RefusesOtherContent(Check):
    """An id accepted before is not acknowledged with other content."""

    def begin(self) -> None:
        self.held: Recent[str, tuple[int, Any]] = Recent()

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        user = self.world.conn(send.c).user
        if user is None:
            return
        hashed = hash_of(send.payload, user, self.world.redacted)
        before = self.held.get(send.id)
        if before is None or not self.world.still_indexed(before[1].t):
            self.held[send.id] = (hashed, mark(ack))
        else:
            text = f"acknowledged with other content than in line {before[1].line}"
            self.judge(before[0] == hashed, text, send, ack)


@check("relay.refuses_expired", "R-9.1")
class RefusesExpired(Check):
    """No message is acknowledged once the session token's grace is over."""

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        conn = self.world.conn(send.c)
        if conn.expires_ms:
            over_us = conn.expires_ms * 1000 + self.world.config.token.grace_s * 1_000_000
            self.judge(send.t <= over_us, f"taken {send.t - over_us} µs after the token's grace", send, ack)


class _Admitted:
    """R-10.1 worked out anew, not by the relay's own code: what a device was admitted, and what its bucket holds."""

    def __init__(self, now_us: int) -> None:
        self.times: deque[int] = deque()
        self.limit: Limit | None = None
        self.level = 0
        """Tokens, in units of which one is worth the window in µs."""
        self.filled_us = now_us

    def admit(self, limit: Limit, now_us: int) -> str:
        """Take an admission; what it goes beyond, or nothing."""
        window_us = limit.window_s * 1_000_000
        full = (limit.burst or limit.limit) * window_us
        if limit != self.limit:
            self.limit, self.level, self.filled_us = limit, full, now_us
        self.level = min(full, self.level + max(0, now_us - self.filled_us) * limit.limit)
        self.filled_us = max(self.filled_us, now_us)
        while self.times and self.times[0] <= now_us - window_us:
            self.times.popleft()
        found = ""
        if len(self.times) >= limit.limit:
            found = f"{len(self.times)} in {limit.window_s} s before it"
        elif self.level < window_us:
            found = f"the bucket of {limit.burst or limit.limit} is empty"
        self.times.append(now_us)
        self.level = max(0, self.level - window_us)
        return found


@check("relay.limits", "R-10.1")
class Limits(Check):
    """Of messages, receipts, presence and subscriptions no device is admitted more than its limit and burst."""

    in_types = frozenset(("PRESENCE_SET", "SUBSCRIBE", "UNSUBSCRIBE"))

    def begin(self) -> None:
        self.states: Recent[tuple[str, str, str], _Admitted] = Recent(200_000)
        self.open: Any = None

    def in_any(self, event: ev.FrameIn) -> None:
        self.open = event if event.payload is not None and self.world.conn(event.c).state == "ready" else None
        if self.open is not None:
            self.await_group_end()

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        if ack.payload.status == "queued":
            self._admitted("send_message", send, ack)

    def out_error(self, event: ev.FrameOut) -> None:
        if self.open is not None and event.c == self.open.c:
            self.open = None

    def _ended(self, event: Any) -> None:
        if self.open is not None and event.c == self.open.c:
            self.open = None

    on_close = on_abort = _ended

    def on_group_end(self, following: Any) -> None:
        taken, self.open = self.open, None
        begin = self.world.begin
        if taken is not None and begin is not None and begin.whole:
            self._admitted("presence" if taken.type == "PRESENCE_SET" else "subscribe", taken, taken)

    def _admitted(self, operation: str, event: Any, shown: Any) -> None:
        limit = getattr(self.world.config.limits, operation)
        conn = self.world.conn(event.c)
        if not isinstance(limit, Limit) or conn.user is None:
            return
        key = (operation, conn.user, conn.device)
        state = self.states.get(key)
        if state is None:
            state = self.states[key] = _Admitted(event.t)
        beyond = state.admit(limit, event.t)
        self.judge(not beyond, f"{operation} admitted beyond its limit: {beyond}", shown)


@check("relay.device_ceiling", "R-10.3")
class DeviceCeiling(Check):
    """No user has more connected devices than the limit."""

    def out_auth_success(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        ceiling = self.world.config.limits.connections_per_user
        if conn.user is None or not isinstance(ceiling, Ceiling) or conn.state == "ended":
            return
        others = sum(device != conn.device for device in self.world.places.get(conn.user, {}))
        self.judge(others < ceiling.limit, f"AUTH_SUCCESS beside {others} other connected devices", event)
