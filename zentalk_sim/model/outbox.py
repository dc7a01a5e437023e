"""What a node could not yet send on one connection (R-12.4): how many frames and bytes, and when they will have gone.

The law: what arrives within a round trip of its sending is in flight, and the host's send buffer has it. What takes
longer waits in the outbox until one round trip before its arrival, whether a slow link, a repair ahead of it or a
closed path holds it up. What a closed path holds has no such instant until the path opens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Outbox:
    """The frames of one connection that wait at its node."""

    __slots__ = ("_held", "_held_bytes", "_waiting", "_waiting_bytes")

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int]] = deque()
        """When each frame is on its way, and its size; the instants rise, since no frame overtakes another."""
        self._waiting_bytes = 0
        self._held: deque[int] = deque()
        """Sizes of what a closed path holds, in order."""
        self._held_bytes = 0

    def add(self, leaves_us: int, size_bytes: int) -> None:
        """A frame waits until ``leaves_us``."""
        self._waiting.append((leaves_us, size_bytes))
        self._waiting_bytes += size_bytes

    def hold(self, size_bytes: int) -> None:
        """A frame waits for the path to open."""
        self._held.append(size_bytes)
        self._held_bytes += size_bytes

    def release(self, leaves_us: Iterable[int]) -> None:
        """The path has opened: when each of the first frames held leaves."""
        for at_us in leaves_us:
            if not self._held:
                return
            size_bytes = self._held.popleft()
            self._held_bytes -= size_bytes
            self.add(at_us, size_bytes)

    def load(self, now_us: int) -> tuple[int, int]:
        """Frames and bytes that wait now."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_us:
            self._waiting_bytes -= waiting.popleft()[1]
        return len(waiting) + len(self._held), self._waiting_bytes + self._held_bytes

    def falls_to_us(self, frames: int, size_bytes: int) -> int | None:
        """When no more than so many frames and bytes are left, if none comes; None: not before the path opens."""
        frames -= len(self._held)
        size_bytes -= self._held_bytes
        if frames < 0 or size_bytes < 0:
            return None
        left, left_bytes = len(self._waiting), self._waiting_bytes
        at_us = 0
        for leaves_us, size in self._waiting:
            if left <= frames and left_bytes <= size_bytes:
                break
            at_us = leaves_us
            left -= 1
            left_bytes -= size
        return at_us
