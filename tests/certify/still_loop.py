"""An event loop that knows when nothing more can come, for a relay and its apps in one process.

Its law: it is still when it is idle. Timers of real time do not count: both sides' clocks stand still meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.live.idle_loop import IdleLoop

T = TypeVar("T")


class StillLoop(IdleLoop):
    """See the law of this file."""

    def __init__(self) -> None:
        super().__init__()
        self.served: dict[int, Callable[[], asyncio.BaseProtocol]] = {}
        """Ports of this process, and what serves a connection to them."""
        self._waiting: list[asyncio.Future[None]] = []

    async def still(self) -> None:
        """Return once the loop is still."""
        future = self.create_future()
        self._waiting.append(future)
        await future

    async def pair(self, served: Callable[[], asyncio.BaseProtocol]) -> socket.socket:
        """One end of a socket pair whose other end is served by such a protocol."""
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        await self.connect_accepted_socket(served, theirs)
        return ours

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        """See AbstractEventLoop; to what is served in this process by a socket pair."""
        if port in self.served:
            sock = await self.pair(self.served[port])
            return await super().create_connection(protocol_factory, sock=sock)
        return await super().create_connection(protocol_factory, host, port, **more)

    def idle(self, timeout_s: float | None) -> bool:
        """Whoever waits for stillness has it."""
        if not self._waiting:
            return False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        return True


def run_still(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on such a loop."""
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        return runner.run(work)


def still_loop() -> StillLoop:
    """The running loop, which must be one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    return loop
