"""What waits on its way in one direction of one connection: delays, reordering and a narrow bandwidth.

The law of this file: order is kept, as TCP keeps it, but for what was held back to be overtaken. All waiting is on the
space's clock; with a clock that stands still, nothing moves until it is advanced. Under a narrow bandwidth the bytes of
an item come through a slice at a time, each when its last byte would have come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from mockrelay.clock import ClockTimers

Action = Callable[[], None]
Write = Callable[[bytes], None]
_SLICES_PER_S: Final = 20
"""Under a narrow bandwidth something comes through this often, or a byte at a time where that is less often."""


class _Item:
    """What waits: an action, or bytes that are written bit by bit before it."""

    __slots__ = ("action", "bytes", "data", "due_us", "write")

    def __init__(self, due_us: int, size: int, action: Action, data: bytes = b"", write: Write | None = None) -> None:
        self.due_us = due_us
        """When it leaves, or its next slice does."""
        self.bytes = size
        """How many of its bytes wait."""
        self.action = action
        self.data = data
        """What is still to be written."""
        self.write = write


class Lane:
    """A first-in-first-out line whose items leave at their instants."""

    __slots__ = ("_after_run", "_bytes", "_held", "_last_due_us", "_now_us", "_queue", "_rate", "_timer", "_timers")

    def __init__(self, timers: ClockTimers, now_us: Callable[[], int], after_run: Action) -> None:
        """``after_run`` is told whenever items have left late, so that whoever paused for them can go on."""
        self._timers = timers
        self._now_us = now_us
        self._after_run = after_run
        self._queue: deque[_Item] = deque()
        self._bytes = 0
        self._held: list[tuple[int, Action]] = []
        self._last_due_us = 0
        self._rate: int | None = None
        self._timer: int | None = None

    @property
    def is_narrow(self) -> bool:
        """It has a bandwidth, so that bytes are better handed over with ``put_bytes``."""
        return self._rate is not None

    def waiting(self) -> tuple[int, int]:
        """Items and bytes that have not left."""
        return len(self._queue) + len(self._held), self._bytes

    def throttle(self, bytes_per_s: int) -> None:
        """From now on each item takes its bytes' time to pass."""
        self._rate = bytes_per_s

    def put(self, size: int, action: Action, delay_us: int = 0, *, is_frame: bool = True) -> None:
        """Let an item pass, ``delay_us`` from now at the earliest. A frame lets go what was held for it to overtake."""
        now = self._now_us()
        due = max(now + delay_us, self._last_due_us) + self._passing_us(size)
        self._last_due_us = due
        if due <= now and not self._queue:
            action()
        else:
            self._add(_Item(due, size, action))
        if is_frame and self._held:
            self.let_go()

    def put_bytes(self, data: bytes, write: Write, then: Action) -> None:
        """Let a frame's bytes pass at the lane's bandwidth: ``write`` is handed one slice after the other."""
        begin = max(self._now_us(), self._last_due_us)
        self._last_due_us = begin + self._passing_us(len(data))
        self._add(_Item(begin + self._passing_us(self._slice_bytes(data)), len(data), then, data, write))
        if self._held:
            self.let_go()

    def hold(self, size: int, action: Action) -> None:
        """Keep an item back until the next frame has passed."""
        self._held.append((size, action))
        self._bytes += size

    def let_go(self) -> None:
        """What is held passes now, in its order."""
        held, self._held = self._held, []
        for size, action in held:
            self._bytes -= size
            self.put(size, action, is_frame=False)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._queue.clear()
        self._held.clear()
        self._bytes = 0
        if self._timer is not None:
            self._timers.cancel(self._timer)
            self._timer = None

    def _passing_us(self, size: int) -> int:
        return 0 if self._rate is None else -(-size * 1_000_000 // self._rate)

    def _slice_bytes(self, data: bytes) -> int:
        return len(data) if self._rate is None else min(len(data), max(1, self._rate // _SLICES_PER_S))

    def _add(self, item: _Item) -> None:
        self._queue.append(item)
        self._bytes += item.bytes
        self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._queue:
            self._timer = self._timers.call_at(self._queue[0].due_us, self._run)

    def _run(self) -> None:
        self._timer = None
        now = self._now_us()
        while self._queue and self._queue[0].due_us <= now:
            item = self._queue[0]
            if item.write is not None and item.data:
                size = self._slice_bytes(item.data)
                piece, item.data = item.data[:size], item.data[size:]
                self._bytes -= size
                item.bytes -= size
                item.write(piece)
                if item.data and self._queue and self._queue[0] is item:
                    item.due_us += self._passing_us(self._slice_bytes(item.data))
                    continue
            # What was just done may have cleared the lane.
            if not self._queue or self._queue[0] is not item:
                break
            self._queue.popleft()
            self._bytes -= item.bytes
            item.action()
        self._arm()
        self._after_run()
