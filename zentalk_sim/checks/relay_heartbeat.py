"""The heartbeat's instants, to the microsecond where a recording shows them (R-8.1, R-8.2).

The relay works its instants out in µs and tells them in the PING's timestamp, in ms: that is compared with the instant
worked out here from what came in. A face may run a timer late, never early, so the line's own time may lie after it.
"""

from __future__ import annotations

import heapq
from typing import Any

from zentalk_sim.checks.registry import Check, check
from zentalk_sim.trace import events as ev


class _Beat:
    """The heartbeat of one connection, as R-8.1 has it."""

    __slots__ = ("missed", "ping_due_us", "pong_due_us", "run", "sent_us", "timestamp")

    def __init__(self, ping_due_us: int | None) -> None:
        self.ping_due_us = ping_due_us
        self.pong_due_us: int | None = None
        self.sent_us = 0
        self.timestamp: int | None = None
        """Of the PING outstanding."""
        self.missed = False
        self.run = 0


class _Heartbeat(Check):
    """Base: each connection's heartbeat, moved on by what comes in."""

    def begin(self) -> None:
        self.beats: dict[int, _Beat] = {}
        self.heaps: dict[str, list[tuple[int, int]]] = {}
        """Node → what is due on it, by its own clock."""

    def on_begin(self, event: ev.Begin) -> None:
        for conn in event.image.connections if event.image is not None else ():
            if conn.state == "ready":
                beat = self.beats[conn.id] = _Beat(conn.ping_due_us)
                beat.pong_due_us, beat.sent_us = conn.pong_due_us, conn.ping_sent_us
                beat.timestamp, beat.missed, beat.run = (
                    conn.ping_timestamp_ms,
                    conn.ping_missed,
                    conn.missed_in_a_row,
                )
                for due_us in (beat.ping_due_us, beat.pong_due_us):
                    if due_us is not None:
                        heapq.heappush(self.due, (due_us, conn.id))

    @property
    def due(self) -> list[tuple[int, int]]:
        """What is due on the node that speaks."""
        return self.heaps.setdefault(self.world.node, [])

    def on_restart(self, event: ev.Restart) -> None:
        self.beats.clear()
        self.heaps.clear()

    def on_config(self, event: ev.Config) -> None:
        if event.config.heartbeat != self.world.config.heartbeat:
            # What is due already keeps its old instant, what follows the new: those under way are not judged.
            self.beats.clear()

    @property
    def judged(self) -> bool:
        """Whether the trace and its settings let the instants be known."""
        world = self.world
        recorded = world.begin is not None and world.begin.whole
        return recorded and world.config.heartbeat.background_interval == "off"

    def out_auth_success(self, event: ev.FrameOut) -> None:
        if self.judged:
            self._plan(event.c, _Beat(None), event.t + self.world.config.heartbeat.interval_ms * 1000)

    def _plan(self, c: int, beat: _Beat, due_us: int) -> None:
        self.beats[c] = beat
        beat.ping_due_us = due_us
        heapq.heappush(self.due, (due_us, c))

    def _pass(self, c: int, beat: _Beat, now_us: int) -> None:
        """Run the time-out of a PING that was due before ``now_us``, and skip PINGs a moved clock passes over."""
        settings = self.world.config.heartbeat
        if beat.pong_due_us is not None and beat.pong_due_us < now_us:
            due, beat.pong_due_us = beat.pong_due_us, None
            beat.missed = True
            beat.run += 1
            if beat.run < settings.max_missed:
                self._plan(c, beat, due + settings.interval_ms * 1000)
        until_us = self.world.skip_pings_until_us
        due_us = beat.ping_due_us
        if due_us is not None and due_us <= until_us and due_us < now_us:
            pace_us = settings.interval_ms * 1000
            beat.timestamp, beat.run = None, 0
            self._plan(c, beat, due_us + ((until_us - due_us) // pace_us + 1) * pace_us)

    def in_pong(self, event: ev.FrameIn) -> None:
        beat = self.beats.get(event.c)
        if beat is None or self.world.conn(event.c).state != "ready":
            return
        self._pass(event.c, beat, event.t)
        if beat.timestamp is None or event.payload.timestamp != beat.timestamp or not self._taken(event):
            return
        beat.timestamp, beat.run = None, 0
        if not beat.missed:
            beat.pong_due_us = None
            due_us = beat.sent_us + self.world.config.heartbeat.interval_ms * 1000
            self._plan(event.c, beat, max(event.t, due_us))

    def _taken(self, event: ev.FrameIn) -> bool:
        """Whether the relay will process this frame."""
        return event.fault is None

    def _sent(self, event: ev.FrameOut, beat: _Beat, at_us: int) -> None:
        beat.ping_due_us = None
        beat.sent_us, beat.timestamp, beat.missed = at_us, event.payload.timestamp, False
        beat.pong_due_us = at_us + self.world.config.heartbeat.pong_timeout_ms * 1000
        heapq.heappush(self.due, (beat.pong_due_us, event.c))

    def _forget(self, event: Any) -> None:
        self.beats.pop(event.c, None)

    on_close = on_abort = on_lost = _forget


@check("relay.heartbeat", "R-8.1")
class Heartbeat(_Heartbeat):
    """PINGs are sent at their instants: 30 s after AUTH_SUCCESS, after an answered PING, after a time-out."""

    def out_ping(self, event: ev.FrameOut) -> None:
        beat = self.beats.get(event.c)
        if beat is None or not self.judged:
            return
        self._pass(event.c, beat, event.t + 1)
        due_us = beat.ping_due_us
        if due_us is None:
            self.broken("a PING while none is due", event)
            self._sent(event, beat, event.t)
            return
        told = event.payload.timestamp
        held = told == due_us // 1000 and event.t >= due_us
        self.judge(held, f"PING of {told} ms at {event.t} µs, due at {due_us} µs", event)
        self._sent(event, beat, due_us)

    def on_group_end(self, following: Any) -> None:
        """A PING that was due before this group's input must have been sent by the group's end."""
        cause = self.world.cause
        if cause is None or not self.judged:
            return
        due = self.due
        while due and due[0][0] < cause.t:
            at, c = heapq.heappop(due)
            beat = self.beats.get(c)
            if beat is None:
                continue
            self._pass(c, beat, cause.t)
            if beat.ping_due_us == at:
                self.broken(f"connection {c}: no PING, due at {at} µs", cause)
                del self.beats[c]


@check("relay.heartbeat_drop", "R-8.1")
class HeartbeatDrop(_Heartbeat):
    """A connection is dropped for silence at the third unanswered PING in a row, at its time-out."""

    def out_ping(self, event: ev.FrameOut) -> None:
        beat = self.beats.get(event.c)
        if beat is not None:
            self._pass(event.c, beat, event.t + 1)
            self._sent(event, beat, event.t if beat.ping_due_us is None else beat.ping_due_us)

    def on_abort(self, event: ev.Abort) -> None:
        beat = self.beats.pop(event.c, None)
        if event.cause != "heartbeat" or beat is None or not self.judged:
            return
        self._pass(event.c, beat, event.t + 1)
        most = self.world.config.heartbeat.max_missed
        self.judge(beat.run >= most, f"dropped after {beat.run} unanswered PINGs in a row", event)

    def on_group_end(self, following: Any) -> None:
        """Keeps the heap small."""
        while self.due and self.due[0][0] < self.world.now:
            heapq.heappop(self.due)

    def in_any(self, event: ev.FrameIn) -> None:
        beat = self.beats.get(event.c)
        if beat is None or self.world.conn(event.c).state != "ready":
            return
        self._pass(event.c, beat, event.t)
        if beat.run >= self.world.config.heartbeat.max_missed and type(event) is ev.FrameIn:
            self.late[event.c] = event

    def begin(self) -> None:
        super().begin()
        self.late: dict[int, Any] = {}

    def out_any(self, event: ev.FrameOut) -> None:
        late = self.late.pop(event.c, None)
        if late is not None:
            self.broken("still answered after three unanswered PINGs", late, event)

    def on_lost(self, event: ev.Lost) -> None:
        self.late.pop(event.c, None)
        self.beats.pop(event.c, None)
