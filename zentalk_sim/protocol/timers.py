"""One heap of deadlines, lazily cancelled: a timer is dropped or pushed on when it comes up, not before.

Entries fall due by (instant, order of arming), which is a total order. Cancelling costs nothing: the
owner compares a field of its own when the timer fires. A face arms one timer of its own, at ``next_us()``.
"""

from __future__ import annotations

from heapq import heappop, heappush

TimerEntry = tuple[int, int, str, object]


class Timers:
    """A priority queue of (instant in µs, order, kind, key)."""

    __slots__ = ("_order", "heap")

    def __init__(self) -> None:
        self.heap: list[TimerEntry] = []
        """The entries as ``heapq`` orders them, for a look at the first; changed only by the methods."""
        self._order = 0

    def __len__(self) -> int:
        return len(self.heap)

    def arm(self, at_us: int, kind: str, key: object) -> None:
        """Have ``(kind, key)`` come up at ``at_us``."""
        self._order += 1
        heappush(self.heap, (at_us, self._order, kind, key))

    def next_us(self) -> int | None:
        """The earliest instant armed, or None."""
        return self.heap[0][0] if self.heap else None

    def pop(self) -> TimerEntry:
        """Take the earliest entry out. Raises IndexError where there is none."""
        return heappop(self.heap)

    def entries(self) -> list[TimerEntry]:
        """All entries in the order they will come up, for a snapshot."""
        return sorted(self.heap)

    def clear(self) -> None:
        """Forget every entry."""
        self.heap.clear()
