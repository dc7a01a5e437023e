"""The instants of an event loop's turns, and the one timer of a core.

The law of this file: all inputs that one turn of the loop reads have one instant, read when the first of them comes,
and time never goes back. Inputs come before timers at one instant (R-13.1): asyncio runs a turn's sockets before its
timers; of a loop that does not say so, such as uvloop's, the sockets that are ready are heard first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mockrelay.clock import Clock

_MAX_WAIT_S: Final = 3600.0
"""No timer is armed for longer: a clock that is set forward meanwhile is then noticed."""
_UNREAD: Final = -1


class Turns:
    """When it is, for one core, and when its timer comes up."""

    def __init__(
        self,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        at_us: int,
        told_us: Callable[[], int],
        due_us: Callable[[], int | None],
        run_due: Callable[[], None],
    ) -> None:
        """``told_us``: the latest instant the core was told; ``due_us``: of its next timer, None where none shall run.

        ``run_due`` runs the timers that are due at ``instant_us()``.
        """
        self.clock = clock
        self.floor_us = at_us
        """Time never goes back, not even with another core."""
        self.before_us = at_us
        """The instant of the turn before; bytes read in this turn may have come any time since."""
        self._loop = loop
        self._told_us = told_us
        self._due_us = due_us
        self._run_due = run_due
        self.at_us = _UNREAD
        """This turn's instant once it was asked for, else a number that is no instant; for a look without a call."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_us = 0
        self._is_stopped = False
        self.at_end: Callable[[], None] | None = None
        """Called at the end of each turn whose instant was asked for."""
        self.is_stale = False
        """Something was told to the core in this turn: at its end a timer is armed for what is due next."""
        self._hears_sockets_first = isinstance(loop, asyncio.BaseEventLoop)

    def instant_us(self) -> int:
        """The instant of this turn of the loop."""
        now = self.at_us
        if now == _UNREAD:
            # The core may have been told of a later instant than a clock that was set anew shows.
            now = self.at_us = max(self.clock.now_us(), self._told_us(), self.floor_us)
            self._loop.call_soon(self._end_turn)
        return now

    def _end_turn(self) -> None:
        if self.at_us != _UNREAD:
            self.before_us = self.at_us
            self.at_us = _UNREAD
        if self.at_end is not None:
            self.at_end()
        if self.is_stale:
            self.arm()

    def clock_moved(self) -> None:
        """The clock was moved: what comes next has another instant."""
        self.at_us = _UNREAD

    def arm(self) -> None:
        """Have a timer stand for what is due next."""
        self.is_stale = False
        due = None if self._is_stopped else self._due_us()
        if due is None or (self._timer is not None and self._timer_at_us <= due):
            # A timer that comes up too early looks again, which costs less than moving it at each input.
            return
        self._disarm()
        delay_s = self.clock.delay_s(due)
        if delay_s is not None:
            self._timer_at_us = due
            self._timer = self._loop.call_later(min(delay_s, _MAX_WAIT_S), self._on_timer)

    def _on_timer(self) -> None:
        if self._hears_sockets_first:
            self.look()
        else:
            # The first callback may run before this turn's sockets are looked at, the second runs behind them.
            self._loop.call_soon(self._loop.call_soon, self._look_unless_moved, self._timer)

    def _look_unless_moved(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is timer:
            self.look()

    def look(self) -> None:
        """Run what is due now, and arm anew."""
        self._disarm()
        due = None if self._is_stopped else self._due_us()
        if due is not None and due <= self.instant_us():
            self._run_due()
        self.arm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """No timer runs any more."""
        self._is_stopped = True
        self._disarm()
