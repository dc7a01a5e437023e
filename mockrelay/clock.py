"""The relay's clocks: Unix time in integer microseconds that never goes back.

A driver asks two things of a clock: what time it is, and how long to wait for an instant. ``RealClock`` follows
the system; ``MovableClock`` can be frozen, scaled and advanced, and then tells the real time too (R-13.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


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


class RealClock:
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


class MovableClock:
    """A clock that a test holds: frozen, running at a multiple of real time, advanced at will; forwards only."""

    def __init__(self, real: RealClock | None = None, *, scale: float = 1.0) -> None:
        """``scale`` 0 begins frozen."""
        self._real = real or RealClock()
        self._anchor_real_us = self._anchor_us = self._real.now_us()
        self._scale = 1.0
        self._running_scale = scale or 1.0
        self._set_scale(scale)

    @property
    def scale(self) -> float:
        """How many seconds pass here in one of real time; 0 while frozen."""
        return self._scale

    def now_us(self) -> int:
        """See Clock."""
        if not self._scale:
            return self._anchor_us
        elapsed_us = self._real.now_us() - self._anchor_real_us
        return self._anchor_us + (elapsed_us if self._scale == 1.0 else int(elapsed_us * self._scale))

    def real_us(self) -> int | None:
        """The real time, for the tolerances of R-13.2."""
        return self._real.now_us()

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

    def freeze(self) -> None:
        """Let time stand still."""
        self._set_scale(0.0)

    def resume(self) -> None:
        """Let time run at the pace it had before it was frozen."""
        self._set_scale(self._running_scale)

    def set_scale(self, factor: float) -> None:
        """Run at ``factor`` times real time. Raises ValueError unless it is above 0 and finite."""
        if not 0 < factor < 1e6:
            raise ValueError("the factor must be above 0 and below 1e6")
        self._running_scale = factor
        self._set_scale(factor)

    def _anchor(self) -> None:
        now = self.now_us()
        self._anchor_real_us = self._real.now_us()
        self._anchor_us = now

    def _set_scale(self, scale: float) -> None:
        if not 0 <= scale < 1e6:
            raise ValueError("the factor must be above 0 and below 1e6")
        self._anchor()
        self._scale = scale
