"""One WebSocket of a client core: opens it, carries frames in order both ways, reports its end once.

After ``abort`` nothing of it is reported any more, as the client core's effects have it. The instants of its opening
are kept on the event loop's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import ssl
import struct
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Origin, Subprotocol

from zentalk_sim.protocol.client_host import MAX_RETRY_AFTER_S
from zentalk_sim.protocol.config import FrameConfig

_ABNORMAL = 1006


def retry_after_ms(header: str | None, now_s: float) -> int | None:
    """A Retry-After header, seconds or an HTTP date (RFC 9110 §10.2.3), in ms from now; None where it says nothing."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:12]), MAX_RETRY_AFTER_S) * 1000
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return round(min(max(at_s - now_s, 0.0), MAX_RETRY_AFTER_S) * 1000)


class Socket(Protocol):
    """What a device asks of a socket, whatever lies between it and the relay."""

    task: asyncio.Task[None]

    def send(self, data: str | bytes) -> None:
        """Queue one message."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Run the closing handshake after what is queued."""
        ...

    def abort(self) -> None:
        """Drop it at once."""
        ...


class _Connection(ClientConnection):
    """Knows when it was given its transport, which with TLS is after that handshake."""

    made_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made_s = asyncio.get_running_loop().time()
        super().connection_made(transport)


class Owner(Protocol):
    """Whom a socket reports to."""

    def socket_opened(self, socket: Any) -> None:
        """The upgrade was answered with 101."""
        ...

    def socket_refused(self, socket: Any, status: int | None, retry_after_ms: int | None) -> None:
        """No connection, or the upgrade was refused with this HTTP status, and what its Retry-After said."""
        ...

    def socket_data(self, socket: Any, data: str | bytes) -> None:
        """A message came."""
        ...

    def socket_closed(self, socket: Any, code: int) -> None:
        """The socket is gone, with the close code received, or 1006."""
        ...


class LiveSocket:
    """One connection, from its first SYN on."""

    def __init__(
        self,
        owner: Owner,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        origin: str | None,
        closing_timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.tcp_s: float | None = None
        self.tls_s: float | None = None
        """None where there is no TLS."""
        self.upgraded_s: float | None = None
        self._headers = headers
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

    async def ping(self) -> float:
        """Seconds from a WebSocket ping to its pong (RFC 6455 §5.5.2). Raises ConnectionError where it is not open."""
        if self._ws is None:
            raise ConnectionError("not open")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await (await self._ws.ping())
        return loop.time() - began_s

    def abort(self) -> None:
        """Drop it at once."""
        self._owner = None
        if self._ws is not None:
            self._ws.transport.abort()
        self.task.cancel()

    def reset(self) -> None:
        """``abort`` by RST, as a box on the way ends a connection (RFC 9293 §3.5.2)."""
        if self._ws is not None:
            # Closed without lingering, a socket sends RST in the place of FIN (SO_LINGER of socket(7)).
            sock = self._ws.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    async def _run(self) -> None:
        tls: dict[str, Any] = {"ssl": self._tls or True} if self._url.startswith("wss:") else {}
        try:
            sock = await self._dial()
            ws = await connect(
                self._url,
                sock=sock,
                create_connection=_Connection,
                additional_headers=self._headers,
                subprotocols=[Subprotocol("zentalk.v1")],
                compression=None,
                origin=None if self._origin is None else Origin(self._origin),
                open_timeout=None,
                ping_interval=None,
                close_timeout=self._closing_timeout_s,
                max_size=FrameConfig().max_bytes,
                proxy=None,
                **tls,
            )
        except InvalidStatus as error:
            answer = error.response
            self._refused(answer.status_code, retry_after_ms(answer.headers.get("Retry-After"), time.time()))
            return
        except (OSError, InvalidHandshake, InvalidURI, EOFError):
            self._refused(None)
            return
        self._ws = ws
        self.upgraded_s = asyncio.get_running_loop().time()
        if self._url.startswith("wss:"):
            self.tls_s = ws.made_s  # type: ignore[attr-defined]
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

    async def _dial(self) -> sockets.socket:
        """A TCP connection. Raises OSError."""
        parts = urlsplit(self._url)
        loop = asyncio.get_running_loop()
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        found = await loop.getaddrinfo(parts.hostname or "", port, type=sockets.SOCK_STREAM)
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            sock = sockets.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
                self.tcp_s = loop.time()
                return sock
        raise failure or OSError(f"{parts.hostname}: no address")

    def _refused(self, status: int | None, retry_after: int | None = None) -> None:
        if self._owner is not None:
            self._owner.socket_refused(self, status, retry_after)

    async def _write(self, ws: ClientConnection) -> None:
        while True:
            item = await self._out.get()
            if isinstance(item, tuple):
                await ws.close(*item)
                return
            await ws.send(item)
