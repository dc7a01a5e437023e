"""A transport with a bounded outbox of our own: what the kernel does not take waits here, where it is counted (R-12.4).

The law of this file: bytes leave in order; what one turn of the event loop says to a peer leaves in one write;
reading pauses while much waits; an end either flushes (``_finish``) or does not (``_reset``).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from typing import Final

from zentalk_sim.protocol.config import OutboxConfig

CLOSING_TIMEOUT_S: Final = 2.0
"""Flushing and the closing handshake together take no longer."""
_WRITE_BYTES: Final = 65_536
_DEFAULTS: Final = OutboxConfig()


class Cork:
    """Holds back what is written during a turn of the event loop, and lets all of it go at the turn's end."""

    __slots__ = ("_loop", "_outlets", "is_open")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outlets: list[Outlet] = []
        self.is_open = False
        """Writes are being held back."""

    def open(self) -> None:
        """Hold writes back until the callbacks that are ready now have run."""
        if not self.is_open:
            self.is_open = True
            self._loop.call_soon(self.flush)

    def add(self, outlet: Outlet) -> None:
        """An outlet holds something back."""
        self._outlets.append(outlet)

    def flush(self) -> None:
        """Let go what is held back."""
        self.is_open = False
        outlets, self._outlets = self._outlets, []
        for outlet in outlets:
            outlet.uncork()


class Outlet:
    """Writing, and the pauses of reading; what is read and who is told is the subclass's.

    A protocol to asyncio by what it can do; no subclass of asyncio's, so that it can be compiled.
    """

    __slots__ = (
        "_blocked",
        "_cause",
        "_cork",
        "_corked",
        "_corked_bytes",
        "_deadline",
        "_finishing",
        "_lingering",
        "_loop",
        "_max_bytes",
        "_max_frames",
        "_most_corked_bytes",
        "_outbox",
        "_outbox_bytes",
        "_reading",
        "_silent",
        "_transport",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._bound_outbox(_DEFAULTS)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._cork: Cork | None = None
        """What holds writes back, where anything does."""
        self._corked: list[bytes] = []
        """What is held back. While anything is, more may be: whatever forbids it lets this go first, or forgets it."""
        self._corked_bytes = 0
        self._outbox: deque[bytes] | None = None
        """Made when it is first needed: most connections never do."""
        self._outbox_bytes = 0
        self._blocked = False
        """The kernel takes no more; what is sent waits in the outbox."""
        self._reading = True
        self._finishing = False
        """The transport is to be closed when the outbox is empty."""
        self._lingering = False
        """Only the sending side is closed, and what still comes in is thrown away."""
        self._silent = False
        """A rule let it fall silent: nothing is read or written, and the peer is told nothing."""
        self._cause = "lost"

    # --- for the subclass ----------------------------------------------------------------------------

    def _waiting_in(self) -> tuple[int, int]:
        """Messages and bytes that were read and wait."""
        return 0, 0

    def _waiting_out(self) -> tuple[int, int]:
        """Frames and bytes that wait before the outbox."""
        return 0, 0

    def _may_read(self) -> bool:
        """Whether nothing but a full outbox keeps it from reading."""
        return not self._silent

    def _go_on_reading(self) -> None:
        """Reading goes on after a pause."""

    def _overflowed(self) -> None:
        """More waits than may."""

    # --- writing -------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The kernel's buffer is full."""
        self._blocked = True

    def resume_writing(self) -> None:
        """The kernel takes bytes again."""
        self._blocked = False
        self._drain()

    def check_bounds(self) -> None:
        """Drop the connection where too much waits on its way out, and pause reading where much waits (R-12.4)."""
        frames, size = self.queued()
        if frames > self._max_frames or size > self._max_bytes:
            if not self._finishing:
                self._overflowed()
        elif self._reading and self._is_full(frames, size):
            self._pause()

    def regulate(self) -> None:
        """Look anew whether to read: not while much waits to go out or to reach the core."""
        if self._reading:
            if self._is_full(*self.queued()):
                self._pause()
        elif self._may_read() and not self._is_full(*self.queued()):
            self._reading = True
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
            self._go_on_reading()

    def queued(self) -> tuple[int, int]:
        """Frames and bytes that wait for the peer to read, beyond what the kernel has taken; those that a rule holds
        back among them."""
        kept = self._transport.get_write_buffer_size() if self._transport is not None else 0
        frames, size = self._waiting_out()
        waiting = 0 if self._outbox is None else len(self._outbox)
        return waiting + (1 if kept else 0) + frames, self._outbox_bytes + kept + size

    def _is_full(self, frames: int, size: int) -> bool:
        if 2 * frames > self._max_frames or 2 * size > self._max_bytes:
            return True
        frames, size = self._waiting_in()
        return 2 * frames > self._max_frames or 2 * size > self._max_bytes

    def _pause(self) -> None:
        self._reading = False
        if self._transport is not None:
            self._transport.pause_reading()

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._finishing or self._silent:
            return
        cork = self._cork
        if self._blocked or self._outbox:
            if self._outbox is None:
                self._outbox = deque()
            self._outbox.append(data)
            self._outbox_bytes += len(data)
        elif cork is not None and cork.is_open:
            if not self._corked:
                cork.add(self)
            self._corked.append(data)
            self._corked_bytes += len(data)
            if self._corked_bytes >= self._most_corked_bytes:
                self.uncork()
        else:
            self._transport.write(data)

    def _bound_outbox(self, outbox: OutboxConfig) -> None:
        self._max_bytes, self._max_frames = outbox.max_bytes, outbox.max_frames
        # So that a peer that has stopped reading is noticed long before its outbox is full.
        self._most_corked_bytes = min(_WRITE_BYTES, outbox.max_bytes // 4)

    def uncork(self) -> None:
        """Write what was held back."""
        held = self._corked
        if held:
            self._corked, self._corked_bytes = [], 0
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(held[0] if len(held) == 1 else b"".join(held))
                if self._blocked:
                    self.check_bounds()

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
        if not self._reading:
            self.regulate()
        if self._finishing and not self._outbox:
            # A transport of asyncio's that is closed from within its own write tells of the loss twice.
            self._loop.call_soon(self._end_writing)

    def _forget_outbox(self) -> None:
        self._corked, self._corked_bytes = [], 0
        self._outbox, self._outbox_bytes = None, 0

    # --- the end -------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Close the transport once what is queued has gone out, or when time is up."""
        self._finishing = True
        self._set_deadline()
        self.uncork()
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

    def _reset(self, cause: str) -> None:
        # What was said before has been said: only what waits for the peer to read is lost.
        self.uncork()
        self._cause = cause
        self._finishing = True
        transport = self._transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        # Not every kind of transport lets its socket be set; the end is then an ordinary one.
        with contextlib.suppress(OSError, AttributeError, TypeError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
