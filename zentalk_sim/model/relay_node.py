"""A relay node: the core's Relay under simulated time, its CPU front, and its sockets.

The core decides at the instant a CPU worker is done with an input; its effects go out ``store_latency_us`` later, once
the shared store has committed them, all of a node in one order. A crash drops the core, its connections and the
effects not yet applied; what it noted was in the store already and stays counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.experiment.schema import Costs
from zentalk_sim.model.clock import draw_clock
from zentalk_sim.model.ingress import Ingress
from zentalk_sim.model.node_effects import NodeEffects
from zentalk_sim.protocol.control import Command, NodeLost, Stop
from zentalk_sim.protocol.effects import BusEvent, Effect, Note
from zentalk_sim.protocol.frames import Frame
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.protocol.upgrade import UpgradeRequest

if TYPE_CHECKING:
    from zentalk_sim.model.line import Line
    from zentalk_sim.model.rest_line import RestLine
    from zentalk_sim.model.websocket import WebSocket
    from zentalk_sim.model.world import World

UP, REFUSING, DEAD = "up", "refusing", "dead"
"""Serving; the host answers SYNs with RST (stopped or starting); the host is gone, nothing answers."""

_LONG_AGO_US = -(1 << 62)
_DUE: Final = 3
"""A further kind of a node's entries: its core wants to be called."""


class RelayNode(NodeEffects):
    """One node of the cluster. ``epoch`` counts its starts and stops: what belongs to another epoch is void."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.kernel = world.kernel.calendar
        self.recorder = world.recorder
        self.index = index
        self.name = f"relay-{index}"
        self.state = REFUSING
        self.dead_since_us = None
        self.epoch = 0
        self.open_connections = 0
        self.opening_connections = 0
        """SYNs that the balancer has sent here and that are not answered yet."""
        self.sockets = {}
        self.backlogged: dict[Line, None] = {}
        """Connections with something in their outbox, or that had until lately."""
        self.requests = {}
        self.relay: Relay | None = None
        self.recorder.clock = self.kernel
        self.ingress = None
        self._armed_us = NEVER
        self._boots = 0
        settings = world.experiment.relay
        self.store_latency_us = settings.store_latency_us
        """What a commit takes at present."""
        self.begin_effects()
        self.costs = settings.ingress.costs
        """What work costs at present."""
        self.frame_cost_us: int = self.costs.frame_us
        """Of it, what every frame asks for."""
        self._slowed: dict[int, float] = {}
        """Faults that slow it down → by how much."""
        stream = world.streams.fresh(f"{self.name}/clock")
        self.clock = draw_clock(settings.clock_skew, stream, world.start_us)
        """The clock it goes by, where that is off."""
        self._boot()

    def now(self) -> int:
        """The time as the node has it."""
        now = self.kernel.now
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
            self.relay.tell_facts(self.recorder)
            self.relay.hand_over_frames(True)
        settings = world.experiment.relay.ingress
        self.ingress = Ingress(settings.workers, settings.accept_backlog, self.kernel.now) if settings.enabled else None
        self._armed_us = NEVER
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
        self.apply_now([effect for effect in effects if type(effect) is not Note])
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
        self.frame_cost_us = self.costs.frame_us

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
        now = self.kernel.now
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

    def memory_is_full(self) -> bool:
        """Whether its connections take more than the experiment lets them."""
        limit_bytes = self.world.experiment.relay.ingress.memory.limit_bytes
        return limit_bytes is not None and self.memory_bytes() > limit_bytes

    def connect(self, socket: WebSocket, request: UpgradeRequest) -> None:
        """An upgrade request."""
        assert self.relay is not None
        if self.memory_is_full():
            for name in ("connections.refused.503", "upgrades.refused", "upgrades.refused_for_memory"):
                self.recorder.count(name)
            socket.refused(503, self.world.protocol.upgrade.retry_after_s)
            return
        self.sockets[socket.conn] = socket
        relay = self.relay
        effects = relay.connect(socket.conn, request, self.now())
        conn = relay.connections.get(socket.conn)
        if conn is not None:
            conn.face = socket
            socket.core = conn
        self._take(effects)

    def receive_frame(self, socket: WebSocket, frame: Frame) -> None:
        """A frame by reference (fidelity ``frames``)."""
        assert self.relay is not None
        now = self.kernel.now if self.clock is None else self.now()
        core = socket.core
        if core is None:
            self._take(self.relay.receive_frame(socket.conn, frame, now))
        else:
            self._take(self.relay.receive_frame_on(core, frame, now))

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
        socket.core = None
        self._take(self.relay.disconnect(socket.conn, cause, self.now()))

    def handle_request(self, line: RestLine, fetch: int, request: Request) -> None:
        """A REST request; the answer goes back over its line."""
        assert self.relay is not None
        if line.is_first(fetch) and self.memory_is_full():
            self.recorder.count("requests.refused_for_memory")
            line.refused(fetch)
            return
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

    def _due_us(self) -> int:
        """The instant at which the core wants to be called, or NEVER."""
        assert self.relay is not None
        due_us = self.relay.due_us()
        return due_us if self.clock is None or due_us == NEVER else self.clock.instant(due_us)

    def _arm(self) -> None:
        due_us = self._due_us()
        if due_us < self._armed_us:
            kernel = self.kernel
            now = kernel.now
            if due_us < now:
                due_us = now
            self._armed_us = due_us
            kernel.timer_for(due_us, self, _DUE, None)

    def act(self, kind: int, argument: Any) -> None:
        """See Actor."""
        if kind == _DUE:
            self._on_timer()
        else:
            super().act(kind, argument)

    def _on_timer(self) -> None:
        relay = self.relay
        now = self.kernel.now
        if now != self._armed_us or relay is None:
            # Overtaken by an earlier one, or by the node's end.
            return
        self._armed_us = NEVER
        if self._due_us() <= now:
            self._take(relay.handle_timeout(now if self.clock is None else self.clock.local(now)))
            # A core that asks for the instant just served would hold the clock for ever.
            assert self._armed_us > now, f"{self.name}: timer stands still"
        else:
            self._arm()

    # --- effects -------------------------------------------------------------------------------------

    def _take(self, effects: list[Effect]) -> None:
        """Count the notes now, since the store has changed; send the rest out once it is committed."""
        if effects:
            if self._notes:
                self._count_notes(effects)
                effects = [effect for effect in effects if type(effect) is not Note]
            if effects:
                self._commit(effects, self.store_latency_us)
        relay = self.relay
        if relay is not None:
            if not effects and not self._notes:
                conn = relay.frame_to()
                if conn is not None:
                    self._commit_frame(conn.face, relay.take_frame(), self.store_latency_us)
            self._arm()
