"""SimPy's environment with a calendar queue of plain entries; its clock is integer Unix microseconds.

Entries are ``(instant, priority, number, function, arguments)`` and run in exactly that order. SimPy processes
run on it unchanged; the many simple actors (devices, links, node timers) are callbacks, which cost one entry
and no event object. Priorities keep R-13.1 at one instant: SimPy's urgent events, then inputs, then timers.
Only the bucket that holds ``now`` is a heap; later ones are unsorted lists, which keeps a large simulation
from paying a logarithm of far-off timers on every push.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

import simpy
from simpy.core import EmptySchedule
from simpy.events import NORMAL, Event

from zentalk_sim.protocol.streams import Stream

INPUT = 1
TIMER = 2
_BUCKET_SHIFT = 13
"""A bucket spans 2^13 µs, about 8 ms: few entries a bucket in a small world, few buckets in a large one."""

Entry = tuple[int, int, int, Callable[..., object], tuple[Any, ...]]


class Kernel(simpy.Environment):
    """The event queue and clock of one simulated world.

    ``ties``, where given, ranks the owners of callbacks at random, so that entries of two owners that fall on one
    instant and priority run in either order: a way to look for results that depend on the order of scheduling. Those
    of one owner keep their order, as the bytes of one connection must.
    """

    now: int = 0
    """The present instant; an attribute here, since SimPy's property costs a call at each look."""

    def __init__(self, start_us: int, ties: Stream | None = None) -> None:
        super().__init__(initial_time=start_us)
        self.now = start_us
        self.processed = 0
        """Entries run so far."""
        self._ties = ties
        self._ranks: dict[int, tuple[int, Callable[..., object]]] = {}
        """Owner → its rank, and the callback that keeps the owner alive, so that no other gets its identity."""
        self._number = 0
        self._open: list[Entry] = []
        self._open_key = start_us >> _BUCKET_SHIFT
        self._later: dict[int, list[Entry]] = {}
        self._keys: list[int] = []

    # --- scheduling ----------------------------------------------------------------------------------

    def call_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """Run ``function(*arguments)`` at ``at_us`` as an input: before the timers of that instant."""
        self.call_with(at_us, function, arguments)

    def call_with(self, at_us: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """As ``call_at``, with the arguments in a tuple: for the callers that make most of the entries."""
        key = at_us >> _BUCKET_SHIFT
        if key <= self._open_key or self._ties is not None:
            self._push(at_us, INPUT, function, arguments)
            return
        number = self._number = self._number + 1
        bucket = self._later.get(key)
        if bucket is None:
            self._later[key] = [(at_us, INPUT, number, function, arguments)]
            heappush(self._keys, key)
        else:
            bucket.append((at_us, INPUT, number, function, arguments))

    def timer_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """Run ``function(*arguments)`` at ``at_us`` as a timer: after the inputs of that instant (R-13.1)."""
        self._push(at_us, TIMER, function, arguments)

    def _push(self, at_us: int, priority: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        number = self._number = self._number + 1
        if self._ties is not None:
            number |= self._rank(function) << 64
        entry = (at_us, priority, number, function, arguments)
        key = at_us >> _BUCKET_SHIFT
        if key <= self._open_key:
            if at_us < self.now:
                raise ValueError(f"scheduled {self.now - at_us} µs in the past")
            heappush(self._open, entry)
        elif (bucket := self._later.get(key)) is not None:
            bucket.append(entry)
        else:
            self._later[key] = [entry]
            heappush(self._keys, key)

    def _rank(self, function: Callable[..., object]) -> int:
        """The random rank of a callback's owner."""
        assert self._ties is not None
        owner = id(getattr(function, "__self__", None))
        rank = self._ranks.get(owner)
        if rank is None:
            rank = self._ranks[owner] = (self._ties.word(), function)
        return rank[0]

    def schedule(self, event: Event, priority: int = NORMAL, delay: float = 0) -> None:
        """Schedule a SimPy event; ``delay`` is in whole microseconds."""
        self._push(int(self.now + delay), priority, self._run_event, (event,))

    def _run_event(self, event: Event) -> None:
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)
        if not event._ok and not hasattr(event, "_defused"):
            raise event._value

    # --- running -------------------------------------------------------------------------------------

    def _advance_bucket(self) -> bool:
        """Open the next bucket; False where nothing is scheduled."""
        if not self._keys:
            return False
        self._open_key = heappop(self._keys)
        self._open = self._later.pop(self._open_key)
        heapify(self._open)
        return True

    def peek(self) -> float:
        """The instant of the next entry, or infinity."""
        if not self._open and not self._advance_bucket():
            return float("inf")
        return self._open[0][0]

    def step(self) -> None:
        """Run the next entry. Raises simpy.core.EmptySchedule where there is none."""
        if not self._open and not self._advance_bucket():
            raise EmptySchedule
        self.now, _, _, function, arguments = heappop(self._open)
        self._now = self.now
        self.processed += 1
        function(*arguments)

    def run_until(self, end_us: int) -> None:
        """Run every entry before ``end_us`` and put the clock there; entries at ``end_us`` stay for later."""
        processed = 0
        try:
            while self._open or self._advance_bucket():
                queue = self._open
                if queue[0][0] >= end_us:
                    break
                # Entries pushed meanwhile into the open bucket land in this same list.
                while queue:
                    entry = heappop(queue)
                    at_us = entry[0]
                    if at_us >= end_us:
                        heappush(queue, entry)
                        break
                    self.now = self._now = at_us
                    processed += 1
                    entry[3](*entry[4])
        finally:
            self.processed += processed
        self.now = self._now = max(self.now, end_us)
