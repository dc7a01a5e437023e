"""One WebSocket over a shaped link: a real socket at the far end, the model of TCP between it and the device.

Order is kept within each direction. After ``abort`` nothing of it is reported any more; the relay learns of that when
the RST would have reached it, and of a client that fell silent not at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zentalk_sim.live.socket import LiveSocket, Owner
from zentalk_sim.network.path import Way
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.timers import NEVER

if TYPE_CHECKING:
    from zentalk_sim.live.shaping import DeviceLink

_CLOSE_BYTES = 30
Held = tuple[Callable[..., None], tuple[Any, ...]]


class ShapedSocket:
    """See ``live.socket.Socket``. Instants are in µs of Unix time, None until reached."""

    def __init__(self, link: DeviceLink, owner: Owner, url: str, closing_timeout_s: float) -> None:
        self.start_us = link.time.real_us()
        self.tcp_us: int | None = None
        self.tls_us: int | None = None
        self.upgraded_us: int | None = None
        self.auth_us: int | None = None
        self.close_code: int | None = None
        self.resumed = False
        self.ended = False
        """Its row in the table of connections is written."""
        self.tcp = TcpConnection(link.profile, link.path, link.streams, self.start_us)
        self.real: LiveSocket | None = None
        self._link = link
        self._owner: Owner | None = owner
        self._url = url
        self._closing_timeout_s = closing_timeout_s
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Way, deque[tuple[float, Callable[..., None], tuple[Any, ...]]]] = {
            "up": deque(),
            "down": deque(),
        }
        self._held: dict[Way, list[Held]] = {"up": [], "down": []}
        self._watching: asyncio.TimerHandle | None = None
        self._is_closed = False
        """The device knows of its end."""
        self.task = self._loop.create_task(self._open())

    @property
    def is_open(self) -> bool:
        """Whether there is a TCP connection."""
        return self.tcp_us is not None and not self._is_closed

    # --- opening -------------------------------------------------------------------------------------

    async def _open(self) -> None:
        link = self._link
        self.tcp_us = await self._reached(self.tcp.handshake)
        if self.tcp_us is None or link.refuses:
            self._refused(None, None)
            return
        self.tls_us = await self._reached(self.tcp.tls)
        if self.tls_us is None:
            self._refused(None, None)
            return
        self._carry("up", link.upgrade_bytes(self._url), self._dial)

    async def _reached(self, step: Callable[[int], int]) -> int | None:
        """The instant a step of the opening is done, which has passed then; None where it cannot be."""
        time = self._link.time
        while True:
            at_us = step(time.real_us())
            due_us = min(at_us, self.tcp.retry_at_us)
            if due_us == NEVER:
                due_us = self.tcp.reset_at_us
            if due_us != NEVER:
                await asyncio.sleep(max(0, due_us - time.real_us()) / 1_000_000)
            if at_us != NEVER:
                return at_us
            if self.tcp.retry_at_us == NEVER:
                return None

    def _dial(self) -> None:
        """The upgrade request reaches the relay: from here on there is a real connection."""
        link = self._link
        tls = link.tls if self._url.startswith("wss:") else None
        self.real = LiveSocket(
            self,
            self._url,
            tls=tls,
            origin=link.origin,
            closing_timeout_s=self._closing_timeout_s,
            headers=link.headers,
        )
        self.real.task.add_done_callback(lambda _: self._link.gone(self))

    # --- the device's side ---------------------------------------------------------------------------

    def send(self, data: str | bytes) -> None:
        """See Socket."""
        self._carry("up", self._link.frame_bytes(data, masked=True), self._send, data)

    def close(self, code: int, reason: str) -> None:
        """See Socket."""
        self._carry("up", _CLOSE_BYTES, self._close, code, reason)

    def abort(self) -> None:
        """See Socket."""
        self._owner = None
        self._is_closed = True
        self.task.cancel()
        at_us = self.tcp.rst_up(self._link.time.real_us()) if self.real is not None else NEVER
        if at_us != NEVER:
            self._loop.call_at(self._link.time.loop_s(at_us), self._drop)
        elif self.real is None:
            self._link.gone(self)

    def _send(self, data: str | bytes) -> None:
        if self.real is not None:
            self.real.send(data)
        else:
            self._answer_reset()

    def _answer_reset(self) -> None:
        """A host that does not know the connection answers with RST."""
        at_us = self.tcp.rst_down(self._link.time.real_us())
        if at_us != NEVER:
            self._loop.call_at(self._link.time.loop_s(at_us), self._closed, 1006)

    def _close(self, code: int, reason: str) -> None:
        if self.real is not None:
            self.real.close(code, reason)
        else:
            self._answer_reset()

    def _drop(self) -> None:
        if self.real is not None:
            self.real.abort()
        self._link.gone(self)

    # --- the relay's side (an Owner of the real socket) ----------------------------------------------

    def socket_opened(self, socket: Any) -> None:
        """See Owner."""
        self._carry("down", self._link.ANSWER_BYTES, self._opened)

    def socket_refused(self, socket: Any, status: int | None, retry_after_ms: int | None) -> None:
        """See Owner."""
        self._carry("down", self._link.ANSWER_BYTES, self._refused, status, retry_after_ms)

    def socket_data(self, socket: Any, data: str | bytes) -> None:
        """See Owner."""
        self._carry("down", self._link.frame_bytes(data, masked=False), self._data, data)

    def socket_closed(self, socket: Any, code: int) -> None:
        """See Owner; an RST overtakes what is on its way."""
        if code != 1006:
            self._carry("down", _CLOSE_BYTES, self._closed, code)
            return
        at_us = self.tcp.rst_down(self._link.time.real_us())
        if at_us != NEVER:
            self._loop.call_at(self._link.time.loop_s(at_us), self._closed, code)

    def _opened(self) -> None:
        if self._owner is not None and not self._is_closed:
            self.upgraded_us = self._link.time.real_us()
            real = self.real
            if real is not None and real.tcp_s is not None and self.tcp_us == self.start_us:
                # No latency is laid over: then the real connection's own stages are what there is to tell.
                self.tcp_us = self.start_us + int((real.tcp_s - self._link.time.loop_s(self.start_us)) * 1e6)
                tls_s = real.tls_s if real.tls_s is not None else real.tcp_s
                self.tls_us = self.start_us + int((tls_s - self._link.time.loop_s(self.start_us)) * 1e6)
            self._owner.socket_opened(self)

    def _refused(self, status: int | None, retry_after_ms: int | None) -> None:
        if self._owner is not None and not self._is_closed:
            self._is_closed = True
            self._link.gone(self)
            self._owner.socket_refused(self, status, retry_after_ms)

    def _data(self, data: str | bytes) -> None:
        if self._owner is not None and not self._is_closed:
            self._owner.socket_data(self, data)
        elif self._owner is None:
            # The device let go of it: its host answers with RST.
            at_us = self.tcp.rst_up(self._link.time.real_us())
            if at_us != NEVER:
                self._loop.call_at(self._link.time.loop_s(at_us), self._drop)

    def _closed(self, code: int) -> None:
        if self._owner is not None and not self._is_closed:
            self._is_closed = True
            self.close_code = code
            self.tcp.close()
            self._owner.socket_closed(self, code)

    # --- the way between -----------------------------------------------------------------------------

    def _carry(self, way: Way, size: int, deliver: Callable[..., None], *arguments: Any) -> None:
        now = self._link.time.real_us()
        at_us = self.tcp.carry_up(size, now) if way == "up" else self.tcp.carry_down(size, now)
        if at_us == NEVER:
            self._held[way].append((deliver, arguments))
        else:
            self._deliver_at(way, at_us, deliver, arguments)
        if self.tcp.path.blocked:
            self._watch()

    def _deliver_at(self, way: Way, at_us: int, deliver: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Deliver in order: what is late holds up what follows, as bytes of one connection do."""
        queue = self._queues[way]
        queue.append((self._link.time.loop_s(at_us), deliver, arguments))
        if len(queue) == 1:
            self._pump(way)

    def _pump(self, way: Way) -> None:
        queue = self._queues[way]
        while queue:
            due_s, deliver, arguments = queue[0]
            if due_s > self._loop.time():
                self._loop.call_at(due_s, self._pump, way)
                return
            # Left in the queue meanwhile, so that what a delivery leads to stands behind it.
            try:
                deliver(*arguments)
            finally:
                queue.popleft()

    def released(self, now: int) -> None:
        """The path has opened, at least in one direction: send what was held for it on its way."""
        ways: tuple[Way, Way] = ("up", "down")
        for way in ways:
            instants = self.tcp.release(way, now)
            held = self._held[way]
            for at_us, (deliver, arguments) in zip(instants, held, strict=False):
                self._deliver_at(way, at_us, deliver, arguments)
            del held[: len(instants)]
        self._watch()

    def _watch(self) -> None:
        """Have a timer stand for the instant at which an end gives the connection up."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        at_us = self.tcp.reset_at_us
        if at_us != NEVER and self.real is not None:
            self._watching = self._loop.call_at(self._link.time.loop_s(at_us), self._gives_up)

    def _gives_up(self) -> None:
        self._watching = None
        at_us = self.tcp.reset_at_us
        if at_us > self._link.time.real_us() + 1_000:
            self._watch()
        elif self.tcp.reset_by == "relay":
            self._drop()
        else:
            self._closed(1006)

    # --- ends that no end asked for ------------------------------------------------------------------

    def reset_both(self) -> None:
        """A box on the way sends RST to both ends."""
        if not self.is_open:
            return
        if self.real is not None:
            self.real.reset()
        self._link.gone(self)
        if self.upgraded_us is None:
            self._refused(None, None)
        else:
            self._closed(1006)

    def forget(self) -> None:
        """The relay's machine is gone: the device hears nothing until what it sends next is answered with RST."""
        if self.real is not None:
            self.real.abort()
            self.real = None

    def stop(self) -> None:
        """The run is over."""
        self._owner = None
        self._is_closed = True
        self.task.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self.real is not None:
            self.real.abort()
