"""The one place between a socket and the core: the journal sees every frame here, and faults strike here.

The law of this file: a frame from the client meets the rules before the core has seen it, a frame of the core's after
its ``seq`` was taken (R-1.3). A verdict that ends the connection goes to the core as a command, so that it is recorded
and replays; it is carried out in the next turn of the loop, since a frame out passes while an input is under way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from websockets.frames import Opcode

from mockrelay.driver import Driver
from mockrelay.fault_engine import FaultEngine
from mockrelay.fault_lane import Lane
from mockrelay.journal import Journal
from mockrelay.journal_entries import Entry, Party
from mockrelay.wire import frame_bytes
from zentalk_sim.faults import Firing
from zentalk_sim.faults import verdicts as do
from zentalk_sim.faults.passing import Direction, Messages, changed, encoded, error_payload, named, sides
from zentalk_sim.protocol.control import CloseConn, SendFrame
from zentalk_sim.protocol.errors import ProtocolError

_EVENT_OF: Final[dict[Direction, str]] = {"in": "frame_in", "out": "frame_out"}
_TEXT: Final = 0x1
_BINARY: Final = 0x2
"""Opcodes (RFC 6455 §5.2)."""
# Compiled code looks a name of a module that is not compiled up at each use, unless it stands in a Final.
_Entry: Final[type[Entry]] = Entry
_NO_STATUS: Final = 1005
"""What a close frame without a code stands for (RFC 6455 §7.1.5)."""


class Socket(Protocol):
    """What a gate asks of its connection."""

    __slots__ = ()

    @property
    def conn(self) -> int | None:
        """Its number to the core, while the core knows it."""
        ...

    def transmit(self, opcode: int, payload: bytes) -> None:
        """Put a frame on the wire."""
        ...

    def trickle(self, data: bytes) -> None:
        """Put a part of a frame's bytes on the wire."""
        ...

    def tell_core(self, cause: str) -> None:
        """The connection is gone."""
        ...

    def abort(self, cause: str) -> None:
        """Drop the transport."""
        ...

    def fall_silent(self) -> None:
        """Neither read nor write any more."""
        ...

    def check_bounds(self) -> None:
        """More waits: pause reading, or drop the connection, where it is too much."""
        ...

    def regulate(self) -> None:
        """Less waits: look anew whether to read. Never called while an effect of the core is being applied."""
        ...


