"""The heartbeat's instants, to the microsecond where a recording shows them (R-8.1 to R-8.3).

The relay works its instants out in µs and tells them in the PING's timestamp, in ms: that is compared with the instant
worked out here from what came in. A face may run a timer late, never early, so the line's own time may lie after it.
"""

from __future__ import annotations

import heapq
from typing import Any, ClassVar

from msgspec import UNSET

from zentalk_sim.checks.registry import Check, check
from zentalk_sim.checks.world import DEVICE_PATH, claims_of
from zentalk_sim.protocol import control
from zentalk_sim.trace import events as ev


class _Beat:
    """The heartbeat of one connection, as R-8.1 has it."""

    __slots__ = ("is_slow", "missed", "ping_due_us", "pong_due_us", "run", "sent_us", "timestamp")

    def __init__(self, ping_due_us: int | None) -> None:
        self.ping_due_us = ping_due_us
        self.pong_due_us: int | None = None
        self.sent_us = 0
        self.timestamp: int | None = None
        """Of the PING outstanding."""
        self.missed = False
        self.run = 0
        self.is_slow = False
        """The next PING is due by the background interval (R-8.3)."""


class _Heartbeat(Check):
    """Base: each connection's heartbeat, moved on by what comes in."""

    def begin(self) -> None:
        self.beats: dict[int, _Beat] = {}
        self.heaps: dict[str, list[tuple[int, int]]] = {}
        """Node → what is due on it, by its own clock."""
        self.away: dict[str, None] = {}
        """Devices that have set themselves away."""
        self.before: tuple[int, str, bool] | None = None
        """Of the PRESENCE_SET under way: connection, device, and whether it was away until then."""

    def on_begin(self, event: ev.Begin) -> None:
        for user in event.image.store.users.values() if event.image is not None else ():
            self.away.update(dict.fromkeys(name for name, device in user.devices.items() if device.away_set))
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
        begin = world.begin
        if begin is None or not begin.whole:
            return False
        tells_devices = begin.image is not None or begin.source == "simulation"
        return tells_devices or world.config.heartbeat.background_interval == "off"

    # --- who is away --------------------------------------------------------------------------------

    def in_presence_set(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        if conn.state == "ready":
            self.before = (event.c, conn.device, conn.device in self.away)
            self._set_away(conn.device, event.payload.status == "away")

    def _set_away(self, device: str, away: bool) -> None:
        self.away.pop(device, None)
        if away:
            self.away[device] = None

    def _refused(self, c: int) -> None:
        before = self.before
        if before is not None and before[0] == c:
            self._set_away(*before[1:])

    def out_error(self, event: ev.FrameOut) -> None:
        self._refused(event.c)

    def on_control(self, event: ev.Control) -> None:
        self.before = None
        if isinstance(event.command, control.RemoveDevice):
            self.away.pop(event.command.device_id.lower(), None)

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        found = None if asked is None or asked.method != "DELETE" else DEVICE_PATH.match(asked.path)
        if asked is None or not found or not 200 <= event.status < 300:
            return
        if self.world.redacted or claims_of(asked.bearer) is not None:
            self.away.pop(found.group(1).lower(), None)

    # --- the schedule -------------------------------------------------------------------------------

    def out_auth_success(self, event: ev.FrameOut) -> None:
        if self.judged:
            beat = _Beat(None)
            self._plan(event.c, beat, event.t + self._pace_us(event.c, beat))

    def _pace_us(self, c: int, beat: _Beat) -> int:
        """How long after the last the next PING is due."""
        settings = self.world.config.heartbeat
        interval = settings.background_interval
        beat.is_slow = interval != "off" and self.world.conn(c).device in self.away
        return (interval if beat.is_slow and interval != "off" else settings.interval_ms) * 1000

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
                self._plan(c, beat, due + self._pace_us(c, beat))
        until_us = self.world.skip_pings_until_us
        due_us = beat.ping_due_us
        if due_us is not None and due_us <= until_us and due_us < now_us:
            pace_us = self._pace_us(c, beat)
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
            due_us = beat.sent_us + self._pace_us(event.c, beat)
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
        self._refused(event.c)
        self.beats.pop(event.c, None)

    on_close = on_abort = on_lost = _forget


class _Instants(_Heartbeat):
    """Base: each PING at its instant, of those due by one interval or by the other."""

    always_at_group_end = True
    is_slow: ClassVar[bool]

    def out_ping(self, event: ev.FrameOut) -> None:
        beat = self.beats.get(event.c)
        if beat is None or not self.judged:
            return
        self._pass(event.c, beat, event.t + 1)
        due_us = beat.ping_due_us
        if due_us is None:
            if not self.is_slow:
                self.broken("a PING while none is due", event)
            self._sent(event, beat, event.t)
            return
        told = event.payload.timestamp
        held = told == due_us // 1000 and event.t >= due_us
        if beat.is_slow == self.is_slow:
            self.judge(held, f"PING of {told} ms at {event.t} µs, due at {due_us} µs", event)
        self._sent(event, beat, due_us)

    def on_group_end(self, following: Any) -> None:
        """A PING that was due before this group's input must have been sent by the group's end."""
        self.before = None
        if not self.beats:
            return
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
                if beat.is_slow == self.is_slow:
                    self.broken(f"connection {c}: no PING, due at {at} µs", cause)
                del self.beats[c]


@check("relay.heartbeat", "R-8.1")
class Heartbeat(_Instants):
    """PINGs are sent at their instants: 30 s after AUTH_SUCCESS, after an answered PING, after a time-out."""

    is_slow = False


@check("relay.heartbeat_away", "R-8.3")
class HeartbeatAway(_Instants):
    """Where a background interval is set, a device that set itself away is pinged by it, and others are not."""

    is_slow = True

    @property
    def judged(self) -> bool:
        return super().judged and self.world.config.heartbeat.background_interval != "off"


@check("relay.heartbeat_drop", "R-8.1")
class HeartbeatDrop(_Heartbeat):
    """A connection is dropped for silence at the third unanswered PING in a row, at its time-out."""

    always_at_group_end = True

    def out_ping(self, event: ev.FrameOut) -> None:
        beat = self.beats.get(event.c)
        if beat is not None:
            self._pass(event.c, beat, event.t + 1)
            self._sent(event, beat, event.t if beat.ping_due_us is None else beat.ping_due_us)

    def on_abort(self, event: ev.Abort) -> None:
        self._refused(event.c)
        beat = self.beats.pop(event.c, None)
        if event.cause != "heartbeat" or beat is None or not self.judged:
            return
        self._pass(event.c, beat, event.t + 1)
        most = self.world.config.heartbeat.max_missed
        self.judge(beat.run >= most, f"dropped after {beat.run} unanswered PINGs in a row", event)

    def on_group_end(self, following: Any) -> None:
        """Keeps the heap small."""
        self.before = None
        if not self.heaps:
            return
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


@check("relay.ping_rtt", "R-8.2")
class PingRtt(Check):
    """PING carries in rtt_ms the round trip measured last on its connection, and none where there is none."""

    notes = frozenset(("rtt",))

    def begin(self) -> None:
        self.rtt_us: dict[int, int | None] = {}

    def on_begin(self, event: ev.Begin) -> None:
        for conn in event.image.connections if event.image is not None else ():
            self.rtt_us[conn.id] = conn.rtt_us

    def on_restart(self, event: ev.Restart) -> None:
        self.rtt_us.clear()

    def out_auth_success(self, event: ev.FrameOut) -> None:
        begin = self.world.begin
        if begin is not None and begin.whole:
            self.rtt_us[event.c] = None

    def on_note(self, event: ev.Note) -> None:
        if event.c in self.rtt_us:
            self.rtt_us[event.c] = event.value_us

    def out_ping(self, event: ev.FrameOut) -> None:
        if event.c not in self.rtt_us:
            return
        measured_us, told = self.rtt_us[event.c], event.payload.rtt_ms
        told_us = None if told is UNSET else round(told * 1000)
        self.judge(told_us == measured_us, f"tells {told_us} µs, measured were {measured_us}", event)

    def on_lost(self, event: ev.Lost) -> None:
        self.rtt_us.pop(event.c, None)
