"""One WebSocket in memory: to the relay a transport like any other, to a bot frames in and frames out.

A bot's connection takes every step of an app's (upgrade, RFC 6455 frames, journal, fault rules) but the kernel's, so
that it needs no port, no certificate and no admitted name, and lives by its space's clock. What the relay writes is
read in the loop's next turn or, while the clock is being advanced, before the clock goes on, whichever comes first.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from mockrelay.websocket import Connection
from zentalk_sim.protocol.config import FrameConfig
from zentalk_sim.protocol.upgrade import PATH, SUBPROTOCOL

if TYPE_CHECKING:
    from mockrelay.space import Space

_ABNORMAL: Final = 1006
# Its debug log would show request targets, and with them tokens.
_library_log = logging.getLogger("mockrelay.websockets")


class LineOwner(Protocol):
    """Whom a line reports to; of one that was dropped nothing is reported."""

    def line_opened(self) -> None:
        """The upgrade was answered with 101."""
        ...

    def line_refused(self, status: int | None) -> None:
        """The upgrade was refused with this HTTP status, or never answered."""
        ...

    def line_data(self, data: str | bytes) -> None:
        """A message came."""
        ...

    def line_closed(self, code: int) -> None:
        """The line is gone."""
        ...


class Line(asyncio.Transport):
    """A connection, from its upgrade request on."""

    def __init__(self, owner: LineOwner, space: Space, query: str, ip: str) -> None:
        """``ip`` is what the relay takes for the peer's address."""
        super().__init__()
        self._owner: LineOwner | None = owner
        self._space = space
        self._ip = ip
        self._loop = asyncio.get_running_loop()
        hosts = space.config.upgrade.hosts
        uri = parse_uri(f"ws://{hosts[0] if hosts else 'localhost'}{PATH}?{query}")
        self._client = ClientProtocol(
            uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=FrameConfig().max_bytes, logger=_library_log
        )
        self._relay = Connection(lambda path: (space, path), _pass, _pass)
        self._from_relay = bytearray()
        self._to_relay = bytearray()
        self._reading = True
        self._ending = self._ended = self._woken = self._is_open = False

    # --- the bot's side ------------------------------------------------------------------------------

    def open(self) -> None:
        """Ask for the upgrade."""
        self._relay.connection_made(self)
        self._client.send_request(self._client.connect())
        self._flush()

    def send(self, data: bytes) -> None:
        """Send a message: text, unless ``data`` is given to ``send_binary``."""
        if self._client.state is OPEN:
            self._client.send_text(data)
            self._flush()

    def send_binary(self, data: bytes) -> None:
        """Send a binary message."""
        if self._client.state is OPEN:
            self._client.send_binary(data)
            self._flush()

    def hang_up(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        if self._client.state is OPEN:
            self._client.send_close(code, reason)
            self._flush()

    def drop(self) -> None:
        """Cut the line without a closing handshake; nothing of it is reported any more."""
        self._owner = None
        self._end()

    def _flush(self) -> None:
        for data in self._client.data_to_send():
            if data:
                self._to_relay += data
            else:
                self._ending = True
                self._wake()
        self._hand_over()

    def _hand_over(self) -> None:
        if self._to_relay and self._reading and not self._ended:
            data, self._to_relay = bytes(self._to_relay), bytearray()
            self._relay.data_received(data)

    def _read(self) -> None:
        """Take in what the relay wrote, and its end."""
        self._woken = False
        if self._ended:
            return
        if self._from_relay:
            data, self._from_relay = bytes(self._from_relay), bytearray()
            self._client.receive_data(data)
            self._take_events()
            self._flush()
        if self._ending and not self._from_relay and not self._ended:
            self._client.receive_eof()
            self._client.data_to_send()
            self._end()

    def _take_events(self) -> None:
        for event in self._client.events_received():
            if self._owner is None:
                return
            if not isinstance(event, Frame):
                if self._client.handshake_exc is None:
                    self._is_open = True
                    self._owner.line_opened()
            elif event.opcode is Opcode.TEXT:
                self._owner.line_data(bytes(event.data).decode("utf-8", "surrogateescape"))
            elif event.opcode is Opcode.BINARY:
                self._owner.line_data(bytes(event.data))

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = self._ending = True
        self._from_relay.clear()
        self._loop.call_soon(self._relay.connection_lost, None)
        owner, self._owner = self._owner, None
        if owner is None:
            return
        if self._is_open:
            owner.line_closed(self._client.close_code or _ABNORMAL)
        else:
            refused = self._client.handshake_exc
            owner.line_refused(refused.response.status_code if isinstance(refused, InvalidStatus) else None)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._read_if_woken)
            self._space.timers.call_at(self._space.clock.now_us(), self._read_if_woken)

    def _read_if_woken(self) -> None:
        if self._woken:
            self._read()

    # --- asyncio.Transport, as the relay's Connection uses it ----------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio: ``peername`` alone."""
        return (self._ip, 0) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio: a bot reads at once, so nothing is ever held."""

    def get_write_buffer_size(self) -> int:
        """See asyncio."""
        return 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """See asyncio."""
        if not self._ending:
            self._from_relay += data
            self._wake()

    def can_write_eof(self) -> bool:
        """See asyncio."""
        return True

    def write_eof(self) -> None:
        """See asyncio: a bot that is told the end ends too."""
        self.close()

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._ending

    def close(self) -> None:
        """See asyncio: what was written is read first."""
        self._ending = True
        self._wake()

    def abort(self) -> None:
        """See asyncio."""
        self._from_relay.clear()
        self.close()

    def is_reading(self) -> bool:
        """See asyncio."""
        return self._reading

    def pause_reading(self) -> None:
        """See asyncio."""
        self._reading = False

    def resume_reading(self) -> None:
        """See asyncio."""
        self._reading = True
        self._loop.call_soon(self._hand_over)


def _pass(_connection: Connection) -> None:
    """Nobody counts a bot's connections among the sockets that a stop waits for."""
