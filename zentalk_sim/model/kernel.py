"""SimPy's environment on a calendar of plain entries; its clock is integer Unix microseconds.

SimPy processes run on it unchanged, in the order that stock SimPy gives them; the many simple actors (devices, links,
node timers) are callbacks, which cost one entry and no event object. Priorities keep R-13.1 at one instant: SimPy's
urgent events, then inputs, then timers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy
from simpy.core import EmptySchedule
from simpy.events import NORMAL, Event

from zentalk_sim.model.calendar import Calendar
from zentalk_sim.protocol.streams import Stream

_calendar: Callable[[int], Calendar]
try:
    from zentalk_sim.model.native_calendar import NativeCalendar

    _calendar = NativeCalendar
except ImportError:
    # Its queue is not built, or not for the sources as they are.
    _calendar = Calendar


class Kernel(simpy.Environment):
    """The event queue and clock of one simulated world, as SimPy's processes and models of few events use it.

    Whoever makes most of the entries keeps ``calendar``, which is quicker, and the more so compiled, since a class of
    SimPy's cannot be machine code. ``ties``: see Calendar. ``form``: the kind of calendar, by default the quickest
    that there is.
    """

    def __init__(
        self, start_us: int, ties: Stream | None = None, form: Callable[[int], Calendar] | None = None
    ) -> None:
        super().__init__(initial_time=start_us)
        self.calendar = (form or _calendar)(start_us) if ties is None else Calendar(start_us, ties)
        # Bound once: of SimPy's events each has an entry.
        self._event_at = self.calendar.event_at
        self._run = self._run_event

    @property
    def now(self) -> int:
        """The present instant."""
        return self.calendar.now

    @property
    def processed(self) -> int:
        """Entries run so far."""
        return self.calendar.processed

    def call_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """Run ``function(*arguments)`` at ``at_us`` as an input: before the timers of that instant."""
        self.calendar.call_at(at_us, function, *arguments)

    def timer_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """Run ``function(*arguments)`` at ``at_us`` as a timer: after the inputs of that instant (R-13.1)."""
        self.calendar.timer_at(at_us, function, *arguments)

    def schedule(self, event: Event, priority: int = NORMAL, delay: float = 0) -> None:
        """Schedule a SimPy event; ``delay`` is in whole microseconds. Raises ValueError for a part of one."""
        at = self.calendar.now + delay
        at_us = int(at)
        if at_us != at:
            raise ValueError(f"a delay of {delay} µs: this clock counts whole microseconds; round the delay")
        self._event_at(at_us, priority, self._run, event)

    def _run_event(self, event: Event) -> None:
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)
        if not event._ok and not hasattr(event, "_defused"):
            raise event._value

    def peek(self) -> float:
        """The instant of the next entry, or infinity."""
        next_us = self.calendar.next_us()
        return float("inf") if next_us is None else next_us

    def step(self) -> None:
        """Run the next entry. Raises simpy.core.EmptySchedule where there is none."""
        if not self.calendar.step():
            raise EmptySchedule

    def run_until(self, end_us: int) -> None:
        """Run every entry before ``end_us`` and put the clock there; entries at ``end_us`` stay for later."""
        self.calendar.run_until(end_us)
