"""A device's way to the relay with a link profile laid over it: real sockets, and the simulator's model of TCP.

``zentalk_sim.network`` says when bytes would arrive on such a link, partitions and losses included; what is sent here
is handed to the real socket, and what comes from it to the device, at that instant. So the shaped latency comes on
top of that of the real network, which on one machine is next to nothing. The real connection is opened when the
upgrade request would have reached the relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final

from zentalk_sim.experiment.real_time import (
    KEEP_ALIVE_US,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    TLS_RECORD_BYTES,
    UPGRADE_REQUEST_BYTES,
    UPGRADE_RESPONSE_BYTES,
    on_the_wire,
)
from zentalk_sim.live.clock import RealTime
from zentalk_sim.live.http import HttpError, request
from zentalk_sim.live.shaped_socket import ShapedSocket
from zentalk_sim.live.socket import Owner
from zentalk_sim.network.path import Direction, Path
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.streams import Stream
from zentalk_sim.protocol.timers import NEVER

UNSHAPED: Final = LinkProfile(tls_round_trips=0, source="The network there is.")
"""Adds nothing; partitions and resets work all the same."""


class DeviceLink:
    """Everything open between one device and the relay. A ``Transport`` for ``live.device``."""

    def __init__(
        self,
        time: RealTime,
        ws_url: str,
        http_url: str,
        profile: LinkProfile,
        streams: Callable[[], Stream],
        *,
        ip: str | None = None,
        tls: ssl.SSLContext | None = None,
        origin: str | None = None,
    ) -> None:
        """``ip``: the address the relay is told of in X-Forwarded-For, for relays that trust it."""
        self.time = time
        self.profile = profile
        self.path = Path()
        self.streams = streams
        self.ip = ip
        self.refuses = False
        """Whether connections are answered with RST, as by a host whose relay is down."""
        self.socket: ShapedSocket | None = None
        """The last one opened."""
        self.ws_url = ws_url
        self.tls = tls
        self.origin = origin
        self._http_url = http_url.rstrip("/")
        self._sockets: dict[ShapedSocket, None] = {}
        self._rest: tuple[TcpConnection, int] | None = None
        self._opened = asyncio.Event()
        self._requests: dict[asyncio.Task[Any], None] = {}

    # --- a Transport ---------------------------------------------------------------------------------

    def open(self, owner: Owner, query: str, closing_timeout_s: float) -> ShapedSocket:
        """See Transport."""
        socket = self.socket = ShapedSocket(self, owner, f"{self.ws_url}?{query}", closing_timeout_s)
        self._sockets[socket] = None
        return socket

    async def request(self, target: str, method: str, bearer: str | None, body: bytes | None) -> tuple[int, bytes]:
        """See Transport."""
        work = asyncio.get_running_loop().create_task(self._request(target, method, bearer, body))
        self._requests[work] = None
        own = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError:
            if own is not None and own.cancelling():
                raise
            raise HttpError(f"{method} {target}: reset") from None
        finally:
            work.cancel()
            self._requests.pop(work, None)

    async def _request(self, target: str, method: str, bearer: str | None, body: bytes | None) -> tuple[int, bytes]:
        if self.refuses:
            raise HttpError(f"{method} {target}: refused")
        size = REQUEST_BYTES + TLS_RECORD_BYTES + len(target) + len(bearer or "") + len(body or b"")
        tcp = await self._line()
        await self._pass(tcp.carry_up, size)
        status, answer = await request(
            self._http_url + target, method, bearer=bearer, body=body, tls=self.tls, headers=self.headers
        )
        await self._pass(tcp.carry_down, RESPONSE_BYTES + TLS_RECORD_BYTES + len(answer))
        self._rest = (tcp, self.time.real_us())
        return status, answer

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries besides its own."""
        return {} if self.ip is None else {"X-Forwarded-For": self.ip}

    async def _line(self) -> TcpConnection:
        """The kept-alive REST connection's model, set up first where there is none."""
        now = self.time.real_us()
        if self._rest is not None and self._rest[0].path is self.path and now - self._rest[1] <= KEEP_ALIVE_US:
            return self._rest[0]
        tcp = TcpConnection(self.profile, self.path, self.streams, now)
        await self._pass(lambda _size, at: tcp.handshake(at), 0)
        await self._pass(lambda _size, at: tcp.tls(at), 0)
        self._rest = (tcp, self.time.real_us())
        return tcp

    async def _pass(self, step: Callable[[int, int], int], size: int) -> None:
        """Wait until bytes have passed; while the path is blocked, until it is open again."""
        while True:
            now = self.time.real_us()
            at_us = NEVER if self.path.blocked else step(size, now)
            if at_us != NEVER:
                await asyncio.sleep(max(0, at_us - now) / 1_000_000)
                return
            if self.path.blocked:
                self._opened.clear()
                await self._opened.wait()
            else:
                # A segment was lost on the way up: its retransmission is due after the timer.
                await asyncio.sleep(1.0)

    # --- what befalls a way --------------------------------------------------------------------------

    def cut(self, direction: Direction) -> Path:
        """A partition begins; returns the path it cuts, which a handover may replace."""
        self.path.block(direction, self.time.real_us())
        return self.path

    def heal(self, direction: Direction, path: Path) -> None:
        """A partition of ``path`` ends; others may still hold."""
        now = self.time.real_us()
        if not path.heal(direction, now):
            return
        for socket in list(self._sockets):
            if socket.tcp.path is path:
                socket.released(now)
        if path is self.path and not path.blocked:
            self._opened.set()

    def hand_over(self, profile: LinkProfile, ip: str | None) -> None:
        """Change to another network: the old path is dead for good."""
        self.path.block("both", self.time.real_us())
        self.path = Path()
        self.profile = profile
        self._rest = None
        self._opened.set()
        if self.ip is not None:
            self.ip = ip

    def reset(self) -> None:
        """A box on the way resets the WebSocket at both ends."""
        if self.socket is not None:
            self.socket.reset_both()

    def reset_all(self) -> None:
        """The relay's host resets everything, requests under way among it."""
        self._rest = None
        self.reset()
        for task in list(self._requests):
            task.cancel()

    def forget(self) -> None:
        """The relay's machine has lost its connections without a word: each end goes on by itself."""
        self._rest = None
        for socket in list(self._sockets):
            socket.forget()

    def gone(self, socket: ShapedSocket) -> None:
        """A socket has nothing open any more."""
        self._sockets.pop(socket, None)

    async def stop(self) -> None:
        """Drop all that is open, also what the relay does not know to be over."""
        for socket in list(self._sockets):
            socket.stop()
        tasks = [socket.real.task for socket in self._sockets if socket.real is not None]
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(task, return_exceptions=True)

    # --- sizes ---------------------------------------------------------------------------------------

    @staticmethod
    def upgrade_bytes(url: str) -> int:
        """An upgrade request's bytes."""
        return UPGRADE_REQUEST_BYTES + TLS_RECORD_BYTES + len(url.partition("?")[2])

    ANSWER_BYTES: Final = UPGRADE_RESPONSE_BYTES + TLS_RECORD_BYTES

    @staticmethod
    def frame_bytes(data: str | bytes, *, masked: bool) -> int:
        """A message's bytes on the wire."""
        size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        return on_the_wire(size, masked=masked)
