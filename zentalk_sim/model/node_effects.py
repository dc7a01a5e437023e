"""What a relay node does about the effects of its core: frames, ends, events and pushes go out, facts are counted.

The effects of one input go out together, ``store_latency_us`` after it, once the shared store has committed them, all
of a node in one order. A crash drops what has not yet gone out; what the core noted was in the store already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.model.balancer import Backend
from zentalk_sim.protocol.effects import (
    Abort,
    Accept,
    ClearPush,
    Close,
    Effect,
    Note,
    Publish,
    Push,
    Refuse,
    Respond,
    Send,
    SendMany,
)

if TYPE_CHECKING:
    from zentalk_sim.experiment.schema import Costs
    from zentalk_sim.model.calendar import Calendar
    from zentalk_sim.model.ingress import Ingress
    from zentalk_sim.model.recorder import Recorder
    from zentalk_sim.model.rest_line import RestLine
    from zentalk_sim.model.websocket import WebSocket
    from zentalk_sim.model.world import World
    from zentalk_sim.protocol.frames import Frame

_SIGNALS: Final = {
    "PRESENCE_UPDATE": "signals.presence",
    "TYPING_START": "signals.typing",
    "TYPING_STOP": "signals.typing",
    "KEY_CHANGE": "signals.keys",
}
"""Frames whose number grows with who watches, and the count of each."""
_COMMITTED: Final = 1
"""A kind of a node's entries: the effects of an input are committed."""
FRAME_COMMITTED: Final = 6
"""A kind of a WebSocket's entries, in its node's order: so is the frame that is an input's only effect."""
_NOTED: Final = frozenset(("MESSAGE_NEW", *_SIGNALS))
"""Frames of which the recorder is told."""


class NodeEffects(Backend):
    """The outgoing side of RelayNode, which keeps the state."""

    world: World
    kernel: Calendar
    recorder: Recorder
    epoch: int
    sockets: dict[int, WebSocket]
    requests: dict[int, tuple[RestLine, int]]
    ingress: Ingress | None
    costs: Costs
    _committed_us: int
    """When the last effects under way are committed; what a slow store held up is not overtaken."""

    _handlers: dict[type, Callable[[Any], None]]
    """What is done about each kind of effect."""

    def begin_effects(self) -> None:
        """Nothing has gone out."""
        self._committed_us = 0
        self._handlers = {
            Send: self._send,
            SendMany: self._send_many,
            Accept: self._accept,
            Refuse: self._refuse,
            Close: self._close,
            Abort: self._abort,
            Publish: self._publish,
            Respond: self._respond,
            Push: self._push,
            ClearPush: self._clear_push,
        }

    def _count_notes(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Note:
                self.recorder.note(effect, self.kernel.now)

    def _commit(self, effects: list[Effect], latency_us: int) -> None:
        """Send effects out when the store has taken them in."""
        at_us = self._commit_us(latency_us)
        if at_us > self.kernel.now:
            self.kernel.input_for(at_us, self, _COMMITTED, (self.epoch, effects))
        else:
            self.apply_now(effects)

    def _commit_frame(self, socket: WebSocket, frame: Any, latency_us: int) -> None:
        """As ``_commit``, for a frame that is an input's only effect; ``socket`` is its connection's WebSocket."""
        at_us = self._commit_us(latency_us)
        if at_us > self.kernel.now:
            self.kernel.input_of(self, at_us, socket, FRAME_COMMITTED, frame)
        else:
            socket.committed(frame)

    def _commit_us(self, latency_us: int) -> int:
        """When what is decided now is committed: not before what was decided earlier."""
        now = self.kernel.now
        at_us = max(now + latency_us, self._committed_us)
        if at_us > now:
            self._committed_us = at_us
        return at_us

    def act(self, kind: int, argument: Any) -> None:
        """See Actor."""
        committed: tuple[int, list[Effect]] = argument
        if committed[0] == self.epoch:
            self.apply_now(committed[1])

    def apply_now(self, effects: list[Effect]) -> None:
        """Send effects out without waiting for a commit, as what a node that is about to die still gets out."""
        for effect in effects:
            self._handlers[type(effect)](effect)

    def _send(self, effect: Any) -> None:
        # ``Any``: compiled code takes the connection's number out of the effect and puts it back as it is.
        socket = self.sockets.get(effect.conn)
        if socket is not None:
            frame = effect.frame
            if frame.type in _NOTED:
                self._note_sent(frame, socket)
            socket.send_down(frame)

    def _note_sent(self, frame: Frame, socket: WebSocket) -> None:
        if frame.type == "MESSAGE_NEW":
            self.recorder.pushed(frame.id, socket.device.member.device_id, self.kernel.now)
        else:
            self.recorder.count(_SIGNALS[frame.type])

    def _send_many(self, effect: SendMany) -> None:
        frame = effect.frame
        further = len(effect.targets) - 1
        if further > 0 and self.ingress is not None and self.costs.fan_out_us:
            # The copies leave at once, in order with all else; what is taken in from now on waits for the worker.
            self.ingress.serve(self.kernel.now, self.costs.fan_out_us * further)
        if frame.type in _SIGNALS:
            self.recorder.count(_SIGNALS[frame.type], len(effect.targets))
        for conn, seq in effect.targets:
            socket = self.sockets.get(conn)
            if socket is not None:
                socket.send_down(
                    type(frame)(frame.type, frame.id, frame.timestamp, frame.payload, frame.message_mac, seq)
                )

    def _accept(self, effect: Accept) -> None:
        socket = self.sockets.get(effect.conn)
        if socket is not None:
            socket.accepted()

    def _refuse(self, effect: Refuse) -> None:
        socket = self.sockets.pop(effect.conn, None)
        if socket is not None:
            self.recorder.count(f"connections.refused.{effect.status}")
            socket.refused(effect.status, effect.retry_after_s)

    def _close(self, effect: Close) -> None:
        socket = self.sockets.get(effect.conn)
        if socket is not None:
            socket.close_down(effect.code, effect.reason)

    def _abort(self, effect: Abort) -> None:
        socket = self.sockets.get(effect.conn)
        if socket is not None:
            socket.abort_down(effect.cause)

    def _publish(self, effect: Publish) -> None:
        self.world.bus.publish(self.name, effect.node, effect.event)

    def _respond(self, effect: Respond) -> None:
        found = self.requests.pop(effect.request, None)
        if found is not None:
            line, fetch = found
            line.respond(fetch, effect.status, effect.body)

    def _push(self, effect: Push) -> None:
        self.world.pushes.send(effect.device_id)

    def _clear_push(self, effect: ClearPush) -> None:
        self.world.pushes.clear(effect.device_id)
