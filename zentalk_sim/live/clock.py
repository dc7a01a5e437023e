"""Real time for a run: a clock in Unix µs that never goes back, and callbacks at its instants.

It stands where the simulation's kernel stands, so that the conduct of users is the same in both. A callback sees as
``now`` the instant it was planned for: what a user does next is planned from there, and a busy machine shifts an
action but not all that follow. ``late_us`` keeps by how much.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


class UnixClock:
    """Unix time in µs that never goes back, as the client core wants it."""

    def __init__(self) -> None:
        self._last_us = 0

    def __call__(self) -> int:
        self._last_us = max(self._last_us, time.time_ns() // 1000)
        return self._last_us


class RealTime:
    """The time of one run, anchored in Unix time at its making and carried on by the event loop's own clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.start_us = time.time_ns() // 1000
        self.late_us: list[int] = []
        """By how much each planned callback came late."""
        self.failure: BaseException | None = None
        """The first exception of a callback; whoever runs the loop looks at it."""
        self._loop = loop
        self._start_s = loop.time()
        self._planned_us: int | None = None
        self._stopped = False
        self._failed: Callable[[], None] | None = None

    def real_us(self) -> int:
        """The time."""
        return self.start_us + int((self._loop.time() - self._start_s) * 1_000_000)

    @property
    def now(self) -> int:
        """The instant that is being served: a callback's planned one, else the time."""
        return self.real_us() if self._planned_us is None else self._planned_us

    def loop_s(self, at_us: int) -> float:
        """An instant on the event loop's clock."""
        return self._start_s + (at_us - self.start_us) / 1_000_000

    def on_failure(self, call: Callable[[], None]) -> None:
        """Have ``call`` called where a callback raises."""
        self._failed = call

    def call_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """Run ``function(*arguments)`` at ``at_us``, or at once where that is past."""
        self._loop.call_at(self.loop_s(at_us), self._run, at_us, function, arguments)

    timer_at = call_at
    call_one = call_at

    @property
    def calendar(self) -> RealTime:
        """Itself: what a simulation's kernel hands its entries on to."""
        return self

    def stop(self) -> None:
        """Run nothing more: the experiment is over."""
        self._stopped = True

    def _run(self, at_us: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if self._stopped:
            return
        self.late_us.append(self.real_us() - at_us)
        self._planned_us = at_us
        try:
            function(*arguments)
        except Exception as error:
            self.fail(error)
        finally:
            self._planned_us = None

    def fail(self, error: BaseException) -> None:
        """Note that something broke; the first is kept."""
        if self.failure is None:
            self.failure = error
            if self._failed is not None:
                self._failed()