class Gate:
    """What one connection's frames pass."""

    __slots__ = (
        "_conn",
        "_driver",
        "_engine",
        "_frames",
        "_is_ended",
        "_journal",
        "_socket",
        "_turns",
        "instants",
        "lane_in",
        "lane_out",
        "party",
        "slow_us",
    )

    def __init__(self, socket: Socket, driver: Driver, journal: Journal, engine: FaultEngine, party: Party) -> None:
        self._socket = socket
        self._driver = driver
        self._turns = driver.turns
        self._journal = journal
        self._frames = journal.frames
        self._engine = engine
        self._conn = party.connection or 0
        self.party = party
        self.slow_us: int | None = None
        """How much later than it could the connection ends (``slow_close``)."""
        self.instants: dict[int, int] = {}
        """Instants at which rules for ``connected`` are asked again, with their timers."""
        self.lane_in: Lane | None = None
        self.lane_out: Lane | None = None
        """Where a rule lets, or has let, frames wait on their way in or out."""
        self._is_ended = False
        """A rule has ended it: nothing passes any more."""

    @property
    def socket(self) -> Socket:
        """The connection."""
        return self._socket

    # --- the connection's life -----------------------------------------------------------------------

    def opened(self) -> None:
        """The upgrade was answered with 101."""
        party = self.party
        at_us = party.opened_us = self._engine.now_us
        known = self._driver.relay.connections.get(party.connection or 0)
        if known is not None and known.user:
            party.user, party.device = known.user, known.device_id
        firing = self._engine.at_connected(party, at_us)
        self._journal.write("connected", party, firing=firing, t_us=at_us)
        self._engine.opened(self)
        if firing is not None:
            self._at_opening(firing)

    def reached(self, at_us: int) -> None:
        """An instant counted from the opening is there."""
        if self._socket.conn is None or self._is_ended:
            return
        firing = self._engine.at_connected(self.party, at_us)
        if firing is not None:
            self._journal.write("rule", self.party, firing=firing, t_us=at_us)
            self._at_opening(firing)

    def _at_opening(self, firing: Firing) -> None:
        verdict = firing.verdict
        if isinstance(verdict, do.Inject):
            frame = encoded(verdict.frame, self._engine.now_us, firing)
            self._record("out", firing, b"", False, [(b"", False), (frame, False)])
            self.pass_out(Opcode.TEXT, frame)
        else:
            if not isinstance(verdict, do.Pass):
                self._note_wire("out", firing, None, None, False)
            self._strike(verdict)

    def closing(self, direction: Direction, code: int, reason: str) -> None:
        """The first close frame, ours (``out``) or the peer's (``in``)."""
        facts: dict[str, Any] = {"direction": direction, "close_code": code}
        if reason:
            facts["reason"] = reason
        self._journal.write("closed", self.party, facts=facts)

    def peer_closing(self, payload: bytes) -> None:
        """As ``closing``, with the payload of the peer's close frame."""
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else _NO_STATUS
        self.closing("in", code, payload[2:].decode(errors="replace"))

    def lost(self, cause: str, was_closed: bool) -> None:
        """The transport is gone; the core hears of it when what came in before has reached it."""
        self._engine.ended(self)
        for timer in self.instants.values():
            self._engine.timers.cancel(timer)
        if self.lane_out is not None:
            self.lane_out.clear()
        if self.party.opened_us is not None and not was_closed:
            self._journal.write("lost", self.party, facts={"cause": cause, "close_code": 1006})
        if self.lane_in is not None:
            self.lane_in.let_go()
            self.lane_in.put(0, partial(self._socket.tell_core, cause), is_frame=False)
        else:
            self._socket.tell_core(cause)

    # --- frames --------------------------------------------------------------------------------------

    def frame_in(self, data: bytes, binary: bool) -> None:
        """A message from the client."""
        if self._is_ended:
            return
        rules = self._engine.rules
        if rules.are_at_frames and rules.has_rules_at("frame_in"):
            firing = self._engine.at_frame("frame_in", self.party, data, binary)
            if firing is not None:
                self._fire("in", firing, data, binary)
                return
        at_us = self._turns.at_us
        if at_us < 0:
            at_us = self._turns.instant_us()
        self._journal.frame_bytes += len(data)
        self._frames.append(_Entry(at_us, "frame_in", self.party, data, binary))
        if self.lane_in is not None:
            self._put("in", data, binary)
        elif binary:
            self._driver.receive_binary(self._conn, data)
        else:
            self._driver.receive_text(self._conn, data)

    def frame_out(self, data: bytes, binary: bool) -> None:
        """A frame of the core's."""
        if self._is_ended:
            return
        rules = self._engine.rules
        if rules.are_at_frames and rules.has_rules_at("frame_out"):
            firing = self._engine.at_frame("frame_out", self.party, data, binary)
            if firing is not None:
                self._fire("out", firing, data, binary)
                return
        at_us = self._turns.at_us
        if at_us < 0:
            at_us = self._turns.instant_us()
        self._journal.frame_bytes += len(data)
        self._frames.append(_Entry(at_us, "frame_out", self.party, data, binary))
        if self.lane_out is None:
            self._socket.transmit(_BINARY if binary else _TEXT, data)
        else:
            self._put("out", data, binary)

    def pass_in(self, action: Callable[[], None]) -> None:
        """What comes in besides messages, in its place among them; the end of a connection lets go what is held."""
        if self.lane_in is None:
            action()
        else:
            self.lane_in.put(0, action, is_frame=False)

    def pass_out(self, opcode: int, payload: bytes) -> None:
        """A frame that no rule is asked about, in its place among the others."""
        if self.lane_out is None:
            self._socket.transmit(opcode, payload)
            return
        if opcode == Opcode.CLOSE:
            # A close flushes what was sent before it.
            self.lane_out.let_go()
        self.lane_out.put(len(payload), partial(self._socket.transmit, opcode, payload), is_frame=False)
        self._socket.check_bounds()

    def after_out(self, action: Callable[[], None]) -> None:
        """Once everything sent so far is on the wire."""
        if self.lane_out is None:
            action()
        else:
            self.lane_out.put(0, action, is_frame=False)

    def end_in(self) -> None:
        """The client sends no more: what is held for its next frame passes."""
        if self.lane_in is not None:
            self.lane_in.let_go()

    def waiting_in(self) -> tuple[int, int]:
        """Messages and bytes that wait on their way in."""
        return (0, 0) if self.lane_in is None else self.lane_in.waiting()

    def waiting_out(self) -> tuple[int, int]:
        """Frames and bytes that wait on their way out."""
        return (0, 0) if self.lane_out is None else self.lane_out.waiting()

    # --- verdicts ------------------------------------------------------------------------------------

    def _fire(self, direction: Direction, firing: Firing, data: bytes, binary: bool) -> None:
        wire = changed(firing, self._engine.now_us, data, binary)
        shown = None if wire is None else tuple(message for message, _ in wire)
        self._journal.write(_EVENT_OF[direction], self.party, data, binary=binary, firing=firing, wire=shown)
        verdict = firing.verdict
        if wire is not None:
            self._record(direction, firing, data, binary, wire)
        elif not isinstance(verdict, do.Pass):
            # The same on both sides, but not at the same time, or not in the same order.
            self._note_wire(direction, firing, data, data, binary)
        if isinstance(verdict, do.Delay):
            self._put(direction, data, binary, delay_us=verdict.ms * 1000)
        elif isinstance(verdict, do.Reorder):
            size, action = self._item(direction, data, binary)
            self._lane(direction).hold(size, action)
            self._socket.check_bounds()
        elif isinstance(verdict, do.ErrorAnswer):
            self._answer_error(verdict, firing, data, binary)
        else:
            self._strike(verdict)
            for message, is_binary in [(data, binary)] if wire is None else wire:
                self._put(direction, message, is_binary)

    def _record(self, direction: Direction, firing: Firing, data: bytes, binary: bool, wire: Messages) -> None:
        """Have the recording keep what was on the wire where it is not what the core said or heard."""
        self._note_wire(direction, firing, *sides(firing, direction, data, binary, wire))

    def _note_wire(
        self, direction: Direction, firing: Firing, core: bytes | None, passed: bytes | None, binary: bool
    ) -> None:
        rule = firing.rule.comment or firing.rule.id
        conn = self.party.connection or 0
        self._driver.note_wire(conn, direction, rule, do.name_of(firing.verdict), core, passed, binary)

    def _strike(self, verdict: do.Action) -> None:
        """What a verdict does to the connection, if it does anything to it."""
        if isinstance(verdict, do.CloseWith):
            self.close(verdict.code, verdict.reason)
        elif isinstance(verdict, do.Abort):
            self.close(None, "")
        elif isinstance(verdict, do.Blackhole):
            self.blackhole()
        elif isinstance(verdict, do.SlowClose):
            self.slow_us = verdict.ms * 1000
        elif isinstance(verdict, do.Throttle):
            self._lane("in").throttle(verdict.bytes_per_s)
            self._lane("out").throttle(verdict.bytes_per_s)

    def close(self, code: int | None, reason: str) -> None:
        """End the connection: with a close frame, or by a reset where the code is None."""
        self._is_ended = True
        self._driver.loop.call_soon(self._end, code, reason)

    def blackhole(self) -> None:
        """Half-open silence from now on; neither side is told."""
        self._is_ended = True
        for lane in (self.lane_in, self.lane_out):
            if lane is not None:
                lane.clear()
        self._socket.fall_silent()

    def _end(self, code: int | None, reason: str) -> None:
        if self._socket.conn is not None:
            # Where the core has ended the connection meanwhile, there is nothing left to do.
            with contextlib.suppress(ProtocolError):
                self._driver.control(CloseConn(self._socket.conn, code, reason))

    def _answer_error(self, verdict: do.ErrorAnswer, firing: Firing, data: bytes, binary: bool) -> None:
        payload = error_payload(verdict, firing, *named(data, binary))
        if self._socket.conn is not None:
            with contextlib.suppress(ProtocolError):
                self._driver.control(SendFrame(self._socket.conn, "ERROR", payload))

    # --- lanes ---------------------------------------------------------------------------------------

    def _put(self, direction: Direction, data: bytes, binary: bool, delay_us: int = 0) -> None:
        size, action = self._item(direction, data, binary)
        lane = self.lane_in if direction == "in" else self.lane_out
        if lane is None and not delay_us:
            action()
            return
        lane = self._lane(direction)
        if direction == "out" and lane.is_narrow and not delay_us:
            frame = frame_bytes(Opcode.BINARY if binary else Opcode.TEXT, data)
            lane.put_bytes(frame, self._socket.trickle, self._socket.check_bounds)
        else:
            lane.put(size, action, delay_us)
        self._socket.check_bounds()

    def _item(self, direction: Direction, data: bytes, binary: bool) -> tuple[int, Callable[[], None]]:
        if direction == "in":
            hand_over = self._driver.receive_binary if binary else self._driver.receive_text
            return len(data), partial(hand_over, self._conn, data)
        return len(data), partial(self._socket.transmit, Opcode.BINARY if binary else Opcode.TEXT, data)

    def _lane(self, direction: Direction) -> Lane:
        lane = self.lane_in if direction == "in" else self.lane_out
        if lane is None:
            lane = Lane(self._engine.timers, self._driver.clock.now_us, self._socket.regulate)
            if direction == "in":
                self.lane_in = lane
            else:
                self.lane_out = lane
        return lane
