"""One WebSocket connection: bytes in, messages to the driver; messages out through a bounded outbox.

``websockets``' sans-IO ``ServerProtocol`` parses the request and the frames; this class owns the transport and
every byte that goes out. ``_transmit`` is the one place through which the bytes of an outgoing frame pass.
Sources: RFC 6455; R-3.1 (refusals), R-1.6 (1009), R-8.1 (control pings), R-12.4 (outbox).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from mockrelay.driver import Driver
from mockrelay.wire import close_payload, frame_bytes, http_response
from zentalk_sim.protocol.effects import Refuse
from zentalk_sim.protocol.errors import INVALID_MESSAGE, SERVICE_UNAVAILABLE, CloseCode
from zentalk_sim.protocol.upgrade import PATH, SUBPROTOCOL, UpgradeRequest, parse_target

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""A peer that has not sent its whole request by then is dropped."""
CLOSING_TIMEOUT_S: Final = 2.0
"""Flushing and the closing handshake together take no longer."""
MAX_HEAD_BYTES: Final = 65_536
_WRITE_BYTES: Final = 65_536

# Its debug log would show request targets, and with them tokens.
_library_log = logging.getLogger("mockrelay.websockets")
_library_log.setLevel(logging.WARNING)


class Connection(asyncio.Protocol):
    """A connection from TCP's (or TLS's) opening to its end; a Sink of the driver."""

    def __init__(
        self, driver: Driver, began: Callable[[Connection], None], ended: Callable[[Connection], None]
    ) -> None:
        """``began`` and ``ended`` are told when the transport is there and when it is gone."""
        self._driver = driver
        self._began = began
        self._ended = ended
        self._loop = driver.loop
        config = driver.relay.config
        self._max_bytes = config.outbox.max_bytes
        self._max_frames = config.outbox.max_frames
        self._parser = ServerProtocol(max_size=config.frames.max_bytes, logger=_library_log)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._head = bytearray()
        self._key = ""
        self._opened = False
        self.conn: int | None = None
        """The driver's id, once the upgrade was accepted and until the core was told of the end."""
        self._inbox: deque[Frame] = deque()
        self._message: bytearray | None = None
        self._message_is_text = False
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._blocked = False
        """The kernel takes no more; what is sent waits in the outbox."""
        self._reading = True
        self._closing = False
        """A close frame is in the outbox or sent: nothing may follow it."""
        self._finishing = False
        """The transport is to be closed when the outbox is empty."""
        self._lingering = False
        """Only the sending side is closed, and what still comes in is thrown away."""
        self._cause = "lost"

    # --- asyncio.Protocol ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there: the request must come in time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._began(self)
        # Whatever the kernel does not take at once waits in our own outbox, where it is counted.
        transport.set_write_buffer_limits(high=1, low=0)
        self._deadline = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self._handshake_timed_out)

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._finishing:
            return
        if self._opened:
            self._receive(data)
        else:
            self._receive_head(data)

    def eof_received(self) -> bool:
        """The peer sends no more: without a close frame that is a loss."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._transport = None
        self._cancel_deadline()
        self._outbox.clear()
        self._inbox.clear()
        self._tell_core(self._cause)
        self._ended(self)

    def pause_writing(self) -> None:
        """The kernel's buffer is full."""
        self._blocked = True

    def resume_writing(self) -> None:
        """The kernel takes bytes again."""
        self._blocked = False
        self._drain()

    # --- the opening handshake -----------------------------------------------------------------------

    def _receive_head(self, data: bytes) -> None:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_HEAD_BYTES:
                self._answer(431, INVALID_MESSAGE, f"the request's headers exceed {MAX_HEAD_BYTES} bytes")
            return
        # Only the head goes in: the parser would take frames sent along with it as if the upgrade had been answered.
        head, rest = bytes(self._head[: end + 4]), bytes(self._head[end + 4 :])
        self._head.clear()
        self._parser.receive_data(head)
        self._parser.data_to_send()
        events = self._parser.events_received()
        request = events[0] if events else None
        if not isinstance(request, Request):
            self._answer_unreadable()
            return
        self._upgrade(request)
        if rest and self._opened and not self._finishing:
            self._receive(rest)

    def _answer_unreadable(self) -> None:
        # By name, since older releases of the library tell a bad request from a long one by no class of its own.
        error = type(self._parser.handshake_exc).__name__
        if error == "RequestLineTooLong":
            self._answer(414, INVALID_MESSAGE, "the request line is too long")
        elif error in ("HeaderLineTooLong", "TooManyHeaders"):
            self._answer(431, INVALID_MESSAGE, "the request's headers are too long or too many")
        else:
            self._answer(400, INVALID_MESSAGE, "not an HTTP/1.1 upgrade request")

    def _upgrade(self, request: Request) -> None:
        headers: dict[str, str] = {}
        for name, value in request.headers.raw_items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path, query = parse_target(request.path)
        if path == PATH and not self._is_upgrade(request, headers):
            return
        self._key = headers.get("sec-websocket-key", "").strip()
        assert self._transport is not None
        peer = self._transport.get_extra_info("peername")
        ip = peer[0] if isinstance(peer, tuple) else ""
        conn = self._driver.connect(self, UpgradeRequest(path, query, headers, ip))
        if self._opened:
            self.conn = conn

    def _is_upgrade(self, request: Request, headers: dict[str, str]) -> bool:
        """Whether this is an upgrade at all (RFC 6455 §4.2.1); answers it where it is not."""
        if request.method != "GET":
            self._answer(405, INVALID_MESSAGE, f"{request.method[:20]} is not allowed here", {"Allow": "GET"})
            return False
        options = [option.strip().lower() for option in headers.get("connection", "").split(",")]
        protocols = [protocol.strip().lower() for protocol in headers.get("upgrade", "").split(",")]
        if request.protocol != "HTTP/1.1" or "upgrade" not in options or "websocket" not in protocols:
            message = f"{PATH} is a WebSocket endpoint: connect with a WebSocket client"
            self._answer(426, INVALID_MESSAGE, message, {"Upgrade": "websocket", "Connection": "Upgrade, close"})
            return False
        return True

    def stop(self) -> None:
        """The relay stops: a request that is not whole yet gets 503; the core closes the others."""
        if not self._opened and not self._finishing:
            self._answer(503, SERVICE_UNAVAILABLE, "the relay is stopping", {"Retry-After": "5"})

    def _handshake_timed_out(self) -> None:
        self._driver.count("upgrades.timeout")
        self._answer(408, INVALID_MESSAGE, f"no upgrade request within {HANDSHAKE_TIMEOUT_S:g} s")

    def _answer(self, status: int, error_code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """Answer the request with an error, then end."""
        body: dict[str, object] = {"error_code": error_code, "message": message}
        self._write(http_response(status, body, headers or {}))
        self._linger()

    # --- the driver's sink ---------------------------------------------------------------------------

    def accept(self) -> None:
        """See Sink: 101 with the sub-protocol and no extensions."""
        self._cancel_deadline()
        lines = (
            "HTTP/1.1 101 Switching Protocols",
            f"Date: {formatdate(usegmt=True)}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(self._key)}",
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        )
        self._parser.state = OPEN
        self._opened = True
        self._write("\r\n".join(lines).encode() + b"\r\n\r\n")

    def refuse(self, refusal: Refuse) -> None:
        """See Sink."""
        headers = {}
        if refusal.retry_after_s is not None:
            headers["Retry-After"] = str(refusal.retry_after_s)
        if refusal.status == 400:
            headers["Sec-WebSocket-Version"] = "13"
        self._answer(refusal.status, refusal.error_code, refusal.message, headers)

    def send(self, payload: bytes, binary: bool) -> None:
        """See Sink."""
        self._transmit(Opcode.BINARY if binary else Opcode.TEXT, payload)

    def close(self, code: int, reason: str) -> None:
        """See Sink."""
        if self._closing:
            return
        self._transmit(Opcode.CLOSE, close_payload(code, reason))
        self._closing = True
        self._cause = "closed"
        self._set_deadline()

    def abort(self, cause: str) -> None:
        """See Sink."""
        self._cause = cause
        self._finishing = True
        if self._transport is not None:
            self._transport.abort()

    # --- frames in -----------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        self._parser.receive_data(data)
        # What the library would answer is answered here, so that every byte out passes one place.
        self._parser.data_to_send()
        self._inbox.extend(event for event in self._parser.events_received() if isinstance(event, Frame))
        self._take_inbox()

    def _take_inbox(self) -> None:
        while self._inbox and self._reading and not self._finishing:
            self._take(self._inbox.popleft())
        if not self._inbox and self._parser.parser_exc is not None and not self._finishing:
            self._fail(self._parser.parser_exc)

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._message_in(bytes(frame.data), opcode is Opcode.TEXT)
            else:
                self._message = bytearray(frame.data)
                self._message_is_text = opcode is Opcode.TEXT
        elif opcode is Opcode.CONT:
            assert self._message is not None, "the parser let a stray continuation through"
            self._message += frame.data
            if frame.fin:
                message, self._message = bytes(self._message), None
                self._message_in(message, self._message_is_text)
        elif opcode is Opcode.PING:
            self._transmit(Opcode.PONG, bytes(frame.data))
        elif opcode is Opcode.CLOSE:
            self._peer_closed(bytes(frame.data))

    def _message_in(self, data: bytes, is_text: bool) -> None:
        if self.conn is None:
            return
        if is_text:
            self._driver.receive_text(self.conn, data)
        else:
            self._driver.receive_binary(self.conn, data)

    def _peer_closed(self, payload: bytes) -> None:
        """The peer's close frame: echoed if it came first, then TCP is closed (RFC 6455 §5.5.1, §7.1.1)."""
        if not self._closing:
            self._transmit(Opcode.CLOSE, payload)
            self._closing = True
        self._cause = "closed"
        self._finish()
        self._tell_core("closed")

    def _fail(self, error: Exception) -> None:
        """The peer broke RFC 6455, or sent too large a message: the parser reads no further."""
        if isinstance(error, PayloadTooBig):
            if self.conn is not None:
                self._driver.receive_oversized(self.conn)
            self._linger()
            self._tell_core("oversized")
            return
        if isinstance(error, EOFError):
            return
        code = CloseCode.INVALID_PAYLOAD if isinstance(error, UnicodeDecodeError) else CloseCode.PROTOCOL_ERROR
        self._driver.count("connections.protocol_error")
        self.close(code, str(error))
        self._cause = "protocol_error"
        self._linger()
        self._tell_core("protocol_error")

    # --- frames out ----------------------------------------------------------------------------------

    def _transmit(self, opcode: int, payload: bytes) -> None:
        """The one place through which every outgoing frame passes."""
        if self._transport is None or self._closing or self._finishing:
            return
        self._write(frame_bytes(opcode, payload))
        frames, size = self.queued()
        if frames > self._max_frames or size > self._max_bytes:
            self._driver.count("slow_consumer")
            self.abort("slow_consumer")
        elif self._reading and self._is_half_full(frames, size):
            self._reading = False
            self._transport.pause_reading()

    def queued(self) -> tuple[int, int]:
        """Frames and bytes that wait for the peer to read, beyond what the kernel has taken."""
        kept = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return len(self._outbox) + (1 if kept else 0), self._outbox_bytes + kept

    def _is_half_full(self, frames: int, size: int) -> bool:
        return 2 * frames > self._max_frames or 2 * size > self._max_bytes

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._finishing:
            return
        if self._blocked or self._outbox:
            self._outbox.append(data)
            self._outbox_bytes += len(data)
        else:
            self._transport.write(data)

    def _drain(self) -> None:
        transport = self._transport
        while self._outbox and not self._blocked and transport is not None:
            batch = [self._outbox.popleft()]
            size = len(batch[0])
            while self._outbox and size + len(self._outbox[0]) <= _WRITE_BYTES:
                batch.append(self._outbox.popleft())
                size += len(batch[-1])
            self._outbox_bytes -= size
            transport.write(b"".join(batch))
        if transport is None:
            return
        if not self._reading and not self._is_half_full(*self.queued()):
            self._reading = True
            if not transport.is_closing():
                transport.resume_reading()
            self._take_inbox()
        if self._finishing and not self._outbox:
            self._end_writing()

    # --- the end -------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Close the transport once what is queued has gone out, or when time is up."""
        self._finishing = True
        self._set_deadline()
        if not self._outbox:
            self._end_writing()

    def _linger(self) -> None:
        """As ``_finish``, but read on until the peer is done too.

        Closing a socket while bytes are on their way to it makes the kernel reset it, and the peer might never
        see why it was closed (RFC 9112 §9.6).
        """
        self._lingering = True
        self._finish()

    def _end_writing(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._lingering and transport.can_write_eof():
            if not self._reading:
                self._reading = True
                transport.resume_reading()
            transport.write_eof()
        elif not self._lingering:
            transport.close()

    def _set_deadline(self) -> None:
        self._cancel_deadline()
        if self._transport is not None:
            self._deadline = self._loop.call_later(CLOSING_TIMEOUT_S, self._give_up)

    def _give_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _tell_core(self, cause: str) -> None:
        conn, self.conn = self.conn, None
        if conn is not None:
            self._driver.disconnect(conn, cause)
