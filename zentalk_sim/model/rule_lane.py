"""What fault rules hold back in one direction of one connection at its node: delays, reordering, a narrow bandwidth.

The law: order is kept, as TCP keeps it, but for what was held back to be overtaken. Under a narrow bandwidth an item
passes when its last byte would have come. All by simulated time; what leaves at an instant leaves before its timers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zentalk_sim.model.calendar import Calendar

Action = Callable[[], Any]


class Lane:
    """A first-in-first-out line whose items leave at their instants."""

    __slots__ = ("_after_run", "_bytes", "_held", "_kernel", "_last_due_us", "_queue", "_rate", "_turn")

    def __init__(self, kernel: Calendar, after_run: Action) -> None:
        """``after_run`` is told once all that leaves late at an instant has left, so that reading can go on."""
        self._kernel = kernel
        self._after_run = after_run
        self._queue: deque[tuple[int, int, Action]] = deque()
        """When each leaves, its bytes, and what then happens."""
        self._held: list[tuple[int, Action]] = []
        self._bytes = 0
        self._last_due_us = 0
        self._rate: int | None = None
        self._turn = 0
        """Counts clearings: an entry of the kernel's that was made before is void."""

    def waiting(self) -> tuple[int, int]:
        """Items and bytes that have not left."""
        return len(self._queue) + len(self._held), self._bytes

    def throttle(self, bytes_per_s: int) -> None:
        """From now on each item takes its bytes' time to pass."""
        self._rate = bytes_per_s

    def put(self, size: int, action: Action, delay_us: int = 0, *, is_frame: bool = True) -> None:
        """Let an item pass, ``delay_us`` from now at the earliest. A frame lets go what was held for it to overtake."""
        now: int = self._kernel.now
        due_us = max(now + delay_us, self._last_due_us) + self._passing_us(size)
        self._last_due_us = due_us
        if due_us <= now and not self._queue:
            action()
        else:
            self._queue.append((due_us, size, action))
            self._bytes += size
            self._kernel.call_at(due_us, self._run, self._turn)
        if is_frame:
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
        self._turn += 1
        self._queue.clear()
        self._held.clear()
        self._bytes = 0

    def _passing_us(self, size: int) -> int:
        return 0 if self._rate is None else -(-size * 1_000_000 // self._rate)

    def _run(self, turn: int) -> None:
        """One item's instant has come. Each has an entry of its own, so none is late."""
        if turn != self._turn or not self._queue:
            return
        _, size, action = self._queue.popleft()
        self._bytes -= size
        action()
        if not self._queue or self._queue[0][0] > self._kernel.now:
            self._after_run()
