"""A device's WebSocket: upgrade, frames either way, closing handshakes (RFC 6455 §7) and abrupt ends.

In fidelity ``frames`` frame objects travel by reference, and sizes are computed only where the link asks for them; in
``wire`` the same frames travel as bytes. Everything else is one code path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.model.line import TLS_RECORD_BYTES, Line
from zentalk_sim.model.node_effects import FRAME_COMMITTED
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.frame_sizes import frame_size
from zentalk_sim.protocol.frames import BinaryFrame, Frame
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.protocol.upgrade import PATH, SUBPROTOCOL, UpgradeRequest

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device
    from zentalk_sim.protocol.connection import Connection

HEADERS = {
    "host": "relay.zentalk.network",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-protocol": SUBPROTOCOL,
}
"""A native client's upgrade request: no Origin."""
UPGRADE_REQUEST_BYTES: Final = 280
"""Request line and headers of an upgrade without its query's values."""
UPGRADE_RESPONSE_BYTES: Final = 190
REFUSAL_BYTES: Final = 300
_NO_QUERY: Final[dict[str, str]] = {}
"""What stands for a query once it was sent; the same for all, since a dictionary a device adds up."""
_FRAME_AT_NODE: Final = 3
_FRAME_AT_DEVICE: Final = 4
_FRAME_SERVED: Final = 5
"""Kinds of its entries: a frame has come to an end's host; a CPU worker is done with one."""
CLOSE_TIMEOUT_US: Final = 10_000_000
"""How long a node waits for the answer to its Close frame before it drops the connection (the websockets default)."""


def on_the_wire(payload_bytes: int, masked: bool) -> int:
    """A WebSocket frame's bytes in its own TLS record (RFC 6455 §5.2)."""
    header = 2 if payload_bytes < 126 else 4 if payload_bytes < 65_536 else 10
    return payload_bytes + header + (4 if masked else 0) + TLS_RECORD_BYTES


