"""One queue of deadlines, lazily cancelled: a timer is dropped or pushed on when it comes up, not before.

Entries fall due by (instant, order of arming), which is a total order. Cancelling costs nothing: the
owner compares a field of its own when the timer fires. A face arms one timer of its own, at ``next_us()``.

Only the nearest entries are a heap; the others wait in buckets by instant, so that ten thousand connections' deadlines
do not make each arming and each look at the next a search through all of them.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

TimerEntry = tuple[int, int, str, object]
NEVER: Final = (1 << 62) - 1
"""An instant after all others: of a timer that is not armed. No larger, so that compiled code holds it in a word."""
_SHIFT: Final = 18
"""Buckets of 2^18 µs, about a quarter of a second."""


class Timers:
    """A priority queue of (instant in µs, order, kind, key)."""

    __slots__ = ("_keys", "_later", "_open_key", "_order", "heap")

    def __init__(self) -> None:
        self.heap: list[TimerEntry] = []
        """The nearest entries as ``heapq`` orders them, for a look at the first; changed only by the methods, and
        empty only where nothing is armed."""
        self._order = 0
        self._open_key = 0
        """Of the last bucket whose entries are in the heap."""
        self._later: dict[int, list[TimerEntry]] = {}
        self._keys: list[int] = []

    def __len__(self) -> int:
        return len(self.heap) + sum(map(len, self._later.values()))

    def arm(self, at_us: int, kind: str, key: object) -> None:
        """Have ``(kind, key)`` come up at ``at_us``."""
        self._order += 1
        bucket_key = at_us >> _SHIFT
        if not self.heap:
            self._open_key = bucket_key
        elif bucket_key > self._open_key:
            bucket = self._later.get(bucket_key)
            if bucket is None:
                self._later[bucket_key] = [(at_us, self._order, kind, key)]
                heappush(self._keys, bucket_key)
            else:
                bucket.append((at_us, self._order, kind, key))
            return
        heappush(self.heap, (at_us, self._order, kind, key))

    def next_us(self) -> int | None:
        """The earliest instant armed, or None."""
        return self.heap[0][0] if self.heap else None

    def pop(self) -> TimerEntry:
        """Take the earliest entry out. Raises IndexError where there is none."""
        heap = self.heap
        found = heappop(heap)
        if not heap and self._keys:
            self._open_key = heappop(self._keys)
            # The same list as before, which callers may have at hand.
            heap.extend(self._later.pop(self._open_key))
            heapify(heap)
        return found

    def entries(self) -> list[TimerEntry]:
        """All entries in the order they will come up, for a snapshot."""
        return sorted([*self.heap, *(entry for bucket in self._later.values() for entry in bucket)])

    def clear(self) -> None:
        """Forget every entry."""
        self.heap.clear()
        self._later.clear()
        self._keys.clear()
