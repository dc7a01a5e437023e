"""The calendar on the queue in C; exists only where that is built, with the other compiled modules.

An entry costs a few dozen instructions and 32 bytes, and no object but its function and its argument. The order, the
errors and the counts are those of ``Calendar``, which is the definition; random ties are its own alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zentalk_sim.model._queue import (
    Queue,
    next_us,
    push,
    set_now,
    take,
    taken_argument,
    taken_by,
    taken_kind,
    taken_us,
)
from zentalk_sim.model.calendar import INPUT, TIMER, Actor, Calendar, Function, spread

_FOREVER: Final = (1 << 63) - 1


class NativeCalendar(Calendar):
    """See Calendar."""

    __slots__ = ("_entries",)

    def __init__(self, start_us: int) -> None:
        super().__init__(start_us)
        self._entries = Queue(start_us)

    def call_one(self, at_us: int, function: Function, argument: Any) -> None:
        """See Calendar."""
        push(self._entries, at_us, INPUT, 0, function, argument)

    def call_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """See Calendar."""
        if len(arguments) == 1:
            push(self._entries, at_us, INPUT, 0, function, arguments[0])
        else:
            push(self._entries, at_us, INPUT, 0, spread, (function, arguments))

    def timer_one(self, at_us: int, function: Function, argument: Any) -> None:
        """See Calendar."""
        push(self._entries, at_us, TIMER, 0, function, argument)

    def timer_at(self, at_us: int, function: Callable[..., object], *arguments: Any) -> None:
        """See Calendar."""
        if len(arguments) == 1:
            push(self._entries, at_us, TIMER, 0, function, arguments[0])
        else:
            push(self._entries, at_us, TIMER, 0, spread, (function, arguments))

    def input_for(self, at_us: int, actor: Actor, kind: int, argument: Any) -> None:
        """See Calendar."""
        push(self._entries, at_us, INPUT, kind, actor, argument)

    def input_of(self, owner: Actor, at_us: int, actor: Actor, kind: int, argument: Any) -> None:
        """See Calendar."""
        push(self._entries, at_us, INPUT, kind, actor, argument)

    def timer_for(self, at_us: int, actor: Actor, kind: int, argument: Any) -> None:
        """See Calendar."""
        push(self._entries, at_us, TIMER, kind, actor, argument)

    def event_at(self, at_us: int, priority: int, function: Function, event: Any) -> None:
        """See Calendar."""
        push(self._entries, at_us, priority, 0, function, event)

    def next_us(self) -> int | None:
        """See Calendar."""
        return next_us(self._entries)

    def step(self) -> bool:
        """See Calendar."""
        if not take(self._entries, _FOREVER):
            return False
        self.processed += 1
        self._run_taken()
        return True

    def run_until(self, end_us: int) -> None:
        """See Calendar."""
        self._run(end_us)
        self.now = max(self.now, end_us)
        set_now(self._entries, self.now)

    def _run(self, end_us: int) -> None:
        entries, processed = self._entries, 0
        try:
            while take(entries, end_us):
                processed += 1
                self._run_taken()
        finally:
            self.processed += processed

    def _run_taken(self) -> None:
        entries = self._entries
        self.now = taken_us(entries)
        kind = taken_kind(entries)
        if kind:
            actor: Actor = taken_by(entries)
            actor.act(kind, taken_argument(entries))
        else:
            function: Function = taken_by(entries)
            function(taken_argument(entries))
