"""An event loop that can say when it has nothing to do: what ``JumpLoop`` and ``StillLoop`` have in common.

Its law: it is idle when nothing is to be run, no socket has anything to read and no thread works for it. What goes over
loopback or a socket pair can be read when the sending call returns, or next to it, so that nothing is under way that
the loop does not see, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Has its loop asked before it waits."""

    def __init__(self, glance_s: float) -> None:
        super().__init__()
        self.glance_s = glance_s
        self.goes_on: Callable[[float | None], bool]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See BaseSelector."""
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not found and self.glance_s and (timeout is None or timeout > 0):
            found = super().select(self.glance_s)
        if found or (timeout is not None and timeout <= 0) or self.goes_on(timeout):
            return found
        return super().select(timeout)  # type: ignore[no-any-return]


class IdleLoop(asyncio.SelectorEventLoop):
    """A loop that calls ``idle`` in the place of waiting."""

    glance_s = 0.0
    """How long to look for bytes that can be read, before the loop is taken for idle."""

    def __init__(self) -> None:
        selector = _Selector(self.glance_s)
        super().__init__(selector)
        self._threads = 0
        selector.goes_on = lambda timeout: not self._threads and self.idle(timeout)

    def idle(self, timeout_s: float | None) -> bool:
        """There is nothing to do until the next timer, in ``timeout_s``; None: none. True where there is now."""
        raise NotImplementedError

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """See AbstractEventLoop: while a thread works for it, the loop is not idle."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: object) -> None:
        self._threads -= 1
