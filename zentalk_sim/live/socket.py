"""One WebSocket of a client core: opens it, carries frames in order both ways, reports its end once.

After ``abort`` nothing of it is reported any more, as the client core's effects have it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Origin, Subprotocol

from zentalk_sim.protocol.config import FrameConfig

_ABNORMAL = 1006


class Owner(Protocol):
    """Whom a socket reports to."""

    def socket_opened(self, socket: LiveSocket) -> None:
        """The upgrade was answered with 101."""
        ...

    def socket_refused(self, socket: LiveSocket, status: int | None) -> None:
        """No connection, or the upgrade was refused with this HTTP status."""
        ...

    def socket_data(self, socket: LiveSocket, data: str | bytes) -> None:
        """A message came."""
        ...

    def socket_closed(self, socket: LiveSocket, code: int) -> None:
        """The socket is gone, with the close code received, or 1006."""
        ...


class LiveSocket:
    """One connection, from its first SYN on."""

    def __init__(
        self, owner: Owner, url: str, *, tls: ssl.SSLContext | None, origin: str | None, closing_timeout_s: float
    ) -> None:
        self._owner: Owner | None = owner
        self._url = url
        self._tls = tls
        self._origin = origin
        self._closing_timeout_s = closing_timeout_s
        self._ws: ClientConnection | None = None
        self._out: asyncio.Queue[str | bytes | tuple[int, str]] = asyncio.Queue()
        self.task = asyncio.get_running_loop().create_task(self._run())

    def send(self, data: str | bytes) -> None:
        """Queue one message."""
        self._out.put_nowait(data)

    def close(self, code: int, reason: str) -> None:
        """Run the closing handshake after what is queued."""
        self._out.put_nowait((code, reason))

    def abort(self) -> None:
        """Drop it at once."""
        self._owner = None
        if self._ws is not None:
            self._ws.transport.abort()
        self.task.cancel()

    async def _run(self) -> None:
        try:
            ws = await connect(
                self._url,
                subprotocols=[Subprotocol("zentalk.v1")],
                compression=None,
                origin=None if self._origin is None else Origin(self._origin),
                open_timeout=None,
                ping_interval=None,
                close_timeout=self._closing_timeout_s,
                max_size=FrameConfig().max_bytes,
                proxy=None,
                ssl=self._tls,
            )
        except InvalidStatus as error:
            self._refused(error.response.status_code)
            return
        except (OSError, InvalidHandshake, InvalidURI, EOFError):
            self._refused(None)
            return
        self._ws = ws
        if self._owner is not None:
            self._owner.socket_opened(self)
        writer = asyncio.create_task(self._write(ws))
        try:
            async for message in ws:
                if self._owner is not None:
                    self._owner.socket_data(self, message)
        except ConnectionClosed:
            # The end, with a close frame or without one; the code is read below.
            pass
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await writer
        if self._owner is not None:
            self._owner.socket_closed(self, ws.close_code or _ABNORMAL)

    def _refused(self, status: int | None) -> None:
        if self._owner is not None:
            self._owner.socket_refused(self, status)

    async def _write(self, ws: ClientConnection) -> None:
        while True:
            item = await self._out.get()
            if isinstance(item, tuple):
                await ws.close(*item)
                return
            await ws.send(item)
