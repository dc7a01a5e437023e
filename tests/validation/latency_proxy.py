"""A TCP proxy that adds a link profile's latency, as the simulator does: one draw per frame, order kept, no loss.

What one read brings counts as one frame: at the rates of a comparison frames come singly. The first bytes of a
connection wait besides for a round trip, which is the SYN's and its answer's. A reset aborts both ends, as a
middlebox would.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

from zentalk_sim.network.link import Side, link_of
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.protocol.streams import Stream, Streams

US_PER_S = 1_000_000


class _End(asyncio.Protocol):
    """One end of a proxied connection; what it reads goes to ``peer`` after a latency."""

    def __init__(self, side: Side, stream: Stream) -> None:
        self.peer: _End | None = None
        self.transport: asyncio.Transport | None = None
        self.last_s = 0.0
        """Nothing arrives before this instant of the loop."""
        self._side = side
        self._stream = stream
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        # Later than the last by something, since asyncio keeps no order among timers of one instant.
        self.last_s = max(self.last_s + 1e-6, self._loop.time() + self._side.draw(self._stream) / US_PER_S)
        self._loop.call_at(self.last_s, self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        peer = self.peer
        if peer is not None and peer.transport is not None and not peer.transport.is_closing():
            peer.transport.write(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            later_s = max(self.last_s + 1e-6, self._loop.time())
            self._loop.call_at(later_s, self.peer.transport.close)


class LatencyProxy:
    """Listens on a free port of the loopback interface and carries to ``url``'s. An asynchronous context manager."""

    def __init__(self, url: str, profile: LinkProfile, seed: str) -> None:
        self._target = urlsplit(url)
        self._host, self._port = self._target.hostname or "", self._target.port or 80
        self._link = link_of(profile)
        self._streams = Streams(seed)
        self._ends: dict[_End, None] = {}
        self._opened = 0
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    @property
    def url(self) -> str:
        """The target's URL with this proxy's port."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(self._target._replace(netloc=f"127.0.0.1:{port}"))

    async def __aenter__(self) -> LatencyProxy:
        self._server = await asyncio.get_running_loop().create_server(self._near_end, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset_all()
        await asyncio.gather(*list(self._tasks), return_exceptions=True)

    def reset_all(self) -> None:
        """Abort every connection at both ends; nothing still under way arrives."""
        ends, self._ends = list(self._ends), {}
        for end in ends:
            end.peer = None
            if end.transport is not None:
                end.transport.abort()

    def _near_end(self) -> _End:
        self._opened += 1
        stream = self._streams.fresh(f"connection/{self._opened}")
        near, far = _End(self._link.up, stream), _End(self._link.down, stream)
        round_trip_us = self._link.up.draw(stream) + self._link.down.draw(stream)
        near.last_s = asyncio.get_running_loop().time() + round_trip_us / US_PER_S
        task = asyncio.get_running_loop().create_task(self._join(near, far))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return near

    async def _join(self, near: _End, far: _End) -> None:
        """Open the far half; it is there long before the first byte is due."""
        await asyncio.get_running_loop().create_connection(lambda: far, self._host, self._port)
        near.peer, far.peer = far, near
        self._ends[near] = self._ends[far] = None
