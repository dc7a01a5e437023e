"""A device: the client core under simulated time, its sockets, and its application.

No process: inputs are callbacks, and at most one queue entry stands for the core's timers, pushed only if it is earlier
than the one that stands already and looking again when it comes up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.experiment.metrics import closed_count
from zentalk_sim.model.clock import Clock, draw_clock
from zentalk_sim.model.line import Line
from zentalk_sim.model.population import Member, Person, roaming_ip
from zentalk_sim.model.rest_line import RestLine
from zentalk_sim.model.sleep import ATTEMPT_OVER, Sleeps
from zentalk_sim.model.websocket import WebSocket
from zentalk_sim.network.path import Direction, Path
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import (
    AbortSocket,
    Acked,
    CloseSocket,
    Connect,
    Count,
    Deliver,
    Failed,
    Fetch,
    GaveUp,
    NeedRekey,
    NeedToken,
    Receipt,
    Rejected,
    SendFrame,
    StateChanged,
    Update,
)
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.frames import Frame
from zentalk_sim.protocol.streams import Stream
from zentalk_sim.protocol.timers import NEVER

if TYPE_CHECKING:
    from zentalk_sim.model.world import World

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_FRAME: Final = Frame
_CONNECTED: Final = ClientState.CONNECTED
_CLOSING: Final = ClientState.CLOSING
_DUE: Final = 1
"""Kind of a device's only entry in the queue: its core wants to be called."""


