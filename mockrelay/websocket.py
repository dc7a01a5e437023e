"""One WebSocket connection: bytes in, messages to the driver; messages out through a bounded outbox.

``websockets``' sans-IO ``ServerProtocol`` parses the request, a ``FrameReader`` the frames; this class owns the
transport and every byte that goes out. Messages pass its ``Gate``, in and out, where the journal sees them and fault
rules strike; ``transmit`` is the one place through which the bytes of an outgoing frame go. The request's path says
which space the connection belongs to.
Sources: RFC 6455; R-3.1 (refusals), R-1.6 (1009), R-8.1 (control pings), R-12.4 (outbox).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from websockets.exceptions import PayloadTooBig
from websockets.frames import Opcode

from mockrelay.frame_reader import Received
from mockrelay.handshake import MAX_HEAD_BYTES, Find, Handshake
from mockrelay.lobby import Lobby
from mockrelay.wire import TEXT_HEADS, close_payload, frame_bytes, frame_head
from zentalk_sim.protocol.errors import CloseCode

_CLOSE: Final = 0x8
_TEXT: Final = 0x1
_HEADS: Final = len(TEXT_HEADS)
_HEAD_BYTES: Final = 4
"""What nearly all heads have."""
SILENCE_S: Final = 3600.0
"""How long a socket that a rule made silent is kept at most."""


class Connection(Handshake):
    """A connection from TCP's (or TLS's) opening to its end; a Sink of the driver."""

    __slots__ = ("_began", "_closing", "_ended", "_failed", "_inbox", "_message", "_message_is_text", "_was_closed")

    def __init__(
        self,
        find: Find,
        began: Callable[[Connection], None],
        ended: Callable[[Connection], None],
        lobby: Lobby | None = None,
    ) -> None:
        """``began`` and ``ended`` are told when the transport is there and when it is gone."""
        super().__init__(find, Lobby() if lobby is None else lobby)
        self._began = began
        self._ended = ended
        self._inbox: deque[bytes | Received] | None = None
        """Frames that were read and wait; made when it is first needed."""
        self._message: bytearray | None = None
        self._message_is_text = False
        self._failed = False
        """The parser reads no further."""
        self._closing = False
        """A close frame is on its way: nothing may follow it."""
        self._was_closed = False
        """A close frame was sent or received."""

    # --- asyncio.Protocol ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there: the request must come in time."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        self._began(self)
        # Whatever the kernel does not take at once waits in our own outbox, where it is counted.
        transport.set_write_buffer_limits(high=1, low=0)
        self._deadline = self._loop.call_later(self._lobby.timeout_s, self._handshake_timed_out)
        self._lobby.enter(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._finishing or self._silent:
            return
        if not self._asked:
            self._receive_head(data)
        elif self._opened and not self._early:
            self._driver.cork.open()
            self._receive(data)
        else:
            self._early += data
            if len(self._early) > MAX_HEAD_BYTES and self._reading:
                self._pause()

    def eof_received(self) -> bool:
        """The peer sends no more: without a close frame that is a loss."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; an RST is another cause than an end without a close frame."""
        self._transport = None
        if isinstance(exc, ConnectionError) and self._cause == "lost":
            self._cause = "reset"
        self._lobby.leave(self)
        self._cancel_deadline()
        self._forget_outbox()
        self._inbox = None
        if self._asked and self._has_gate():
            self._gate.lost(self._cause, self._was_closed)
        self._ended(self)

    # --- the driver's sink ---------------------------------------------------------------------------

    def accept(self) -> None:
        """See Sink: 101 with the sub-protocol and no extensions."""
        if self._transport is None:
            # The peer has left while its upgrade was being committed.
            self._loop.call_soon(self._driver.disconnect, self._conn, "lost")
            return
        self._cancel_deadline()
        self.conn = self._conn
        self._switch_protocols()
        self._gate.opened()
        if self._early:
            self._loop.call_soon(self._take_early)

    def _take_early(self) -> None:
        early, self._early = bytes(self._early), bytearray()
        if self._transport is not None and not self._finishing and not self._silent:
            self._receive(early)
            self.regulate()

    def send(self, payload: bytes, binary: bool) -> None:
        """See Sink."""
        if self._closing or (not self._corked and (self._finishing or self._transport is None)):
            return
        self._gate.frame_out(payload, binary)

    def close(self, code: int, reason: str) -> None:
        """See Sink."""
        if self._closing:
            return
        self._closing = True
        self._cause = "closed"
        if self._silent:
            self._let_go("closed")
            return
        if not self._was_closed and self._transport is not None:
            self._was_closed = True
            self._gate.closing("out", code, reason)
        self._gate.pass_out(Opcode.CLOSE, close_payload(code, reason))

    def abort(self, cause: str) -> None:
        """See Sink: reset, so that the peer cannot take it for an orderly end."""
        if self._silent and cause != "stopped":
            self._let_go(cause)
        else:
            self._reset(cause)

    # --- silence -------------------------------------------------------------------------------------

    def blackhole(self) -> None:
        """Half-open silence from now on: nothing is read or written, and neither side is told."""
        self._gate.blackhole()

    def fall_silent(self) -> None:
        """See ``gate.Socket``."""
        self.uncork()
        self._silent = True
        self._faults.held[self._gate] = None
        self._forget_outbox()
        self._inbox = None
        self._cancel_deadline()
        self._pause()
        if self._transport is not None:
            self._deadline = self._loop.call_later(SILENCE_S, self._give_up)

    def _let_go(self, cause: str) -> None:
        """The core has given a silent connection up. What still comes is thrown away, so that its end is seen."""
        self._loop.call_soon(self.tell_core, cause)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- frames in -----------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        frames = self._reader.feed(data)
        if self._inbox is None and self._reading:
            gate, rest = self._gate, iter(frames)
            for frame in rest:
                if isinstance(frame, bytes):
                    if self.conn is not None:
                        gate.frame_in(frame, False)
                else:
                    self._take(frame)
                if not self._reading or self._finishing:
                    self._keep(list(rest))
                    break
        else:
            self._keep(frames)
        if self._reader.error is not None:
            self._take_inbox()

    def _keep(self, frames: list[bytes | Received]) -> None:
        """Frames that came while nothing was to be read wait for their turn."""
        if frames and not self._silent:
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.extend(frames)

    def _take_inbox(self) -> None:
        while self._inbox and self._reading and not self._finishing:
            frame = self._inbox.popleft()
            if isinstance(frame, bytes):
                self._message_in(frame, True)
            else:
                self._take(frame)
        if self._inbox:
            return
        self._inbox = None
        error = self._reader.error
        if error is not None and not self._finishing and not self._failed:
            self._failed = True
            self._gate.end_in()
            self._gate.pass_in(partial(self._fail, error))

    def _take(self, frame: Received) -> None:
        """A frame that is no whole text."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._message_in(frame.data, opcode is Opcode.TEXT)
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
            self._gate.pass_in(partial(self._answer_ping, frame.data))
        elif opcode is Opcode.CLOSE:
            if not self._was_closed:
                self._was_closed = True
                self._gate.peer_closing(frame.data)
            self._gate.end_in()
            self._gate.pass_in(partial(self._peer_closed, frame.data))

    def _message_in(self, data: bytes, is_text: bool) -> None:
        if self.conn is not None:
            self._gate.frame_in(data, not is_text)

    def _answer_ping(self, data: bytes) -> None:
        if not self._closing and not self._finishing:
            self._gate.pass_out(Opcode.PONG, data)

    def _peer_closed(self, payload: bytes) -> None:
        """The peer's close frame: echoed if it came first, then TCP is closed (RFC 6455 §5.5.1, §7.1.1)."""
        self._cause = "closed"
        slow_us = self._gate.slow_us
        if slow_us is None:
            self._answer_close(payload)
        else:
            self._cancel_deadline()
            self._faults.timers.call_at(self._faults.now_us + slow_us, partial(self._answer_close, payload))
        self.tell_core("closed")

    def _answer_close(self, payload: bytes) -> None:
        if self._transport is None or self._silent:
            return
        if not self._closing:
            self._closing = True
            self._gate.pass_out(Opcode.CLOSE, payload)
        self._gate.after_out(self._finish)

    def _fail(self, error: Exception) -> None:
        """The peer broke RFC 6455, or sent too large a message: the parser reads no further."""
        if self._finishing or self._silent:
            return
        if isinstance(error, PayloadTooBig):
            if self.conn is not None:
                self._driver.receive_oversized(self.conn)
            self._gate.after_out(self._linger)
            self.tell_core("oversized")
            return
        if isinstance(error, EOFError):
            return
        self._driver.count("connections.protocol_error")
        if isinstance(error, UnicodeDecodeError):
            self.close(CloseCode.INVALID_PAYLOAD, "not UTF-8")
        else:
            self.close(CloseCode.PROTOCOL_ERROR, str(error))
        self._cause = "protocol_error"
        self._gate.after_out(self._linger)
        self.tell_core("protocol_error")

    # --- see Outlet ----------------------------------------------------------------------------------

    def _waiting_in(self) -> tuple[int, int]:
        return self._gate.waiting_in() if self._opened else (0, 0)

    def _waiting_out(self) -> tuple[int, int]:
        return self._gate.waiting_out() if self._opened else (0, 0)

    def _may_read(self) -> bool:
        return not self._silent and not self._early

    def _go_on_reading(self) -> None:
        if self._opened:
            self._take_inbox()

    def _overflowed(self) -> None:
        self._driver.count("slow_consumer")
        self.abort("slow_consumer")

    # --- frames out ----------------------------------------------------------------------------------

    def transmit(self, opcode: int, payload: bytes) -> None:
        """The one place through which every outgoing frame passes."""
        held = self._corked
        if held and opcode != _CLOSE:
            # Nearly all frames: another one behind those held back, and not copied.
            size = len(payload)
            held.append(TEXT_HEADS[size] if opcode == _TEXT and size < _HEADS else frame_head(opcode, size))
            held.append(payload)
            waiting = self._corked_bytes = self._corked_bytes + _HEAD_BYTES + size
            if waiting >= self._most_corked_bytes:
                self.uncork()
        elif self._transport is not None and not self._finishing and not self._silent:
            self._write(frame_bytes(opcode, payload))
            if opcode == _CLOSE:
                self._set_deadline()
            if self._blocked or self._outbox or self._gate.lane_out is not None:
                self.check_bounds()

    def trickle(self, data: bytes) -> None:
        """A part of an outgoing frame's bytes, where a rule narrows the bandwidth; the parts follow each other."""
        self._write(data)
        if self._blocked or self._outbox:
            self.check_bounds()

    def tell_core(self, cause: str) -> None:
        """The connection is gone, whoever ended it; the core is told once."""
        conn, self.conn = self.conn, None
        if conn is not None:
            self._driver.disconnect(conn, cause)


__all__ = ["SILENCE_S", "Connection"]
