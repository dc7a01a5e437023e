"""A device: the client core under simulated time, its sockets, and its application.

No process: inputs are callbacks, and at most one queue entry stands for the core's timers, pushed only if it is earlier
than the one that stands already and looking again when it comes up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from zentalk_sim.model.line import Line
from zentalk_sim.model.population import Member, Person
from zentalk_sim.model.rest_line import RestLine
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
from zentalk_sim.protocol.identity import token_signed_data
from zentalk_sim.protocol.streams import Stream

if TYPE_CHECKING:
    from zentalk_sim.model.world import World

TOKEN_RETRY_US = 5_000_000
"""How long an application waits before it asks for a token again after a failure."""
ATTEMPT_OVER = (ClientState.FAILED, ClientState.DISCONNECTED)


class Device:
    """One device of the population."""

    __slots__ = (
        "_armed_us",
        "_links",
        "_retry_failed_us",
        "_session_id",
        "_stalled",
        "_token_asked",
        "attempts",
        "client",
        "lost_us",
        "member",
        "needs_size",
        "path",
        "profile",
        "reading",
        "rest",
        "sending",
        "severed",
        "socket",
        "tracer",
        "was_connected",
        "world",
    )

    def __init__(self, world: World, member: Member, client: Client, path: Path, profile: LinkProfile) -> None:
        self.world = world
        self.member = member
        self.client = client
        self.path = path
        self.profile = profile
        self.needs_size = profile.needs_size
        """Whether its link asks for the sizes of frames; the profile works that out at each look."""
        self.socket: WebSocket | None = None
        self.rest: RestLine | None = None
        self.attempts = 0
        self.lost_us: int | None = None
        """Since when it has been without a connection that works; None while it has one, or never had."""
        self.severed = False
        """Its node is gone, and the client has not yet noticed."""
        self.was_connected = False
        self.sending: Stream | None = None
        self.reading: Stream | None = None
        self._armed_us: int | None = None
        self._links = 0
        self._token_asked = False
        self._session_id: str | None = None
        self._stalled: dict[TcpConnection, Line] = {}
        policy = world.experiment.population.on_failed
        tracer = world.tracer
        self.tracer = tracer if tracer is not None and tracer.follows(member.index) else None
        """Where the events of this device are written, if they are."""
        self._retry_failed_us = None if policy == "never" else policy.retry_after_us

    def network_stream(self) -> Stream:
        """The stream of a new connection's network; one of its own for each, so that none moves another's draws."""
        self._links += 1
        return self.world.streams.fresh(f"device/{self.member.index}/link/{self._links}")

    # --- the application -----------------------------------------------------------------------------

    def connect(self) -> None:
        """The application asks for a connection."""
        self.apply(self.client.connect(self.world.kernel.now))

    def send(self, to: Person, ciphertext: bytes) -> None:
        """The application sends a message."""
        now = self.world.kernel.now
        effects = self.client.send(to.address, ciphertext, "text", now)
        own = self.member.person
        self.world.recorder.sent(self.client.last_id, own.address, to.address, to.device_ids, len(ciphertext), now)
        self.apply(effects)

    def read(self, message_id: str) -> None:
        """The user has read a message."""
        self.apply(self.client.mark_read(message_id, self.world.kernel.now))

    # --- the path ------------------------------------------------------------------------------------

    def stalled(self, line: Line) -> None:
        """A connection holds something until the path opens."""
        self._stalled[line.tcp] = line

    def cut(self, direction: Direction) -> None:
        """A partition begins."""
        self.path.block(direction, self.world.kernel.now)

    def heal(self, direction: Direction) -> None:
        """A partition ends; others may still hold."""
        now = self.world.kernel.now
        if not self.path.heal(direction, now):
            return
        for tcp in list(self.path.stalled):
            line = self._stalled.get(tcp)
            if line is None:
                tcp.release("up", now)
                tcp.release("down", now)
            else:
                line.released(now)
        if not self.path.blocked:
            self._stalled.clear()

    # --- the network's news --------------------------------------------------------------------------

    def socket_opened(self, socket: WebSocket) -> None:
        """The upgrade was answered with 101."""
        if socket is self.socket:
            self.apply(self.client.connected(self.world.kernel.now))

    def socket_failed(self, socket: WebSocket, cause: str, status: int | None) -> None:
        """The attempt failed before there was a WebSocket."""
        if socket is self.socket:
            self.apply(self.client.connect_failed(self.world.kernel.now, status))

    def socket_closed(self, socket: WebSocket, code: int) -> None:
        """The WebSocket is over."""
        socket.close_code = code
        if socket is self.socket:
            self.apply(self.client.closed(code, self.world.kernel.now))

    def frame_arrived(self, socket: WebSocket, data: Any) -> None:
        """A frame of the relay's."""
        if socket is not self.socket:
            return
        now = self.world.kernel.now
        if isinstance(data, Frame):
            self.apply(self.client.receive_frame(data, now))
        else:
            self.apply(self.client.receive_data(data, now))

    # --- timers --------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due_us = self.client.next_timeout()
        if due_us is not None and (self._armed_us is None or due_us < self._armed_us):
            self._armed_us = due_us
            kernel = self.world.kernel
            kernel.timer_at(max(due_us, kernel.now), self._on_timer, due_us)

    def _on_timer(self, armed_us: int) -> None:
        if armed_us != self._armed_us:
            return
        self._armed_us = None
        now = self.world.kernel.now
        due_us = self.client.next_timeout()
        if due_us is not None and due_us <= now:
            self.apply(self.client.handle_timeout(now))
            # A core that asks for the instant just served would hold the clock for ever.
            assert self._armed_us is None or self._armed_us > now, f"device {self.member.index}: timer stands still"
        else:
            self._arm()

    # --- effects -------------------------------------------------------------------------------------

    def apply(self, effects: list[Any]) -> None:
        """Do what the client core asks, in order, and have its next timer stand."""
        for effect in effects:
            _HANDLERS[type(effect)](self, effect)
        self._arm()

    def _connect(self, effect: Connect) -> None:
        self.attempts += 1
        self.world.recorder.count("connections.attempted")
        socket = self.socket = WebSocket(self, self.attempts, effect.query)
        socket.open()

    def _send_frame(self, effect: SendFrame) -> None:
        frame = effect.frame
        if frame.type == "MESSAGE_SEND":
            self.world.recorder.transmitted(frame.id)
        if self.socket is not None:
            self.socket.send_up(frame)

    def _close_socket(self, effect: CloseSocket) -> None:
        if self.socket is not None:
            self.socket.close_up(effect.code)

    def _abort_socket(self, effect: AbortSocket) -> None:
        if self.socket is not None:
            self.socket.abandon()

    def _fetch(self, effect: Fetch) -> None:
        def answered(status: int, body: Any) -> None:
            self.apply(self.client.receive_response(effect.fetch, status, body, self.world.kernel.now))

        self._rest_line().request(effect.method, effect.path, self.client.token, effect.body, answered)

    def _rest_line(self) -> RestLine:
        line = self.rest
        if line is None or not line.usable(self.world.kernel.now):
            if line is not None:
                line.abandon()
            line = self.rest = RestLine(self)
            line.open()
        return line

    def _state_changed(self, effect: StateChanged) -> None:
        world = self.world
        now = world.kernel.now
        if self.tracer is not None:
            conn = self.socket.conn if self.socket is not None else None
            states = {"old": effect.old.value, "new": effect.new.value}
            self.tracer.event(now, "state", conn, self.member.device_id, **states, cause=effect.cause)
        if effect.old is ClientState.CONNECTED:
            if self.severed:
                self.severed = False
            else:
                world.connected -= 1
                if effect.new is not ClientState.CLOSING:
                    self.lost_us = now
        if effect.new is ClientState.CONNECTED:
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
        if socket is self.socket and not self.severed and self.client.state is ClientState.CONNECTED:
            self.severed = True
            self.lost_us = self.world.kernel.now
            self.world.connected -= 1

    def end_attempt(self, end_us: int | None, cause: str | None) -> None:
        """Write the row of the attempt under way, if there is one; ``end_us`` is None at the end of the run."""
        socket = self.socket
        if socket is None or socket.ended:
            return
        socket.ended = True
        code = socket.close_code
        if end_us is not None and socket.upgraded_us is not None:
            code = 1006 if code is None else code
            self.world.recorder.count(f"connections.closed.{code}")
        self.world.recorder.connection(
            (
                self.member.device_id,
                socket.node.name if socket.node is not None else None,
                socket.attempt,
                socket.start_us,
                socket.tcp_us,
                socket.tls_us,
                socket.upgraded_us,
                socket.auth_us,
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
                world.kernel.now, "shown", None, self.member.device_id, id=effect.message_id, via=effect.via
            )
        world.recorder.shown(effect.message_id, self.member.device_id, effect.via, world.kernel.now)
        world.conduct.shown(self, effect.message_id)

    def _rejected(self, effect: Rejected) -> None:
        self.world.recorder.settled(effect.message_id, "rejected")

    def _failed(self, effect: Failed) -> None:
        self.world.recorder.settled(effect.message_id, "failed")

    def _acked(self, effect: Acked) -> None:
        self.world.recorder.acked(effect.message_id, self.world.kernel.now)

    def _gave_up(self, effect: GaveUp) -> None:
        self.world.recorder.count("clients.gave_up")
        if self._retry_failed_us is not None:
            kernel = self.world.kernel
            kernel.timer_at(kernel.now + self._retry_failed_us, self.connect)

    def _need_token(self, effect: NeedToken) -> None:
        """The application asks the relay for a new connection token (R-3.3), one request at a time."""
        if not self._token_asked:
            self._token_asked = True
            self._ask_token()

    def _ask_token(self) -> None:
        person = self.member.person
        now_ms = self.world.kernel.now // 1000
        signature = self.world.crypto.sign(person.secret, token_signed_data(self.member.device_id, now_ms))
        body = msgspec.json.encode(
            {
                "identity_key": person.identity_key,
                "device_id": self.member.device_id,
                "timestamp": now_ms,
                "signature": signature,
            }
        )
        self._rest_line().request("POST", "/api/token", None, body, self._token_answered)

    def _token_answered(self, status: int, body: Any) -> None:
        kernel = self.world.kernel
        if status != 200:
            kernel.timer_at(kernel.now + TOKEN_RETRY_US, self._ask_token)
            return
        self._token_asked = False
        found = msgspec.json.decode(body) if isinstance(body, bytes) else msgspec.to_builtins(body)
        self.apply(self.client.renew_token(found["token"], kernel.now))

    def _count(self, effect: Count) -> None:
        self.world.recorder.client_count(effect.name, effect.count)

    def _nothing(self, effect: Any) -> None:
        """What an application would show, and no result needs."""


_HANDLERS: Final[dict[type, Callable[[Device, Any], None]]] = {
    Connect: Device._connect,
    SendFrame: Device._send_frame,
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
