"""A relay node: the core's Relay under simulated time, its CPU front, and its sockets.

The core decides at the instant a CPU worker is done with an input; its effects go out ``store_latency_us`` later, once
the shared store has committed them, all of a node in one order. A crash drops the core, its connections and the
effects not yet applied; what it noted was in the store already and stays counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zentalk_sim.experiment.schema import Costs
from zentalk_sim.model.clock import draw_clock
from zentalk_sim.model.ingress import Ingress
from zentalk_sim.protocol.control import Command, NodeLost, Stop
from zentalk_sim.protocol.effects import (
    Abort,
    Accept,
    BusEvent,
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
from zentalk_sim.protocol.frames import Frame
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import UpgradeRequest

if TYPE_CHECKING:
    from zentalk_sim.model.line import Line
    from zentalk_sim.model.rest_line import RestLine
    from zentalk_sim.model.websocket import WebSocket
    from zentalk_sim.model.world import World

UP, REFUSING, DEAD = "up", "refusing", "dead"
"""Serving; the host answers SYNs with RST (stopped or starting); the host is gone, nothing answers."""

_LONG_AGO_US = -(1 << 62)
_SIGNALS = {
    "PRESENCE_UPDATE": "signals.presence",
    "TYPING_START": "signals.typing",
    "TYPING_STOP": "signals.typing",
    "KEY_CHANGE": "signals.keys",
}
"""Frames whose number grows with who watches, and the count of each."""


class RelayNode:
    """One node of the cluster. ``epoch`` counts its starts and stops: what belongs to another epoch is void."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.kernel = world.kernel
        self.index = index
        self.name = f"relay-{index}"
        self.state = REFUSING
        self.dead_since_us: int | None = None
        self.epoch = 0
        self.open_connections = 0
        self.sockets: dict[int, WebSocket] = {}
        self.backlogged: dict[Line, None] = {}
        """Connections with something in their outbox, or that had until lately."""
        self.requests: dict[int, tuple[RestLine, int]] = {}
        self.relay: Relay | None = None
        self.ingress: Ingress | None = None
        self._armed_us: int | None = None
        self._boots = 0
        settings = world.experiment.relay
        self.store_latency_us = settings.store_latency_us
        """What a commit takes at present."""
        self._committed_us = 0
        """When the last effects under way are committed; what a slow store held up is not overtaken."""
        self.costs = settings.ingress.costs
        """What work costs at present."""
        self._slowed: dict[int, float] = {}
        """Faults that slow it down → by how much."""
        stream = world.streams.fresh(f"{self.name}/clock")
        self.clock = draw_clock(settings.clock_skew, stream, world.start_us)
        """The clock it goes by, where that is off."""
        self._handlers: dict[type, Callable[[Any], None]] = {
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
        self._boot()

    def now(self) -> int:
        """The time as the node has it."""
        now: int = self.kernel.now
        return now if self.clock is None else self.clock.local(now)

    # --- life ----------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether it takes connections."""
        return self.state == UP

    def _boot(self) -> None:
        world = self.world
        self._boots += 1
        self.state = UP
        self.relay = Relay(
            world.protocol,
            streams=Streams(f"{world.experiment.seed} {self.name}", self._boots),
            store=world.store,
            crypto=world.crypto,
            tokens=world.tokens,
            node=self.name,
        )
        self._notes = world.tracer is not None
        if world.tracer is not None:
            self.relay = world.tracer.tape(self.relay, self)
        else:
            self.relay.tell_facts(self._tell)
        settings = world.experiment.relay.ingress
        self.ingress = Ingress(settings.workers, settings.accept_backlog, self.kernel.now) if settings.enabled else None
        self._armed_us = None
        self.dead_since_us = None
        if self._boots > 1:
            # What the dead instance left in the store: its connections are nobody's now.
            self._take(self.relay.control(NodeLost(self.name), self.now()))

    def begin_start(self) -> int:
        """The host is back and answers SYNs with RST until ``start``; the epoch that must still hold by then."""
        if self.state != UP:
            self.epoch += 1
            self.state = REFUSING
        return self.epoch

    def start(self) -> None:
        """Begin to take connections; does nothing where it is up."""
        if self.state != UP:
            self.epoch += 1
            self._boot()

    def halt(self, state: str) -> None:
        """Lose the core, every connection and the effects not yet applied; ``state`` says how the host now answers."""
        self.epoch += 1
        if self.state == UP:
            self.dead_since_us = self.kernel.now if state == DEAD else _LONG_AGO_US
            halted = getattr(self.relay, "halted", None)
            if halted is not None:
                # A core on tape, whose connections end here.
                halted(self.now())
            self.relay = None
            self.open_connections = 0
            self._committed_us = 0
            self.requests.clear()
            self.backlogged.clear()
            sockets, self.sockets = self.sockets, {}
            for socket in sockets.values():
                socket.device.node_gone(socket)
                socket.node_halted(silently=state == DEAD)
        self.state = state

    def stop(self) -> None:
        """An orderly stop (R-12.1): close every connection with 1001, then stop to take new ones."""
        if self.relay is None:
            return
        # The process waits for the closes to be committed and sent before it ends.
        effects = self.relay.control(Stop(), self.now())
        self._count_notes(effects)
        self._apply(self.epoch, [effect for effect in effects if type(effect) is not Note])
        self.halt(REFUSING)

    def slow_down(self, fault: int, factor: float) -> None:
        """A fault makes work cost ``factor`` times as much; several multiply."""
        self._slowed[fault] = factor
        self._set_costs()

    def speed_up(self, fault: int) -> None:
        """That fault has ended."""
        del self._slowed[fault]
        self._set_costs()

    def _set_costs(self) -> None:
        product = 1.0
        for factor in self._slowed.values():
            product *= factor
        base = self.world.experiment.relay.ingress.costs
        self.costs = Costs(**{name: round(getattr(base, name) * product) for name in Costs.__struct_fields__})

    def lost(self, name: str) -> None:
        """Learn that another node is dead."""
        if self.relay is not None:
            self._take(self.relay.control(NodeLost(name), self.now()))

    def command(self, command: Command) -> Any:
        """Carry out an operator's command; its result. Raises ProtocolError where it names what there is not."""
        assert self.relay is not None
        self._take(self.relay.control(command, self.now()))
        return self.relay.result if self.relay is not None else None

    # --- inputs --------------------------------------------------------------------------------------

    def work(self, epoch: int, cost_us: int, not_before_us: int, then: Callable[..., None], *arguments: Any) -> int:
        """Have a CPU worker spend ``cost_us`` and then call ``then``; the instant at which it is done."""
        now: int = self.kernel.now
        if self.ingress is None or cost_us == 0:
            then(*arguments)
            return now
        done_us = max(self.ingress.serve(now, cost_us), not_before_us)
        self.kernel.call_at(done_us, self._worked, epoch, then, arguments)
        return done_us

    def _worked(self, epoch: int, then: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if epoch == self.epoch:
            then(*arguments)

    def memory_bytes(self) -> int:
        """What its connections take: sockets, TLS and outboxes, those not yet upgraded and REST's among them."""
        memory = self.world.experiment.relay.ingress.memory
        waiting = sum(line.waiting_at_node()[1] for line in list(self.backlogged))
        return self.open_connections * (memory.connection_bytes + memory.tls_bytes) + waiting

    def connect(self, socket: WebSocket, request: UpgradeRequest) -> None:
        """An upgrade request."""
        assert self.relay is not None
        memory = self.world.experiment.relay.ingress.memory
        if memory.limit_bytes is not None and self.memory_bytes() > memory.limit_bytes:
            for name in ("connections.refused.503", "upgrades.refused", "upgrades.refused_for_memory"):
                self.world.recorder.count(name)
            socket.refused(503, self.world.protocol.upgrade.retry_after_s)
            return
        self.sockets[socket.conn] = socket
        self._take(self.relay.connect(socket.conn, request, self.now()))

    def receive_frame(self, socket: WebSocket, frame: Frame) -> None:
        """A frame by reference (fidelity ``frames``)."""
        assert self.relay is not None
        self._take(self.relay.receive_frame(socket.conn, frame, self.now()))

    def receive_data(self, socket: WebSocket, data: str | bytes) -> None:
        """A frame's bytes (fidelity ``wire``)."""
        assert self.relay is not None
        self._take(self.relay.receive_data(socket.conn, data, self.now()))

    def receive_text(self, socket: WebSocket, data: bytes) -> None:
        """A text message that may be no UTF-8, as a fault rule leaves it."""
        assert self.relay is not None
        self._take(self.relay.receive_text(socket.conn, data, self.now()))

    def disconnect(self, socket: WebSocket, cause: str) -> None:
        """The transport of an accepted connection is gone."""
        assert self.relay is not None
        del self.sockets[socket.conn]
        self._take(self.relay.disconnect(socket.conn, cause, self.now()))

    def handle_request(self, line: RestLine, fetch: int, request: Request) -> None:
        """A REST request; the answer goes back over its line."""
        assert self.relay is not None
        number = self.world.next_number()
        self.requests[number] = (line, fetch)
        self._take(self.relay.handle_request(number, request, self.now()))

    def receive_event(self, event: BusEvent, epoch: int) -> None:
        """An event of the bus."""
        if self.relay is not None and epoch == self.epoch:
            self._take(self.relay.receive_event(event, self.now()))

    # --- timers --------------------------------------------------------------------------------------

    def note_arrival(self, socket: WebSocket) -> None:
        """Bytes of a connection have arrived and wait for a worker (R-4.3)."""
        if self.relay is not None:
            self.relay.note_arrival(socket.conn, self.now())

    def _due_us(self) -> int | None:
        """The instant at which the core wants to be called."""
        assert self.relay is not None
        due_us = self.relay.next_timeout()
        return due_us if due_us is None or self.clock is None else self.clock.instant(due_us)

    def _arm(self) -> None:
        assert self.relay is not None
        due_us = self.relay.next_timeout() if self.clock is None else self._due_us()
        if due_us is not None and (self._armed_us is None or due_us < self._armed_us):
            self._armed_us = due_us
            self.kernel.timer_at(max(due_us, self.kernel.now), self._on_timer, self.epoch, due_us)

    def _disarm(self) -> None:
        self._armed_us = None

    def _stands_still(self, now: int) -> bool:
        return self._armed_us is not None and self._armed_us <= now

    def _on_timer(self, epoch: int, armed_us: int) -> None:
        if epoch != self.epoch or armed_us != self._armed_us or self.relay is None:
            return
        self._disarm()
        due_us = self._due_us()
        if due_us is not None and due_us <= self.kernel.now:
            self._take(self.relay.handle_timeout(self.now()))
            # A core that asks for the instant just served would hold the clock for ever.
            assert not self._stands_still(self.kernel.now), f"{self.name}: timer stands still"
        else:
            self._arm()

    # --- effects -------------------------------------------------------------------------------------

    def _count_notes(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Note:
                self.world.recorder.note(effect, self.kernel.now)

    def _tell(self, name: str, count: int, message_id: str | None, device_id: str | None, value_us: int | None) -> None:
        """Count a fact at once, since the store has changed."""
        self.world.recorder.fact(self.kernel.now, name, count, message_id, device_id, value_us)

    def _take(self, effects: list[Effect]) -> None:
        """Count the notes now, since the store has changed; send the rest out once it is committed."""
        if effects:
            if self._notes:
                self._count_notes(effects)
                effects = [effect for effect in effects if type(effect) is not Note]
            if effects:
                now: int = self.kernel.now
                at_us = max(now + self.store_latency_us, self._committed_us)
                if at_us > now:
                    self._committed_us = at_us
                    self.kernel.call_with(at_us, self._apply, (self.epoch, effects))
                else:
                    self._apply(self.epoch, effects)
        if self.relay is not None:
            self._arm()

    def _apply(self, epoch: int, effects: list[Effect]) -> None:
        if epoch == self.epoch:
            handlers = self._handlers
            for effect in effects:
                handlers[type(effect)](effect)

    def apply_now(self, effects: list[Effect]) -> None:
        """Send effects out without waiting for a commit, as what a node that is about to die still gets out."""
        self._apply(self.epoch, effects)

    def _send(self, effect: Send) -> None:
        socket = self.sockets.get(effect.conn)
        if socket is not None:
            frame = effect.frame
            kind = frame.type
            if kind == "MESSAGE_NEW":
                self.world.recorder.pushed(frame.id, socket.device.member.device_id, self.kernel.now)
            elif kind in _SIGNALS:
                self.world.recorder.count(_SIGNALS[kind])
            socket.send_down(frame)

    def _send_many(self, effect: SendMany) -> None:
        frame = effect.frame
        further = len(effect.targets) - 1
        if further > 0 and self.ingress is not None and self.costs.fan_out_us:
            # The copies leave at once, in order with all else; what is taken in from now on waits for the worker.
            self.ingress.serve(self.kernel.now, self.costs.fan_out_us * further)
        if frame.type in _SIGNALS:
            self.world.recorder.count(_SIGNALS[frame.type], len(effect.targets))
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
            self.world.recorder.count(f"connections.refused.{effect.status}")
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
