"""What a relay node is to do when: deadlines of its connections, and whatever else falls due once.

Everything comes up in one total order: by instant; at the same instant the time-outs of PINGs first, in the order of
sending, then all else in the order of arming. ``first_us`` says when the next does; a face arms one timer of its own.

A connection stands for its PONG's time-out, and once more for the earliest of its other deadlines. Nearly all of these
are the same span ahead, so that they are armed in the order in which they fall due: two lists that the connections
themselves are the links of, to which one is added at the end, and out of which one is taken from anywhere, at no more
than some assignments. What would fall due before the end of its list, and all that is no connection's, goes through a
heap, in which an entry is not cancelled but dropped when it comes up.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from zentalk_sim.protocol.connection import Connection

TimerEntry = tuple[int, int, str, Any]
"""Instant in µs, order of arming, kind and key; of kind ``conn`` the key is the connection."""
NEVER: Final = (1 << 62) - 1
"""An instant after all others: of a timer that is not armed. No larger, so that compiled code holds it in a word."""
_SHIFT: Final = 18
"""Buckets of 2^18 µs, about a quarter of a second."""


class Timers:
    """All timers of a node."""

    __slots__ = (
        "_first",
        "_first_pong",
        "_heap",
        "_heap_us",
        "_keys",
        "_last",
        "_last_pong",
        "_later",
        "_open_key",
        "_order",
        "first_us",
    )

    def __init__(self) -> None:
        self.first_us: int = NEVER
        """The earliest instant armed, or NEVER; not to be changed."""
        self._order = 0
        self._first: Connection | None = None
        self._last: Connection | None = None
        self._first_pong: Connection | None = None
        self._last_pong: Connection | None = None
        # The nearest entries are a heap, empty only where there is none at all; the others wait in buckets by instant,
        # so that ten thousand of them do not make each arming a search through all.
        self._heap: list[TimerEntry] = []
        self._heap_us: int = NEVER
        self._open_key = 0
        """Of the last bucket whose entries are in the heap."""
        self._later: dict[int, list[TimerEntry]] = {}
        self._keys: list[int] = []

    def __del__(self) -> None:
        # Connections refer to one another here; where garbage is not collected, nothing else would free them.
        self.clear()

    # --- arming --------------------------------------------------------------------------------------

    def arm(self, at_us: int, kind: str, key: object) -> None:
        """Have ``(kind, key)`` come up at ``at_us``."""
        self._order += 1
        self._push(at_us, kind, key)

    def arm_connection(self, conn: Connection, at_us: int) -> None:
        """Have a connection come up at ``at_us``, and no more when it was to until now."""
        stood_us = conn.armed_us
        self._disarm(conn)
        self._order += 1
        conn.armed_us = at_us
        conn.armed_order = self._order
        last = self._last
        if last is None:
            self._first = self._last = conn
        elif at_us >= last.armed_us:
            last.armed_after = conn
            conn.armed_before = last
            self._last = conn
        else:
            self._push(at_us, "conn", conn)
        if at_us < self.first_us:
            self.first_us = at_us
        elif stood_us == self.first_us:
            self._find_first()

    def await_pong(self, conn: Connection, at_us: int) -> None:
        """Have a connection come up at ``at_us`` unless ``end_pong_wait`` comes first."""
        self.end_pong_wait(conn)
        conn.pong_due_us = at_us
        before = self._last_pong
        while before is not None and before.pong_due_us > at_us:
            # Only where the time-out has been made shorter meanwhile.
            before = before.pong_before
        after = self._first_pong if before is None else before.pong_after
        conn.pong_before = before
        conn.pong_after = after
        if before is None:
            self._first_pong = conn
        else:
            before.pong_after = conn
        if after is None:
            self._last_pong = conn
        else:
            after.pong_before = conn
        if at_us < self.first_us:
            self.first_us = at_us

    def end_pong_wait(self, conn: Connection) -> None:
        """The PONG has come, or its time-out."""
        at_us = conn.pong_due_us
        if at_us == NEVER:
            return
        conn.pong_due_us = NEVER
        before = conn.pong_before
        after = conn.pong_after
        if before is None:
            self._first_pong = after
        else:
            before.pong_after = after
            conn.pong_before = None
        if after is None:
            self._last_pong = before
        else:
            after.pong_before = before
            conn.pong_after = None
        if at_us == self.first_us:
            self._find_first()

    def drop(self, conn: Connection) -> None:
        """Nothing of a connection comes up any more."""
        self.end_pong_wait(conn)
        at_us = conn.armed_us
        self._disarm(conn)
        if at_us == self.first_us:
            self._find_first()

    def clear(self) -> None:
        """Forget everything."""
        while self._first_pong is not None:
            self.end_pong_wait(self._first_pong)
        while self._first is not None:
            self._disarm(self._first)
        self._heap.clear()
        self._later.clear()
        self._keys.clear()
        self._heap_us = self.first_us = NEVER

    # --- coming up -----------------------------------------------------------------------------------

    def take_connection(self) -> Connection | None:
        """The connection that comes up at ``first_us``; None where something else does, see ``take``.

        One whose PONG is overdue comes up until ``end_pong_wait``.
        """
        at_us = self.first_us
        found = self._first_pong
        if found is not None and found.pong_due_us == at_us:
            return found
        found = self._first
        if found is None or found.armed_us != at_us or (self._heap_us == at_us and self._is_before(found)):
            if not self._heap or self._heap[0][2] != "conn":
                return None
            found = self._pop()[3]
            assert found is not None
        self._disarm(found)
        self._find_first()
        return found

    def take(self) -> TimerEntry:
        """Take out what comes up first and is no connection's. Raises IndexError where there is none."""
        found = self._pop()
        self._find_first()
        return found

    def entries(self) -> list[tuple[int, str, Any]]:
        """Instant, kind and key of all, in their order, for a snapshot; ``pong`` and ``conn`` with the connection."""
        found: list[tuple[int, str, Any]] = []
        waiting = self._first_pong
        while waiting is not None:
            found.append((waiting.pong_due_us, "pong", waiting))
            waiting = waiting.pong_after
        others = [entry for bucket in (self._heap, *self._later.values()) for entry in bucket if not _is_stale(entry)]
        armed = self._first
        while armed is not None:
            others.append((armed.armed_us, armed.armed_order, "conn", armed))
            armed = armed.armed_after
        others.sort(key=lambda entry: entry[:2])
        return found + [(at_us, kind, key) for at_us, _, kind, key in others]

    # --- the list of connections, and the heap -----------------------------------------------------------

    def _is_before(self, conn: Connection) -> bool:
        """Whether the heap's first entry, due at the same instant, was armed earlier."""
        return self._heap[0][1] < conn.armed_order

    def _disarm(self, conn: Connection) -> None:
        if conn.armed_us == NEVER:
            return
        conn.armed_us = NEVER
        before = conn.armed_before
        after = conn.armed_after
        if before is not None:
            before.armed_after = after
            conn.armed_before = None
        elif self._first is conn:
            self._first = after
        else:
            # It is in the heap.
            return
        if after is None:
            self._last = before
        else:
            after.armed_before = before
            conn.armed_after = None

    def _find_first(self) -> None:
        first_us: int = NEVER
        conn = self._first_pong
        if conn is not None:
            first_us = conn.pong_due_us
        conn = self._first
        if conn is not None and conn.armed_us < first_us:
            first_us = conn.armed_us
        while self._heap_us <= first_us and self._heap:
            if not _is_stale(self._heap[0]):
                first_us = self._heap_us
                break
            self._pop()
        self.first_us = first_us

    def _push(self, at_us: int, kind: str, key: object) -> None:
        bucket_key = at_us >> _SHIFT
        if not self._heap:
            self._open_key = bucket_key
        elif bucket_key > self._open_key:
            bucket = self._later.get(bucket_key)
            if bucket is None:
                self._later[bucket_key] = [(at_us, self._order, kind, key)]
                heappush(self._keys, bucket_key)
            else:
                bucket.append((at_us, self._order, kind, key))
            return
        heappush(self._heap, (at_us, self._order, kind, key))
        if at_us < self._heap_us:
            self._heap_us = at_us
            if at_us < self.first_us:
                self.first_us = at_us

    def _pop(self) -> TimerEntry:
        heap = self._heap
        found = heappop(heap)
        if not heap and self._keys:
            self._open_key = heappop(self._keys)
            heap.extend(self._later.pop(self._open_key))
            heapify(heap)
        self._heap_us = heap[0][0] if heap else NEVER
        return found


def _is_stale(entry: TimerEntry) -> bool:
    """Whether the connection of an entry was armed anew, or dropped, since."""
    at_us, order, kind, key = entry
    if kind != "conn":
        return False
    conn: Connection = key
    return conn.armed_us != at_us or conn.armed_order != order
