"""What waits on its way in one direction of one connection: delays, reordering and a narrow bandwidth.

The law of this file: order is kept, as TCP keeps it, but for what was held back to be overtaken. All waiting is on the
space's clock; with a clock that stands still, nothing moves until it is advanced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mockrelay.clock import ClockTimers

Action = Callable[[], None]


class Lane:
    """A first-in-first-out line whose items leave at their instants."""

    __slots__ = ("_after_run", "_bytes", "_held", "_last_due_us", "_now_us", "_queue", "_rate", "_timer", "_timers")

    def __init__(self, timers: ClockTimers, now_us: Callable[[], int], after_run: Action) -> None:
        """``after_run`` is told whenever items have left late, so that whoever paused for them can go on."""
        self._timers = timers
        self._now_us = now_us
        self._after_run = after_run
        self._queue: deque[tuple[int, int, Action]] = deque()
        self._bytes = 0
        self._held: list[tuple[int, Action]] = []
        self._last_due_us = 0
        self._rate: int | None = None
        self._timer: int | None = None

    def waiting(self) -> tuple[int, int]:
        """Items and bytes that have not left."""
        return len(self._queue) + len(self._held), self._bytes

    def throttle(self, bytes_per_s: int) -> None:
        """From now on each item takes its bytes' time to pass."""
        self._rate = bytes_per_s

    def put(self, size: int, action: Action, delay_us: int = 0, *, is_frame: bool = True) -> None:
        """Let an item pass, ``delay_us`` from now at the earliest. A frame lets go what was held for it to overtake."""
        now = self._now_us()
        due = max(now + delay_us, self._last_due_us)
        if self._rate is not None:
            due += -(-size * 1_000_000 // self._rate)
        self._last_due_us = due
        if due <= now and not self._queue:
            action()
        else:
            self._queue.append((due, size, action))
            self._bytes += size
            self._arm()
        if is_frame and self._held:
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

    def _arm(self) -> None:
        if self._timer is None and self._queue:
            self._timer = self._timers.call_at(self._queue[0][0], self._run)

    def _run(self) -> None:
        self._timer = None
        now = self._now_us()
        while self._queue and self._queue[0][0] <= now:
            _, size, action = self._queue.popleft()
            self._bytes -= size
            action()
        self._arm()
        self._after_run()
