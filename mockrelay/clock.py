"""The relay's clocks: Unix time in integer microseconds that never goes back, and timers on them.

A driver asks two things of a clock: what time it is, and how long to wait for an instant. ``RealClock`` follows
the system; ``MovableClock`` can be frozen, scaled and advanced, and then tells the real time too (R-13.2).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Literal, Protocol

Mode = Literal["real", "frozen", "scaled"]
MAX_SCALE: Final = 1e6
_MAX_WAIT_S: Final = 3600.0


class Clock(Protocol):
    """What the driver needs of a clock."""

    def now_us(self) -> int:
        """The relay's time in µs; never less than before."""
        ...

    def real_us(self) -> int | None:
        """The real time in µs where this clock differs from it, else None."""
        ...

    def delay_s(self, at_us: int) -> float | None:
        """How many seconds of real time until ``at_us``; 0 if it is past, None if time does not run."""
        ...


class RealClock(Clock):
    """The system's time, followed forwards only.

    A step back of the system's clock is passed over: time goes on at the monotonic clock's pace. A step forward,
    such as after the machine slept (when the monotonic clock may stand still), is followed.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._offset_us = wall_ns() // 1000 - monotonic_ns() // 1000

    def now_us(self) -> int:
        """See Clock."""
        now = self._monotonic_ns() // 1000 + self._offset_us
        wall = self._wall_ns() // 1000
        if wall > now:
            self._offset_us += wall - now
            return wall
        return now

    def real_us(self) -> int | None:
        """Always None: this clock is the real time."""
        return None

    def delay_s(self, at_us: int) -> float | None:
        """See Clock."""
        return max(0, at_us - self.now_us()) / 1_000_000


class MovableClock(Clock):
    """A clock that a test holds: frozen, running at a multiple of real time, advanced at will; forwards only.

    Until it is first moved it is the real time.
    """

    def __init__(self, real: RealClock | None = None, *, scale: float = 1.0) -> None:
        """``scale`` 0 begins frozen."""
        self._real_clock = real or RealClock()
        self._anchor_real_us = self._anchor_us = self._real_clock.now_us()
        self._scale = 1.0
        self._running_scale = scale or 1.0
        self._was_moved = False
        self._set_scale(scale)

    @property
    def scale(self) -> float:
        """How many seconds pass here in one of real time; 0 while frozen."""
        return self._scale

    @property
    def mode(self) -> Mode:
        """``real`` while it runs at the pace of real time, also where it was advanced."""
        if not self._scale:
            return "frozen"
        return "real" if self._scale == 1.0 else "scaled"

    def now_us(self) -> int:
        """See Clock."""
        if not self._scale:
            return self._anchor_us
        elapsed_us = self._real_clock.now_us() - self._anchor_real_us
        return self._anchor_us + (elapsed_us if self._scale == 1.0 else int(elapsed_us * self._scale))

    def real_us(self) -> int | None:
        """The real time, for the tolerances of R-13.2; None until the clock was first moved."""
        return self._real_clock.now_us() if self._was_moved else None

    def delay_s(self, at_us: int) -> float | None:
        """See Clock."""
        if not self._scale:
            return None
        return max(0, at_us - self.now_us()) / 1_000_000 / self._scale

    def advance(self, us: int) -> None:
        """Move forward by ``us``. Raises ValueError for a negative amount."""
        if us < 0:
            raise ValueError("time moves forward only")
        self._anchor()
        self._anchor_us += us
        self._was_moved = self._was_moved or us > 0

    def advance_to(self, at_us: int) -> None:
        """Move forward to an instant; one that is past is passed over."""
        self.advance(max(0, at_us - self.now_us()))

    def freeze(self) -> None:
        """Let time stand still."""
        self._set_scale(0.0)

    def resume(self) -> None:
        """Let time run at the pace it had before it was frozen."""
        self._set_scale(self._running_scale)

    def set_scale(self, factor: float) -> None:
        """Run at ``factor`` times real time. Raises ValueError unless it is above 0 and finite."""
        if not 0 < factor < MAX_SCALE:
            raise ValueError("the factor must be above 0 and below 1e6")
        self._running_scale = factor
        self._set_scale(factor)

    def _anchor(self) -> None:
        now = self.now_us()
        self._anchor_real_us = self._real_clock.now_us()
        self._anchor_us = now

    def _set_scale(self, scale: float) -> None:
        if not 0 <= scale < MAX_SCALE:
            raise ValueError("the factor must be above 0 and below 1e6")
        self._anchor()
        self._scale = scale
        self._was_moved = self._was_moved or scale != 1.0


class ClockTimers:
    """Callbacks at instants of a clock, beside the core's own timers: what a face lets wait in the relay's time.

    Due ones run by (instant, order of arming). Whoever moves the clock calls ``clock_changed``.
    """

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop
        self._heap: list[tuple[int, int]] = []
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._callbacks)

    def call_at(self, at_us: int, callback: Callable[[], None]) -> int:
        """Have ``callback`` run once the clock shows ``at_us``, not before the next turn of the loop; its number."""
        self._order += 1
        self._callbacks[self._order] = callback
        heappush(self._heap, (at_us, self._order))
        if self._heap[0][1] == self._order:
            self._arm()
        return self._order

    def cancel(self, number: int) -> None:
        """Forget a callback; one that has run, or never was, is passed over."""
        self._callbacks.pop(number, None)

    def next_us(self) -> int | None:
        """The earliest instant, or None."""
        while self._heap and self._heap[0][1] not in self._callbacks:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Run what is due now."""
        now = self._clock.now_us()
        while (at := self.next_us()) is not None and at <= now:
            callback = self._callbacks.pop(heappop(self._heap)[1])
            callback()
        self._arm()

    def clock_changed(self) -> None:
        """The clock was moved, frozen or resumed: run what is due and arm anew."""
        self.run_due()

    def stop(self) -> None:
        """Nothing runs any more."""
        self._callbacks.clear()
        self._heap.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.next_us()
        delay_s = None if at is None else self._clock.delay_s(at)
        if delay_s is not None:
            self._timer = self._loop.call_later(min(delay_s, _MAX_WAIT_S), self.run_due)
