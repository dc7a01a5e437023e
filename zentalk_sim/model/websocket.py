"""A device's WebSocket: upgrade, frames either way, closing handshakes (RFC 6455 §7) and abrupt ends.

In fidelity ``frames`` frame objects travel by reference, and sizes are computed only where the link asks for them; in
``wire`` the same frames travel as bytes. Everything else is one code path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zentalk_sim.model.line import TLS_RECORD_BYTES, Line
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.frames import BinaryFrame, Frame
from zentalk_sim.protocol.upgrade import PATH, SUBPROTOCOL, UpgradeRequest

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device

HEADERS = {
    "host": "relay.zentalk.network",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-protocol": SUBPROTOCOL,
}
"""A native client's upgrade request: no Origin."""
UPGRADE_REQUEST_BYTES = 280
"""Request line and headers of an upgrade without its query's values."""
UPGRADE_RESPONSE_BYTES = 190
REFUSAL_BYTES = 300
_LARGEST_SMALL_FRAME_BYTES = 1_000
"""Outboxes are not measured while they would hold even frames of this size."""
CLOSE_TIMEOUT_US = 10_000_000
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
        "attempt",
        "auth_us",
        "close_code",
        "conn",
        "ended",
        "resumed",
        "upgraded_us",
    )

    def __init__(self, device: Device, attempt: int, query: dict[str, str]) -> None:
        super().__init__(device)
        self.attempt = attempt
        self.conn = device.world.next_number()
        self._query = query
        self._at_node = False
        """The relay core knows of the connection and has not been told of its end."""
        self._closing_at_node = False
        self.upgraded_us: int | None = None
        self.auth_us: int | None = None
        self.close_code: int | None = None
        self.resumed = False
        self.ended = False
        """Its row in the table of connections is written."""

    # --- the upgrade ---------------------------------------------------------------------------------

    def secured(self) -> None:
        size = UPGRADE_REQUEST_BYTES + TLS_RECORD_BYTES
        if self.device.needs_size:
            size += sum(map(len, self._query.values()))
        self.up(size, self._upgrade)

    def _upgrade(self) -> None:
        assert self.node is not None
        request = UpgradeRequest(PATH, self._query, HEADERS, self.device.ip)
        self._query = {}
        self.node.connect(self, request)

    def accepted(self) -> None:
        """The relay accepted: its 101 goes out."""
        self._at_node = True
        self.down(UPGRADE_RESPONSE_BYTES + TLS_RECORD_BYTES, self._opened)

    def _opened(self) -> None:
        self.upgraded_us = self.kernel.now
        self.device.socket_opened(self)

    def refused(self, status: int) -> None:
        """The relay refused: an HTTP error goes out, and the connection is over."""
        self.release_node()
        self.down(REFUSAL_BYTES + TLS_RECORD_BYTES, self._was_refused, status)

    def _was_refused(self, status: int) -> None:
        self.over = True
        self.device.socket_failed(self, f"http_{status}", status)

    # --- frames --------------------------------------------------------------------------------------

    def send_up(self, frame: Frame) -> None:
        """The client sends a frame."""
        if self.device.tracer is not None:
            self._trace("frame_up", frame)
        data: Any = frame
        size = 0
        if self.device.world.wire:
            data, size = _encoded(frame)
        if self.device.needs_size or self.holds:
            size = on_the_wire(size or codec.frame_size(frame), masked=True)
        self.up(size, self._frame_at_node, data)

    def _frame_at_node(self, data: Any) -> None:
        node = self.node
        assert node is not None
        if not self._at_node:
            self.unknown_at_node()
            return
        cost_us = node.costs.frame_us
        if self.auth_us is None and not self.authenticated_at_node:
            cost_us = node.costs.auth_us
            # what counts is when the answer reached the relay, not when a worker gets round to it.
            node.note_arrival(self)
        self._last_done_us = node.work(self.epoch, cost_us, self._last_done_us, self._handle, data)

    @property
    def authenticated_at_node(self) -> bool:
        """Whether the relay has this connection past its handshake."""
        relay = self.node.relay if self.node is not None else None
        found = relay.connections.get(self.conn) if relay is not None else None
        return found is not None and found.state == "ready"

    def _handle(self, data: Any) -> None:
        node = self.node
        if not self._at_node or node is None:
            return
        if isinstance(data, Frame):
            node.receive_frame(self, data)
        else:
            node.receive_data(self, data)

    def _trace(self, kind: str, frame: Frame) -> None:
        tracer = self.device.tracer
        if tracer is not None:
            tracer.event(self.kernel.now, kind, self.conn, self.device.member.device_id, type=frame.type, id=frame.id)

    def send_down(self, frame: Frame) -> None:
        """The relay sends a frame."""
        if self.device.tracer is not None:
            self._trace("frame_down", frame)
        data: Any = frame
        size = 0
        if self.device.world.wire:
            data, size = _encoded(frame)
        if self.device.needs_size or self.holds:
            size = on_the_wire(size or codec.frame_size(frame), masked=False)
        self.down(size, self.device.frame_arrived, self, data)
        if self._held is not None:
            self._check_outbox()

    def _check_outbox(self) -> None:
        """R-12.4: a peer that takes nothing is dropped once its outbox is full.

        What waits here is what a blocked path holds; a link's bandwidth has its own queue.
        """
        assert self._held is not None
        limits = self.device.world.protocol.outbox
        waiting = self._held["down"]
        if not waiting or not self._at_node or self._closing_at_node:
            return
        size = 0
        if len(waiting) <= limits.max_frames:
            if len(waiting) * _LARGEST_SMALL_FRAME_BYTES <= limits.max_bytes:
                return
            frames = [item[1][1] for item in waiting if len(item[1]) == 2]
            size = sum(codec.frame_size(f) if isinstance(f, Frame) else len(f) for f in frames)
        if len(waiting) > limits.max_frames or size > limits.max_bytes:
            self.device.world.recorder.count("connections.slow_consumer")
            self.abort_down("slow_consumer")

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
            path = self.tcp.path
            if path.blocked and path.changed_us is not None:
                self.device.world.recorder.observe("half_open_s", self.kernel.now - path.changed_us, path.changed_us)
            node.disconnect(self, cause)
        self.release_node()

    def node_halted(self, silently: bool) -> None:
        """The node has died or stopped: what it knew of this connection is lost."""
        self._at_node = False
        self._counted = False
        if not silently and not self._closing_at_node:
            self.reset_down("node_stopped")

    def failed(self, cause: str) -> None:
        """RST or a refused SYN at the device's host."""
        if not self.over:
            self.over = True
            self.tcp.close()
            if self.upgraded_us is None:
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
