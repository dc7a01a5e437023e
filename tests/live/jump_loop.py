"""An event loop whose time passes at once: a run of seconds over real sockets takes as long as its work.

Its law: time stands still while anything is to be done, and jumps to the next timer when nothing is. So whatever is
planned happens at its instant, on however busy a machine, and a live run comes out the same each time. Relay and
devices live on this one loop, and their clocks follow it.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from mockrelay.clock import RealClock
from mockrelay.server import MockRelay
from tests.live.relay_thread import TOKEN
from tests.mockrelay.live_support import serving

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
_HANGS_S = 600.0
"""Of the loop's own time, which nothing here needs."""
_GLANCE_S = 0.001
"""Loopback bytes can be read when the call that sent them returns, or next to it: so long is looked for them."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Lets time jump in the place of waiting."""

    jump: Callable[[float], bool]

    def select(self, timeout: float | None = None) -> Any:
        """See BaseSelector."""
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        found = super().select(_GLANCE_S)
        if found or (timeout is not None and self.jump(timeout)):
            return found
        return super().select(timeout)


class JumpLoop(asyncio.SelectorEventLoop):
    """See the law of this file."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.jump = self._jump
        self._now_s = 0.0
        self._threads = 0
        self._began_ns = time.time_ns()

    def time(self) -> float:
        """See AbstractEventLoop."""
        return self._now_s

    def unix_ns(self) -> int:
        """The time as a clock on this loop has it."""
        return self._began_ns + round(self._now_s * 1e9)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """See AbstractEventLoop: while a thread works for the loop, time stands still."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: object) -> None:
        self._threads -= 1

    def _jump(self, timeout: float) -> bool:
        if self._threads:
            return False
        self._now_s += timeout
        return True


@contextmanager
def _runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=JumpLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, JumpLoop)
        with patch("mockrelay.clock.RealClock", lambda: RealClock(loop.unix_ns, loop.unix_ns)):
            yield runner


def jump(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on such a loop; what hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(_HANGS_S):
            return await work

    with _runner() as runner:
        return runner.run(bounded())


@contextmanager
def jumping(*users: str, **options: Any) -> Iterator[tuple[MockRelay, Run[Any]]]:
    """A relay on such a loop, its admin token ``TOKEN``, and what runs a coroutine beside it."""
    with _runner() as runner:

        async def start() -> MockRelay:
            relay = serving(*users, admin_token=TOKEN, **options)
            await relay.start()
            return relay

        relay = runner.run(start())
        try:
            yield relay, runner.run
        finally:
            runner.run(relay.stop())