class WebSocket(Line):
    """One attempt to connect, and the connection it may lead to."""

    __slots__ = (
        "_at_node",
        "_closing_at_node",
        "_query",
        "_unread",
        "_wire",
        "attempt",
        "auth_us",
        "close_code",
        "conn",
        "core",
        "ended",
        "resumed",
        "retry_after_s",
        "upgraded_us",
    )

    def __init__(self, device: Device, attempt: int, query: dict[str, str]) -> None:
        super().__init__(device)
        self._wire: bool = device.world.wire
        """Frames travel as bytes; kept here, since every frame asks."""
        self._at_node = False
        """The relay core knows of the connection and has not been told of its end."""
        self._closing_at_node = False
        self.resumed = False
        self.ended = False
        """Its row in the table of connections is written."""
        self.core: Connection | None = None
        """What the relay core knows it as, from the upgrade to the end."""
        self.conn = device.world.next_number()
        self.auth_us = NEVER
        self._unread: list[tuple[Callable[[Any], None], Any]] | None = None
        """What has arrived since the node ceased to read; None while it reads."""
        self._query = query
        self.attempt = attempt
        self.upgraded_us = NEVER
        self.close_code: int | None = None
        self.retry_after_s: int | None = None
        """What the Retry-After of its refusal said."""

    def instants(self) -> tuple[int | None, ...]:
        """Start, TCP, TLS, upgrade and authentication, as the table of connections has them."""
        instants = (self.start_us, self.tcp_us, self.tls_us, self.upgraded_us, self.auth_us)
        return tuple(None if at_us == NEVER else at_us for at_us in instants)

    # --- the upgrade ---------------------------------------------------------------------------------

    def secured(self) -> None:
        size = UPGRADE_REQUEST_BYTES + TLS_RECORD_BYTES
        if self.device.needs_size:
            size += sum(map(len, self._query.values()))
        self.up(size, self._upgrade)

    def _upgrade(self) -> None:
        assert self.node is not None
        request = UpgradeRequest(PATH, self._query, HEADERS, self.device.ip)
        self._query = _NO_QUERY
        self.node.connect(self, request)

    def accepted(self) -> None:
        """The relay accepted: its 101 goes out."""
        self._at_node = True
        self.down(UPGRADE_RESPONSE_BYTES + TLS_RECORD_BYTES, self._opened)

    def _opened(self) -> None:
        self.upgraded_us = self.kernel.now
        self.device.socket_opened(self)

    def refused(self, status: int, retry_after_s: int | None = None) -> None:
        """The relay refused: an HTTP error goes out, and the connection is over."""
        self.release_node()
        self.down(REFUSAL_BYTES + TLS_RECORD_BYTES, self._was_refused, status, retry_after_s)

    def _was_refused(self, status: int, retry_after_s: int | None) -> None:
        self.over = True
        self.retry_after_s = retry_after_s
        self.device.socket_failed(self, f"http_{status}", status)

    # --- frames --------------------------------------------------------------------------------------

    def act(self, kind: int, argument: Any) -> None:
        """See Actor."""
        if kind == _FRAME_AT_DEVICE:
            self._frame_at_device(argument)
        elif kind == _FRAME_AT_NODE:
            self._frame_at_node(argument)
        elif kind == _FRAME_SERVED:
            self._handle(argument)
        elif kind == FRAME_COMMITTED:
            self.committed(argument)
        else:
            super().act(kind, argument)

    def send_up(self, frame: Frame) -> None:
        """The client sends a frame."""
        device = self.device
        if device.tracer is not None:
            self._trace("frame_up", frame)
        data: Any = frame
        size = 0
        if self._wire:
            data, size = _encoded(frame)
        if device.needs_size or self.holds:
            size = on_the_wire(size or frame_size(frame), masked=True)
        self.carry_up(size, _FRAME_AT_NODE, data)

    def _frame_at_node(self, data: Any) -> None:
        node = self.node
        if node is None or node.epoch != self.epoch or not self._at_node:
            self.unknown_at_node()
            return
        if (self._unread is not None or self._outbox is not None) and not self._is_read():
            assert self._unread is not None
            self._unread.append((self._frame_at_node, data))
            return
        cost_us = node.frame_cost_us
        if self.auth_us == NEVER and not self.authenticated_at_node:
            cost_us = node.costs.auth_us
            # what counts is when the answer reached the relay, not when a worker gets round to it.
            node.note_arrival(self)
        kernel, ingress = self.kernel, node.ingress
        if ingress is None or cost_us == 0:
            self._last_done_us = kernel.now
            self._handle(data)
            return
        done_us = ingress.serve(kernel.now, cost_us)
        if done_us < self._last_done_us:
            done_us = self._last_done_us
        self._last_done_us = done_us
        kernel.input_for(done_us, self, _FRAME_SERVED, data)

    @property
    def authenticated_at_node(self) -> bool:
        """Whether the relay has this connection past its handshake."""
        relay = self.node.relay if self.node is not None else None
        found = relay.connections.get(self.conn) if relay is not None else None
        return found is not None and found.state == "ready"

    def _handle(self, data: Any) -> None:
        """A CPU worker is done with a frame."""
        node = self.node
        if not self._at_node or node is None or node.epoch != self.epoch:
            return
        if self._wire:
            node.receive_data(self, data)
        else:
            node.receive_frame(self, data)

    def _trace(self, kind: str, frame: Frame) -> None:
        tracer = self.device.tracer
        if tracer is not None and not tracer.full:
            tracer.event(self.kernel.now, kind, self.conn, self.device.member.device_id, type=frame.type, id=frame.id)

    def send_down(self, frame: Frame) -> None:
        """The relay sends a frame."""
        device = self.device
        if device.tracer is not None:
            self._trace("frame_down", frame)
        data: Any = frame
        size = 0
        if self._wire:
            data, size = _encoded(frame)
        if device.needs_size or self.holds:
            size = on_the_wire(size or frame_size(frame), masked=False)
        self.carry_down(size, _FRAME_AT_DEVICE, data)
        if self._outbox is not None:
            self._check_outbox()

    def committed(self, frame: Any) -> None:
        """A frame that the relay decided to send is committed: it goes out if the node still has the connection."""
        if self._at_node:
            self.send_down(frame)

    def _frame_at_device(self, data: Any) -> None:
        if self.over:
            self.reset_up("reset")
        else:
            self.device.frame_arrived(self, data)

    def _check_outbox(self) -> None:
        """R-12.4: a peer that takes less than it is sent is dropped once its outbox is full."""
        frames, size = self.waiting_at_node()
        limits = self.device.world.protocol.outbox
        if (frames > limits.max_frames or size > limits.max_bytes) and self._at_node and not self._closing_at_node:
            self.device.world.recorder.count("connections.slow_consumer")
            self.abort_down("slow_consumer")

    # --- reading, which a full outbox pauses (R-12.4) ------------------------------------------------

    def _is_read(self) -> bool:
        """Whether the node reads from this connection; else what arrives waits in its host."""
        if self._unread is not None:
            return False
        if not self._more_than_half_full():
            return True
        self._unread = []
        self.device.world.recorder.count("connections.reading_paused")
        self._await_room()
        return False

    def _more_than_half_full(self) -> bool:
        frames, size = self.waiting_at_node()
        limits = self.device.world.protocol.outbox
        return 2 * frames > limits.max_frames or 2 * size > limits.max_bytes

    def _await_room(self) -> None:
        """Look again when the outbox will have fallen to half; while a closed path holds it up, when that opens."""
        limits = self.device.world.protocol.outbox
        outbox = self._outbox
        at_us = 0 if outbox is None else outbox.falls_to_us(limits.max_frames // 2, limits.max_bytes // 2)
        if at_us is not None:
            self.kernel.timer_at(max(at_us, self.kernel.now), self._read_on)

    def _read_on(self) -> None:
        unread = self._unread
        if unread is None:
            return
        if self._more_than_half_full():
            # More was sent meanwhile.
            self._await_room()
            return
        self._unread = None
        for then, argument in unread:
            if self._at_node:
                then(argument)

    def released(self, now: int) -> None:
        """The path has opened: what was held leaves, and makes room in the outbox."""
        super().released(now)
        if self._unread is not None:
            self._await_room()

    # --- ends, begun by the relay --------------------------------------------------------------------

    def close_down(self, code: int, reason: str) -> None:
        """The relay closes with a handshake; it waits for the answer, but not for ever."""
        self._closing_at_node = True
        self.down(on_the_wire(2 + len(reason), masked=False), self._close_arrived, code)
        self.kernel.timer_at(self.kernel.now + CLOSE_TIMEOUT_US, self._close_timed_out, self.epoch)

    def _close_arrived(self, code: int) -> None:
        """The relay's Close frame, or its answer to ours: our answer goes out, and the client is told."""
        self.up(on_the_wire(2, masked=True), self.gone, "closed")
        self.over = True
        self.device.socket_closed(self, code)

    def _close_timed_out(self, epoch: int) -> None:
        if self.node is not None and self.node.epoch == epoch:
            self.gone("close_timeout")

    def abort_down(self, cause: str) -> None:
        """The relay drops the connection: RST, which the device sees as 1006 if it arrives."""
        self.gone(cause)
        self.reset_down("aborted")

    # --- ends, begun by the client -------------------------------------------------------------------

    def close_up(self, code: int) -> None:
        """The client closes with a handshake."""
        self.up(on_the_wire(2, masked=True), self._client_closes, code)

    def _client_closes(self, code: int) -> None:
        if self._unread is not None and not self._closing_at_node:
            self._unread.append((self._client_closes, code))
            return
        if self._closing_at_node:
            # Both sides' Close frames crossed: each is the other's answer.
            self.gone("closed")
            return
        self.gone("client_closed")
        self.down(on_the_wire(2, masked=False), self._answer_arrived, code)

    def _answer_arrived(self, code: int) -> None:
        self.over = True
        self.device.socket_closed(self, code)

    def abandon(self) -> None:
        """The client drops the socket, or the attempt to open one: RST towards the node."""
        if not self.over:
            self.over = True
            self.reset_up("client_aborted")
            self.tcp.close()

    # --- ends, of the transport ----------------------------------------------------------------------

    def gone(self, cause: str) -> None:
        """The transport is gone at the node: the relay is told, once."""
        node = self.node
        if self._at_node and node is not None and node.epoch == self.epoch:
            self._at_node = False
            self._unread = None
            path = self.tcp.path
            if path.blocked:
                self.device.world.recorder.observe("half_open_s", self.kernel.now - path.changed_us, path.changed_us)
            node.disconnect(self, cause)
        self.release_node()

    def node_halted(self, silently: bool) -> None:
        """The node has died or stopped: what it knew of this connection is lost."""
        self._at_node = False
        self.core = None
        self._counted = False
        self._unread = None
        if not silently and not self._closing_at_node:
            self.reset_down("node_stopped")

    def failed(self, cause: str) -> None:
        """RST or a refused SYN at the device's host."""
        if not self.over:
            self.over = True
            self.tcp.close()
            if self.upgraded_us == NEVER:
                self.device.socket_failed(self, cause, None)
            else:
                self.device.socket_closed(self, 1006)


def _encoded(frame: Frame) -> tuple[str | bytes, int]:
    """A frame's bytes as the receiving core takes them, and how many they are."""
    if type(frame) is BinaryFrame:
        binary = codec.encode(frame)
        return binary, len(binary)
    raw = codec.encode_text(frame)
    return raw.decode(), len(raw)
