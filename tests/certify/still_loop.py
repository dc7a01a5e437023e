"""An event loop that knows when nothing more can come, for a relay and its apps in one process.

Its law: it is still when nothing is to be run, no socket has anything to read and no thread works for it. Timers of
real time do not count: both sides' clocks stand still meanwhile. What goes over a socket pair can be read when the
sending call returns, so nothing is under way that the loop does not see, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Tells, before it waits, that it would have to."""

    def __init__(self) -> None:
        super().__init__()
        self.would_wait: Callable[[], bool] = lambda: False
        """Called where there is nothing to do; True where there is now."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See BaseSelector."""
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if found or (timeout is not None and timeout <= 0) or self.would_wait():
            return found
        return super().select(timeout)  # type: ignore[no-any-return]


class StillLoop(asyncio.SelectorEventLoop):
    """See the law of this file."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.would_wait = self._would_wait
        self.served: dict[int, Callable[[], asyncio.BaseProtocol]] = {}
        """Ports of this process, and what serves a connection to them."""
        self._threads = 0
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

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """See AbstractEventLoop."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: object) -> None:
        self._threads -= 1

    def _would_wait(self) -> bool:
        if self._threads or not self._waiting:
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