class Device(Sleeps):
    """One device of the population."""

    __slots__ = (
        "_armed_us",
        "_links",
        "_session_id",
        "_stalled",
        "attempts",
        "clock",
        "ip",
        "member",
        "needs_size",
        "path",
        "profile",
        "reading",
        "sending",
        "severed",
        "socket",
        "tracer",
        "was_connected",
    )

    def __init__(self, world: World, member: Member, client: Client, path: Path, profile: LinkProfile) -> None:
        # Compiled, attributes lie in memory in this order, the mixins' first: truth values take a byte each where they
        # follow each other, and what every frame touches stands together.
        self.begin_awake()
        self.severed = False
        """Its node is gone, and the client has not yet noticed."""
        self.was_connected = False
        self.needs_size = profile.needs_size
        """Whether its link asks for the sizes of frames; the profile works that out at each look."""
        self.world = world
        self.kernel = world.kernel.calendar
        self.client = client
        client.hands_over_frames = True
        self.socket: WebSocket | None = None
        self._armed_us = NEVER
        """The instant for which a timer stands."""
        skew = world.experiment.population.clock_skew
        self.clock: Clock | None = None
        if not skew.is_true:
            # A clock that is off is the one its client goes by.
            self.clock = draw_clock(skew, world.streams.fresh(f"device/{member.index}/clock"), world.start_us)
        tracer = world.tracer
        self.tracer = tracer if tracer is not None and tracer.follows(member.index) else None
        """Where the events of this device are written, if they are."""
        self.member = member
        self.ip = member.ip
        self.path = path
        self.profile = profile
        self.rest = None
        self.attempts = 0
        self.lost_us = None
        self.sending: Stream | None = None
        self.reading: Stream | None = None
        self.habits = None
        self._links = 0
        self._token_asked = False
        self._session_id: str | None = None
        self._stalled: dict[TcpConnection, Line] | None = None
        """Connections that hold something until the path opens; None where there was none."""

    def network_stream(self) -> Stream:
        """The stream of a new connection's network; one of its own for each, so that none moves another's draws."""
        self._links += 1
        return self.world.streams.fresh(f"device/{self.member.index}/link/{self._links}")

    def now(self) -> int:
        """The time as the device has it."""
        now = self.kernel.now
        return now if self.clock is None else self.clock.local(now)

    # --- the application -----------------------------------------------------------------------------

    def connect(self) -> None:
        """The application asks for a connection, unless the device is off."""
        if not self.offline:
            self.apply(self.client.connect(self.now()))

    def send(self, to: Person, ciphertext: bytes) -> None:
        """The application sends a message."""
        effects = self.client.send(to.address, ciphertext, "text", self.now())
        own, size, now = self.member.person, len(ciphertext), self.kernel.now
        self.world.recorder.sent(self.client.last_id, own.address, to.address, to.device_ids, size, now)
        tracer = self.tracer
        if tracer is not None and tracer.full and not any(type(effect) is Rejected for effect in effects):
            tracer.event(now, "wrote", None, self.member.device_id, id=self.client.last_id)
        self.apply(effects)

    def read(self, message_id: str) -> None:
        """The user has read a message."""
        self.apply(self.client.mark_read(message_id, self.now()))

    def hand_over(self, profile: LinkProfile) -> None:
        """Change to another network: the old path is dead for good, and what was cut of it no longer matters."""
        self.path.block("both", self.kernel.now)
        if self.rest is not None:
            self.rest.abandon()
            self.rest = None
        self.path = Path()
        self.profile = profile
        self.needs_size = profile.needs_size
        self.ip = roaming_ip(self.member.index)
        self.apply(self.client.network_changed(self.now()))

    # --- the path ------------------------------------------------------------------------------------

    def stalled(self, line: Line) -> None:
        """A connection holds something until the path opens."""
        if self._stalled is None:
            self._stalled = {}
        self._stalled[line.tcp] = line

    def cut(self, direction: Direction) -> Path:
        """A partition begins; returns the path it cuts, which a handover may replace."""
        self.path.block(direction, self.kernel.now)
        return self.path

    def heal(self, direction: Direction, path: Path | None = None) -> None:
        """A partition of ``path``, by default the present one, ends; others may still hold."""
        path = path or self.path
        now = self.kernel.now
        if not path.heal(direction, now):
            return
        stalled = self._stalled or {}
        for tcp in list(path.stalled):
            line = stalled.get(tcp)
            if line is None:
                tcp.release("up", now)
                tcp.release("down", now)
            else:
                line.released(now)
        if path is self.path and not path.blocked:
            self._stalled = {tcp: line for tcp, line in stalled.items() if line.tcp.path is not path} or None

    # --- the network's news --------------------------------------------------------------------------

    def socket_opened(self, socket: WebSocket) -> None:
        """The upgrade was answered with 101."""
        if socket is self.socket:
            self.apply(self.client.connected(self.now()))

    def rest_line_over(self, line: RestLine) -> None:
        """A connection for requests is closed; a device that asks nothing more keeps nothing of it."""
        if line is self.rest:
            self.rest = None

    def socket_failed(self, socket: WebSocket, cause: str, status: int | None) -> None:
        """The attempt failed before there was a WebSocket."""
        if socket is self.socket:
            retry_after_ms = None if socket.retry_after_s is None else socket.retry_after_s * 1000
            self.apply(self.client.connect_failed(self.now(), status, retry_after_ms))

    def socket_closed(self, socket: WebSocket, code: int) -> None:
        """The WebSocket is over."""
        socket.close_code = code
        if socket is self.socket:
            self.apply(self.client.closed(code, self.now()))

    def frame_arrived(self, socket: WebSocket, data: Any) -> None:
        """A frame of the relay's."""
        if socket is not self.socket:
            return
        now = self.kernel.now if self.clock is None else self.now()
        client = self.client
        # A fault rule may bring bytes where frames travel by reference.
        is_frame = isinstance(data, _FRAME)
        self.apply(client.receive_frame(data, now) if is_frame else client.receive_data(data, now))

    # --- timers --------------------------------------------------------------------------------------

    def _due_us(self) -> int:
        """The instant at which the core wants to be called, or NEVER."""
        due_us = self.client.due_us()
        return due_us if self.clock is None or due_us == NEVER else self.clock.instant(due_us)

    def _arm(self) -> None:
        due_us = self.client.due_us() if self.clock is None else self._due_us()
        if due_us < self._armed_us:
            kernel = self.kernel
            now = kernel.now
            if due_us < now:
                due_us = now
            self._armed_us = due_us
            kernel.timer_for(due_us, self, _DUE, None)

    def act(self, kind: int, argument: Any) -> None:
        """The core's timer; see Actor."""
        now = self.kernel.now
        if now != self._armed_us:
            return
        self._armed_us = NEVER
        if self._due_us() <= now:
            self.apply(self.client.handle_timeout(self.now()))
            # A core that asks for the instant just served would hold the clock for ever.
            assert self._armed_us > now, f"device {self.member.index}: timer stands still"
        else:
            self._arm()

    # --- effects -------------------------------------------------------------------------------------

    def apply(self, effects: list[Any]) -> None:
        """Do what the client core asks, in order, and have its next timer stand."""
        client = self.client
        frame = client.frame
        if frame is not None:
            client.frame = None
            if self.socket is not None:
                self.socket.send_up(frame)
        for effect in effects:
            _HANDLERS[type(effect)](self, effect)
        self._arm()

    def _connect(self, effect: Connect) -> None:
        self.attempts += 1
        self.world.recorder.count("connections.attempted")
        socket = self.socket = self.world.socket_type(self, self.attempts, effect.query)
        socket.open()

    def _send_frame(self, effect: SendFrame) -> None:
        frame = effect.frame
        if frame.type == "MESSAGE_SEND":
            self.world.recorder.transmitted(frame.id)
            tracer = self.tracer
            if tracer is not None and tracer.full:
                tracer.event(self.kernel.now, "transmitted", None, self.member.device_id, id=frame.id)
        socket = self.socket
        if socket is not None:
            socket.send_up(frame)

    def _close_socket(self, effect: CloseSocket) -> None:
        if self.socket is not None:
            self.socket.close_up(int(effect.code))

    def _abort_socket(self, effect: AbortSocket) -> None:
        if self.socket is not None:
            self.socket.abandon()

    def _state_changed(self, effect: StateChanged) -> None:
        world = self.world
        now = self.kernel.now
        if self.tracer is not None:
            conn = self.socket.conn if self.socket is not None else None
            states = {"old": effect.old.value, "new": effect.new.value}
            self.tracer.event(now, "state", conn, self.member.device_id, **states, cause=effect.cause)
        if effect.old is _CONNECTED:
            if self.severed:
                self.severed = False
            else:
                world.connected -= 1
                if effect.new is not _CLOSING:
                    self.lost_us = now
        if effect.new is _CONNECTED:
            world.connected += 1
            socket = self.socket
            assert socket is not None
            socket.auth_us = now
            session_id = self.client.session.session_id
            socket.resumed = session_id is not None and session_id == self._session_id
            self._session_id = session_id
            if self.lost_us is not None:
                world.recorder.observe("reconnect_time_s", now - self.lost_us, self.lost_us)
                self.lost_us = None
            if not self.was_connected:
                self.was_connected = True
                world.conduct.first_connected(self)
        elif effect.new in ATTEMPT_OVER and self.socket is not None:
            self.end_attempt(now, effect.cause)

    def node_gone(self, socket: WebSocket) -> None:
        """The node of a connection has died: the device is without one from now on, whenever it notices."""
        if socket is self.socket and not self.severed and self.client.state is _CONNECTED:
            self.severed = True
            self.lost_us = self.kernel.now
            self.world.connected -= 1

    def end_attempt(self, end_us: int | None, cause: str | None) -> None:
        """Write the row of the attempt under way, if there is one; ``end_us`` is None at the end of the run."""
        socket = self.socket
        if socket is None or socket.ended:
            return
        socket.ended = True
        code = socket.close_code
        if end_us is not None and socket.upgraded_us != NEVER:
            code = 1006 if code is None else code
            self.world.recorder.count(closed_count(code))
        self.world.recorder.connection(
            (
                self.member.device_id,
                socket.node.name if socket.node is not None else None,
                socket.attempt,
                *socket.instants(),
                end_us,
                code,
                cause,
                socket.resumed,
            )
        )

    def _deliver(self, effect: Deliver) -> None:
        world = self.world
        if self.tracer is not None:
            self.tracer.event(
                self.kernel.now, "shown", None, self.member.device_id, id=effect.message_id, via=effect.via
            )
        world.recorder.shown(effect.message_id, self.member.device_id, effect.via, self.kernel.now)
        world.conduct.shown(self, effect.message_id)

    def _rejected(self, effect: Rejected) -> None:
        self.world.recorder.settled(effect.message_id, "rejected", effect.reason)

    def _failed(self, effect: Failed) -> None:
        self.world.recorder.settled(effect.message_id, "failed")

    def _acked(self, effect: Acked) -> None:
        self.world.recorder.acked(effect.message_id, self.kernel.now)

    def _gave_up(self, effect: GaveUp) -> None:
        self.world.recorder.count("clients.gave_up")
        policy = self.world.experiment.population.on_failed
        if policy != "never":
            self.kernel.timer_at(self.kernel.now + policy.retry_after_us, self.connect)

    def _count(self, effect: Count) -> None:
        self.world.recorder.client_count(effect.name, effect.count)

    def _nothing(self, effect: Any) -> None:
        """What an application would show, and no result needs."""


_HANDLERS: Final[dict[type, Callable[[Device, Any], None]]] = {
    SendFrame: Device._send_frame,
    Connect: Device._connect,
    CloseSocket: Device._close_socket,
    AbortSocket: Device._abort_socket,
    Fetch: Device._fetch,
    Deliver: Device._deliver,
    StateChanged: Device._state_changed,
    Rejected: Device._rejected,
    Failed: Device._failed,
    Acked: Device._acked,
    Receipt: Device._nothing,
    Update: Device._nothing,
    NeedRekey: Device._nothing,
    GaveUp: Device._gave_up,
    NeedToken: Device._need_token,
    Count: Device._count,
}
"""Effect → what is done about it."""
