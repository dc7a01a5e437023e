"""A WebSocket at whose node fault rules strike: between the transport and the relay core, as on the mock relay.

The law of this file: a frame from the client meets the rules once the node has read it and before a worker or the core
has seen it; a frame of the core's after its ``seq`` was taken (R-1.3). A verdict that ends the connection goes to the
core as a command, in the next entry of its instant, since a frame out passes while other effects are being applied.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from zentalk_sim.faults import Firing
from zentalk_sim.faults import verdicts as do
from zentalk_sim.faults.http_answers import refusal_of
from zentalk_sim.faults.passing import Direction, changed, encoded, error_payload
from zentalk_sim.model.line import TLS_RECORD_BYTES
from zentalk_sim.model.rule_edge import Edge
from zentalk_sim.model.rule_engine import Message, RawText, message_of, names_of, raw_of, size_of
from zentalk_sim.model.rule_lane import Lane
from zentalk_sim.model.websocket import CLOSE_TIMEOUT_US, WebSocket, on_the_wire
from zentalk_sim.protocol.control import CloseConn, SendFrame
from zentalk_sim.protocol.errors import CloseCode, ProtocolError
from zentalk_sim.protocol.frames import Frame

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device


class RuledSocket(WebSocket):
    """The WebSocket of a world that has rules."""

    __slots__ = ("edge",)

    def __init__(self, device: Device, attempt: int, query: dict[str, str]) -> None:
        super().__init__(device, attempt, query)
        rules = device.world.rules
        assert rules is not None
        self.edge = Edge(rules)

    # --- the upgrade ---------------------------------------------------------------------------------

    def _upgrade(self) -> None:
        firing = self.edge.rules.at_upgrade(self)
        if firing is None or isinstance(firing.verdict, do.Pass):
            self._ask_core()
            return
        verdict, refusal = firing.verdict, refusal_of(firing)
        self.edge.rules.note_wire(self, "in", firing, None, None)
        if refusal is not None:
            self.edge.is_gone = True
            self.refused(refusal.status, getattr(verdict, "retry_after", None))
        elif isinstance(verdict, do.Delay):
            self.kernel.call_at(self.kernel.now + verdict.ms * 1000, self._upgrade_late)
        elif isinstance(verdict, do.Abort):
            self.gone("fault")
            self.reset_down("aborted")
        else:
            self.edge.is_silent = isinstance(verdict, do.Blackhole)

    def _upgrade_late(self) -> None:
        if self._stands() and not self.edge.is_gone:
            self._ask_core()

    def _ask_core(self) -> None:
        super()._upgrade()

    def accepted(self) -> None:
        super().accepted()
        edge = self.edge
        edge.opened_us = self.kernel.now
        for at_us in edge.rules.rules.connected_instants(edge.opened_us):
            self.kernel.timer_at(at_us, self._reached)
        self._at_opening(edge.rules.at_connected(self))

    def _reached(self) -> None:
        """An instant counted from the opening is there."""
        if self._at_node and self._stands() and not self.edge.is_ended and not self.edge.is_gone:
            self._at_opening(self.edge.rules.at_connected(self))

    def _at_opening(self, firing: Firing | None) -> None:
        if firing is None or isinstance(firing.verdict, do.Pass):
            return
        rules = self.edge.rules
        if isinstance(firing.verdict, do.Inject):
            frame = encoded(firing.verdict.frame, self._node_now(), firing)
            rules.note_wire(self, "out", firing, "", [(b"", False), (frame, False)])
            self._put("out", message_of(frame, False))
        else:
            rules.note_wire(self, "out", firing, None, None)
            self._strike(firing.verdict)

    # --- frames --------------------------------------------------------------------------------------

    def _frame_at_node(self, data: Any) -> None:
        edge = self.edge
        if not self._stands():
            self.unknown_at_node()
            return
        if edge.is_silent or edge.is_deaf:
            return
        if not self._at_node or edge.is_gone:
            self.unknown_at_node()
            return
        if self._defer(self._frame_at_node, data) or edge.is_ended:
            return
        firing = edge.rules.at_frame("frame_in", self, data) if edge.rules.sees_in else None
        if firing is not None:
            self._fire("in", firing, data)
        elif edge.lane_in is None:
            super()._frame_at_node(data)
        else:
            self._put("in", data)

    def _defer(self, then: Callable[[Any], None], data: Any) -> bool:
        """Whether the node does not read now, so that this waits in its host."""
        if self._is_read():
            return False
        assert self._unread is not None
        self._unread.append((then, data))
        return True

    def _pass_in(self, data: Any) -> None:
        """A frame that has passed the rules."""
        if self._at_node and self._stands() and not self._defer(self._pass_in, data):
            super()._frame_at_node(data)

    def _handle(self, data: Any) -> None:
        node = self.node
        if not self._at_node or node is None or not self._stands():
            return
        # What a rule has changed travels as bytes, in fidelity ``frames`` too.
        if isinstance(data, RawText):
            node.receive_text(self, data.data)
        elif isinstance(data, Frame):
            node.receive_frame(self, data)
        else:
            node.receive_data(self, data)

    def send_down(self, frame: Frame) -> None:
        edge = self.edge
        if edge.is_ended or edge.is_silent:
            return
        firing = edge.rules.at_frame("frame_out", self, frame) if edge.rules.sees_out else None
        # An ERROR that a rule had the core send has no typed payload, which a client by reference would look for.
        is_plain = isinstance(frame.payload, dict)
        if firing is None and edge.lane_out is None and not is_plain:
            super().send_down(frame)
            return
        if self.device.tracer is not None:
            self._trace("frame_down", frame)
        message: Message = message_of(*raw_of(frame)) if self.device.world.wire or is_plain else frame
        if firing is None:
            self._put("out", message)
        else:
            self._fire("out", firing, message)

    def _pass_out(self, message: Message) -> None:
        """A frame that has passed the rules goes on its way to the device."""
        if self.edge.is_gone or not self._stands():
            return
        size = on_the_wire(size_of(message), masked=False) if self.device.needs_size or self.holds else 0
        self.down(size, self._arrives, message)
        if self._outbox is not None or self.edge.lane_out is not None:
            self._check_outbox()

    def _arrives(self, message: Message) -> None:
        if not isinstance(message, RawText):
            self.device.frame_arrived(self, message)
        elif not self.over:
            # A text that is not UTF-8 fails the connection (RFC 6455 §8.1), and the client is told at once (§7.1.7).
            code = int(CloseCode.INVALID_PAYLOAD)
            self.close_up(code)
            self.over = True
            self.device.socket_closed(self, code)

    # --- verdicts ------------------------------------------------------------------------------------

    def _fire(self, direction: Direction, firing: Firing, message: Message) -> None:
        verdict, rules = firing.verdict, self.edge.rules
        if isinstance(verdict, do.Pass):
            self._put(direction, message)
            return
        passed = None
        if not isinstance(verdict, _AS_IT_IS):
            passed = changed(firing, self._node_now(), *raw_of(message))
        rules.note_wire(self, direction, firing, message, passed)
        if isinstance(verdict, do.Delay):
            self._put(direction, message, verdict.ms * 1000)
        elif isinstance(verdict, do.Reorder):
            self._lane(direction).hold(size_of(message), self._passing(direction, message))
            self._check_outbox()
        elif isinstance(verdict, do.ErrorAnswer):
            self._answer_error(verdict, firing, message)
        elif isinstance(verdict, do.Duplicate):
            self._put(direction, message)
            self._put(direction, message)
        elif isinstance(verdict, do.Inject):
            assert passed is not None
            self._put(direction, message)
            self._put(direction, message_of(*passed[1]))
        else:
            self._strike(verdict)
            for each in [message] if passed is None else [message_of(*item) for item in passed]:
                self._put(direction, each)

    def _strike(self, verdict: do.Action) -> None:
        """What a verdict does to the connection, if it does anything to it."""
        edge = self.edge
        if isinstance(verdict, do.CloseWith | do.Abort):
            edge.is_ended = True
            code, reason = (verdict.code, verdict.reason) if isinstance(verdict, do.CloseWith) else (None, "")
            self.kernel.call_at(self.kernel.now, self._command, CloseConn(self.conn, code, reason))
        elif isinstance(verdict, do.Blackhole):
            edge.is_ended = edge.is_silent = True
            edge.forget()
        elif isinstance(verdict, do.SlowClose):
            edge.slow_us = verdict.ms * 1000
        elif isinstance(verdict, do.Throttle):
            self._lane("in").throttle(verdict.bytes_per_s)
            self._lane("out").throttle(verdict.bytes_per_s)

    def _answer_error(self, verdict: do.ErrorAnswer, firing: Firing, message: Message) -> None:
        payload = error_payload(verdict, firing, *names_of(message))
        self._command(SendFrame(self.conn, "ERROR", payload))

    def _command(self, command: CloseConn | SendFrame) -> None:
        if self._at_node and self._stands() and self.node is not None:
            # Where the core has ended the connection meanwhile, there is nothing left to do.
            with contextlib.suppress(ProtocolError):
                self.node.command(command)

    # --- lanes ---------------------------------------------------------------------------------------

    def _put(self, direction: Direction, message: Message, delay_us: int = 0) -> None:
        lane = self.edge.lane_in if direction == "in" else self.edge.lane_out
        if lane is None and not delay_us:
            self._passing(direction, message)()
            return
        self._lane(direction).put(size_of(message), self._passing(direction, message), delay_us)
        self._check_outbox()

    def _passing(self, direction: Direction, message: Message) -> Callable[[], None]:
        return partial(self._pass_in if direction == "in" else self._pass_out, message)

    def _lane(self, direction: Direction) -> Lane:
        edge = self.edge
        lane = edge.lane_in if direction == "in" else edge.lane_out
        if lane is None:
            lane = Lane(self.kernel, self._regulate)
            if direction == "in":
                edge.lane_in = lane
            else:
                edge.lane_out = lane
        return lane

    def _regulate(self) -> None:
        """Less waits: look anew whether to read."""
        if self._unread is not None:
            self._read_on()

    def waiting_at_node(self) -> tuple[int, int]:
        frames, size = super().waiting_at_node()
        _, (held, held_bytes) = self.edge.waiting()
        if held and self.node is not None:
            # It takes the node's memory, too.
            self.node.backlogged[self] = None
        return frames + held, size + held_bytes

    def _more_than_half_full(self) -> bool:
        limits = self.device.world.protocol.outbox
        (frames, size), _ = self.edge.waiting()
        return 2 * frames > limits.max_frames or 2 * size > limits.max_bytes or super()._more_than_half_full()

    def _await_room(self) -> None:
        waiting_in, waiting_out = self.edge.waiting()
        if not waiting_in[0] and not waiting_out[0]:
            # Else whatever leaves next has it looked at again.
            super()._await_room()

    # --- ends ----------------------------------------------------------------------------------------

    def close_down(self, code: int, reason: str) -> None:
        edge = self.edge
        if edge.is_silent:
            self._closing_at_node = True
            self.kernel.timer_at(self.kernel.now + CLOSE_TIMEOUT_US, self._close_timed_out, self.epoch)
        elif edge.lane_out is None:
            super().close_down(code, reason)
        else:
            # A close flushes what was sent before it.
            self._closing_at_node = True
            edge.lane_out.let_go()
            edge.lane_out.put(0, partial(super().close_down, code, reason), is_frame=False)

    def _close_arrived(self, code: int) -> None:
        if self.edge.slow_us is None:
            super()._close_arrived(code)
        else:
            self.up(on_the_wire(2, masked=True), self._peer_answered, code)

    def _peer_answered(self, code: int) -> None:
        """Our close frame was answered: the core is told, the socket ends later."""
        self.edge.is_deaf = True
        self.gone("closed")
        self.kernel.call_at(self.kernel.now + (self.edge.slow_us or 0), self._end_late, TLS_RECORD_BYTES, code)

    def _end_late(self, size: int, code: int) -> None:
        if self._stands():
            self.down(size, self._answer_arrived, code)

    def _client_closes(self, code: int) -> None:
        edge = self.edge
        if edge.is_silent:
            return
        if edge.lane_in is None:
            self._close_in(code)
        else:
            edge.lane_in.let_go()
            edge.lane_in.put(0, partial(self._close_in, code), is_frame=False)

    def _close_in(self, code: int) -> None:
        if self.edge.slow_us is None or self._closing_at_node:
            super()._client_closes(code)
        elif not self._defer(self._close_in, code):
            self.edge.is_deaf = True
            self.gone("client_closed")
            size = on_the_wire(2, masked=False)
            self.kernel.call_at(self.kernel.now + self.edge.slow_us, self._end_late, size, code)

    def abort_down(self, cause: str) -> None:
        if self.edge.is_silent:
            # The peer is told nothing.
            self.gone(cause)
        else:
            super().abort_down(cause)

    def _reset_arrived(self, cause: str) -> None:
        # In half-open silence nothing comes through, not even the news of an end.
        if not (self.edge.is_silent and self._at_node):
            super()._reset_arrived(cause)

    def gone(self, cause: str) -> None:
        """The transport is gone at the node: the relay is told, behind what came before."""
        edge = self.edge
        if edge.is_gone:
            return
        edge.is_gone = True
        if edge.lane_out is not None:
            edge.lane_out.clear()
        lane = edge.lane_in
        if lane is None or not self._stands():
            super().gone(cause)
        else:
            lane.let_go()
            lane.put(0, partial(super().gone, cause), is_frame=False)

    def node_halted(self, silently: bool) -> None:
        edge = self.edge
        edge.is_gone = True
        edge.forget()
        super().node_halted(silently or edge.is_silent)

    def _stands(self) -> bool:
        """Whether the node that took the connection is still the one that runs."""
        return self.node is not None and self.node.epoch == self.epoch

    def _node_now(self) -> int:
        return self.kernel.now if self.node is None else self.node.now()


_AS_IT_IS = (do.Delay, do.Reorder, do.SlowClose, do.Throttle)
"""Verdicts under which a frame passes as it is."""
