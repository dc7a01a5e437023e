"""An event loop whose time passes at once: a run of seconds over real sockets takes as long as its work.

Its law: time stands still while anything is to be done, and jumps to the next timer when nothing is. So whatever is
planned happens at its instant, on however busy a machine, and a live run comes out the same each time. Relay and
devices live on this one loop, and their clocks follow it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from mockrelay.clock import RealClock
from mockrelay.server import MockRelay
from tests.live.idle_loop import IdleLoop
from tests.live.relay_thread import TOKEN
from tests.mockrelay.live_support import serving

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
_HANGS_S = 600.0
"""Of the loop's own time, which nothing here needs."""


class JumpLoop(IdleLoop):
    """See the law of this file."""

    glance_s = 0.001

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._began_ns = time.time_ns()

    def time(self) -> float:
        """See AbstractEventLoop."""
        return self._now_s

    def unix_ns(self) -> int:
        """The time as a clock on this loop has it."""
        return self._began_ns + round(self._now_s * 1e9)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """See asyncio: without the bound of Python 3.12 and later, which would be over at once."""
        await super().shutdown_default_executor()

    def idle(self, timeout_s: float | None) -> bool:
        """Time jumps to the next timer; where there is none, the loop waits."""
        if timeout_s is None:
            return False
        self._now_s += timeout_s
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
