"""The queue of a simulated world: plain entries by instant, in a calendar of buckets; integer Unix microseconds.

Entries run in the order of instant, priority (R-13.1: SimPy's urgent events, then inputs, then timers) and scheduling.
A bucket of the future is a list in the order of scheduling. Opened, it is sorted once, backwards and so that equals
stay in order, and then popped from its end; only what is scheduled into the bucket that is open goes through a heap,
which is small. An entry holds one argument: most need no more, and it saves a tuple each.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Any, Final

from zentalk_sim.protocol.streams import Stream

URGENT: Final = 0
INPUT: Final = 1
TIMER: Final = 2
_BUCKET_SHIFT: Final = 13
"""A bucket spans 2^13 µs, about 8 ms: few entries that are scheduled into the open one, even in a large world."""
_PRIORITY_BITS: Final = 2

Function = Callable[[Any], object]
Entry = tuple[int, int, Function, Any]
"""Instant and priority in one number; what ranks equals, in the heap; function and argument."""
_rank_of: Final = itemgetter(0)


def spread(call: tuple[Callable[..., object], tuple[Any, ...]]) -> object:
    """Call a function with several arguments, or with none."""
    return call[0](*call[1])


class Actor:
    """Something that entries are for. Compiled, an entry for it needs no bound method, and none of Python's calls."""

    __slots__ = ()

    def act(self, kind: int, argument: Any) -> None:
        """The instant of an entry has come; ``kind`` is what was given with it."""
        raise NotImplementedError


Owned = Callable[..., object] | Actor
"""Whose entry it is: what random ties are between."""


def _act(entry: tuple[Actor, int, Any]) -> None:
    entry[0].act(entry[1], entry[2])


