"""Frames out of a client's bytes (RFC 6455 §5.2): whole unfragmented ones are read here, all else by ``websockets``.

The law of this file: nothing is judged here. A frame that is plainly good (FIN, no reserved bits, text, binary, ping
or pong, masked, within the bound) is unmasked and handed on, a whole text as nothing but its bytes, since nearly all
are that; at the first that is not, the library's sans-IO parser takes this connection over for good, so that
fragments, closes and every violation have one judge.
"""

from __future__ import annotations

import logging
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from mockrelay.received import Received as Received

try:
    from websockets.speedups import apply_mask
except ImportError:  # where no wheel was there for this machine
    from websockets.utils import apply_mask

# Its debug log would show request targets, and with them tokens.
library_log: Final = logging.getLogger("mockrelay.websockets")
library_log.setLevel(logging.WARNING)

# Compiled code looks a name of a module that is not compiled up at each use, unless it stands in a Final.
_unmasked: Final = apply_mask
_TEXT: Final = 0x81
_BINARY: Final = 0x82
_PING: Final = 0x89
_PONG: Final = 0x8A
_PLAIN: Final = {_TEXT: Opcode.TEXT, _BINARY: Opcode.BINARY, _PING: Opcode.PING, _PONG: Opcode.PONG}
"""First bytes of the frames that are read here: FIN is set, no reserved bit is."""
_MASKED: Final = 0x80
_MAX_CONTROL_BYTES: Final = 125
_NO_STATUS: Final = 1005
"""What the library makes of a close frame without a code (RFC 6455 §7.1.5)."""
_SHORTEST: Final = 6
"""Two bytes of header and the mask."""
_MEDIUM: Final = _MASKED | 126
"""The length stands in the next two bytes, before the mask."""


class FrameReader:
    """The reading side of one connection, from behind its handshake."""

    __slots__ = ("_max_bytes", "_needed", "_parser", "_rest")

    def __init__(self, max_bytes: int) -> None:
        """``max_bytes`` bounds a message, its fragments together."""
        self._max_bytes = max_bytes
        self._rest: bytearray | None = None
        """The beginning of a frame that is not whole yet."""
        self._needed = 0
        """How many bytes ``_rest`` must have before it is worth a look."""
        self._parser: ServerProtocol | None = None

    @property
    def error(self) -> Exception | None:
        """Why nothing is read any further; None also behind a close frame."""
        parser = self._parser
        return None if parser is None or parser.close_rcvd is not None else parser.parser_exc

    def feed(self, data: bytes) -> list[bytes | Received]:
        """The frames that are whole with these bytes, in order; a whole text as its bytes."""
        if self._parser is not None:
            return self._parsed(self._parser, data)
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data, self._rest, self._needed = bytes(self._rest), None, 0
        found: list[bytes | Received] = []
        max_bytes = self._max_bytes
        at, size = 0, len(data)
        while at + 8 <= size and data[at] == _TEXT and data[at + 1] == _MEDIUM:
            # Nearly all frames: a whole text of 126 bytes or more, and below 64 KiB.
            begin = at + 8
            end = begin + ((data[at + 2] << 8) | data[at + 3])
            if end > size or end - begin > max_bytes:
                break
            found.append(_unmasked(data[begin:end], data[at + 4 : begin]))
            at = end
        while at + 2 <= size:
            first, count = data[at], data[at + 1] - _MASKED
            if count < 0 or (first != _TEXT and first not in _PLAIN):
                return found + self._hand_over(data[at:])
            begin = at + _SHORTEST
            if count > _MAX_CONTROL_BYTES:
                if first >= _PING:
                    return found + self._hand_over(data[at:])
                begin += 2 if count == 126 else 8
                if size < begin - 4:
                    break
                if count == 126:
                    count = (data[at + 2] << 8) | data[at + 3]
                else:
                    count = int.from_bytes(data[at + 2 : at + 10], "big")
                if count > max_bytes:
                    return found + self._hand_over(data[at:])
            end = begin + count
            if size < end:
                self._needed = end - at
                break
            payload = _unmasked(data[begin:end], data[begin - 4 : begin])
            found.append(payload if first == _TEXT else Received(_PLAIN[first], payload))
            at = end
        if at < size:
            self._rest = bytearray(data[at:])
        return found

    def _hand_over(self, data: bytes) -> list[bytes | Received]:
        self._parser = ServerProtocol(state=OPEN, max_size=self._max_bytes, logger=library_log)
        return self._parsed(self._parser, data)

    @staticmethod
    def _parsed(parser: ServerProtocol, received: bytes) -> list[bytes | Received]:
        was_closed = parser.close_rcvd is not None
        parser.receive_data(received)
        # What the library would answer is answered by the connection, so that every byte out passes one place.
        parser.data_to_send()
        frames = [event for event in parser.events_received() if isinstance(event, Frame)]
        found: list[bytes | Received] = []
        for frame in frames:
            data = bytes(frame.data)
            is_text = frame.fin and frame.opcode is Opcode.TEXT
            found.append(data if is_text else Received(frame.opcode, data, frame.fin))
        if isinstance(parser.parser_exc, ProtocolError) and parser.close_rcvd is not None and not was_closed:
            # The library takes a close between two fragments for an error. It is none: control frames may come there
            # (RFC 6455 §5.4), and a close says that the rest of the message never will.
            code = parser.close_rcvd.code
            found.append(Received(Opcode.CLOSE, b"" if code == _NO_STATUS else parser.close_rcvd.serialize()))
        return found