class Calendar:
    """Entries and the clock.

    ``ties``, where given, ranks the owners of callbacks at random, so that entries of two owners that fall on one
    instant and priority run in either order: a way to look for results that depend on the order of scheduling. Those
    of one owner keep their order, as the bytes of one connection must.
    """

    __slots__ = (
        "_keys",
        "_later",
        "_near",
        "_number",
        "_open_key",
        "_queue",
        "_ranks",
        "_ties",
        "now",
        "processed",
    )

    def __init__(self, start_us: int, ties: Stream | None = None) -> None:
        self.now = start_us
        """The present instant."""
        self.processed = 0
        """Entries run so far."""
        self._ties = ties
        self._ranks: dict[int, tuple[int, Owned]] = {}
        """Owner → its rank, and what keeps the owner alive, so that no other gets its identity."""
        self._number = 0
        self._open_key = start_us >> _BUCKET_SHIFT
        self._queue: list[Entry] = []
        """What the open bucket held when it was opened, backwards."""
        self._near: list[Entry] = []
        """A heap of what was scheduled into it since."""
        self._later: dict[int, list[Entry]] = {}
        self._keys: list[int] = []

    # --- scheduling ----------------------------------------------------------------------------------

    def call_one(self, at_us: int, function: Function, argument: Any) -> None:
        """Run ``function(argument)`` at ``at_us`` as an input: before the timers of that instant."""
        key = at_us >> _BUCKET_SHIFT
        if key <= self._open_key or self._ties is not None:
            self._push(at_us, INPUT, function, argument, function)
            return
        bucket = self._later.get(key)
        if bucket is None:
            self._later[key] = [((at_us << _PRIORITY_BITS) | INPUT, 0, function, argument)]
            heappush(self._keys, key)
        else:
            bucket.append(((at_us << _PRIORITY_BITS) | INPUT, 0, function, argument))

    def call_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """As ``call_one``, with any number of arguments."""
        if len(arguments) == 1:
            self._push(at_us, INPUT, function, arguments[0], function)
        else:
            self._push(at_us, INPUT, spread, (function, arguments), function)

    def timer_one(self, at_us: int, function: Function, argument: Any) -> None:
        """Run ``function(argument)`` at ``at_us`` as a timer: after the inputs of that instant (R-13.1)."""
        self._push(at_us, TIMER, function, argument, function)

    def timer_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """As ``timer_one``, with any number of arguments."""
        if len(arguments) == 1:
            self._push(at_us, TIMER, function, arguments[0], function)
        else:
            self._push(at_us, TIMER, spread, (function, arguments), function)

    def input_for(self, at_us: int, actor: Actor, kind: int, argument: Any) -> None:
        """Have ``actor.act(kind, argument)`` run at ``at_us`` as an input; ``kind`` is between 1 and 63."""
        self._push(at_us, INPUT, _act, (actor, kind, argument), actor)

    def input_of(self, owner: Actor, at_us: int, actor: Actor, kind: int, argument: Any) -> None:
        """As ``input_for``, but the entry counts as ``owner``'s, with whose others it keeps its order."""
        self._push(at_us, INPUT, _act, (actor, kind, argument), owner)

    def timer_for(self, at_us: int, actor: Actor, kind: int, argument: Any) -> None:
        """As ``input_for``, as a timer."""
        self._push(at_us, TIMER, _act, (actor, kind, argument), actor)

    def event_at(self, at_us: int, priority: int, function: Function, event: Any) -> None:
        """Run ``function(event)`` at ``at_us`` with a priority of SimPy's, 0 or 1."""
        self._push(at_us, priority, function, event, function)

    def _push(self, at_us: int, priority: int, function: Function, argument: Any, owned: Owned) -> None:
        rank = (at_us << _PRIORITY_BITS) | priority
        key = at_us >> _BUCKET_SHIFT
        if key <= self._open_key:
            if at_us < self.now:
                raise ValueError(f"scheduled {self.now - at_us} µs in the past")
            heappush(self._near, (rank, self._next_number(owned), function, argument))
            return
        number = 0 if self._ties is None else self._next_number(owned)
        bucket = self._later.get(key)
        if bucket is not None:
            bucket.append((rank, number, function, argument))
        else:
            self._later[key] = [(rank, number, function, argument)]
            heappush(self._keys, key)

    def _next_number(self, owned: Owned) -> int:
        """What ranks entries of one instant and priority: their order, or first that of their owners."""
        self._number += 1
        return self._number if self._ties is None else self._number | (self._owner_rank(owned) << 64)

    def _owner_rank(self, owned: Owned) -> int:
        """The random rank of an actor, or of a callback's owner."""
        assert self._ties is not None
        owner = id(owned if isinstance(owned, Actor) else getattr(owned, "__self__", None))
        found = self._ranks.get(owner)
        if found is None:
            found = self._ranks[owner] = (self._ties.word(), owned)
        return found[0]

    # --- running -------------------------------------------------------------------------------------

    def _advance_bucket(self) -> bool:
        """Open the next bucket; False where nothing is scheduled."""
        if not self._keys:
            return False
        key = heappop(self._keys)
        bucket = self._later.pop(key)
        self._open_key = key
        if self._ties is not None:
            heapify(bucket)
            self._near = bucket
            return True
        if len(bucket) > 1:
            # Sorting backwards keeps equals in their order, so that they must stand backwards before.
            bucket.reverse()
            bucket.sort(key=_rank_of, reverse=True)
        self._queue = bucket
        return True

    def _next(self) -> Entry | None:
        """The next entry, which stays where it is."""
        if not self._queue and not self._near and not self._advance_bucket():
            return None
        if not self._near:
            return self._queue[-1]
        # Of equals, what was there when the bucket was opened is the older.
        return self._near[0] if not self._queue or self._near[0][0] < self._queue[-1][0] else self._queue[-1]

    def next_us(self) -> int | None:
        """The instant of the next entry; None where there is none."""
        found = self._next()
        return None if found is None else found[0] >> _PRIORITY_BITS

    def step(self) -> bool:
        """Run the next entry; False where there is none."""
        at_us = self.next_us()
        if at_us is None:
            return False
        near, queue = self._near, self._queue
        entry = heappop(near) if near and (not queue or near[0][0] < queue[-1][0]) else queue.pop()
        self.now = at_us
        self.processed += 1
        entry[2](entry[3])
        return True

    def run_until(self, end_us: int) -> None:
        """Run every entry before ``end_us`` and put the clock there; entries at ``end_us`` stay for later."""
        self._run(end_us)
        self.now = max(self.now, end_us)
        # What is scheduled before the present instant is refused by looking at the open bucket alone.
        self._open_key = max(self._open_key, (self.now - 1) >> _BUCKET_SHIFT)

    def _run(self, end_us: int) -> None:
        processed = 0
        limit = end_us << _PRIORITY_BITS
        try:
            while True:
                if not self._queue and not self._near:
                    if not self._keys or self._keys[0] << _BUCKET_SHIFT >= end_us:
                        break
                    self._advance_bucket()
                # What is scheduled meanwhile into the open bucket lands in this same heap.
                queue, near = self._queue, self._near
                while queue or near:
                    if near and (not queue or near[0][0] < queue[-1][0]):
                        if near[0][0] >= limit:
                            return
                        entry = heappop(near)
                    else:
                        if queue[-1][0] >= limit:
                            return
                        entry = queue.pop()
                    self.now = entry[0] >> _PRIORITY_BITS
                    processed += 1
                    entry[2](entry[3])
        finally:
            self.processed += processed
