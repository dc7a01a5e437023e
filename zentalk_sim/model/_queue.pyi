"""The queue in C, where it is built (see ``model.compiled``); the order and the errors are those of model/calendar.py.

Functions, not methods: compiled callers reach them without Python's calling convention (``_queue.h``).
"""

from typing import Any

class Queue:
    """Entries, and the instant of the one that was taken last."""

    def __new__(cls, start_us: int) -> Queue: ...

def push(queue: Queue, at_us: int, priority: int, kind: int, by: object, argument: object) -> bool:
    """Add an entry, run by an actor with a kind of 1 to 63 or by a function with none, 0; True.

    Raises ValueError for one before the present instant, OverflowError for what an entry cannot hold.
    """

def take(queue: Queue, end_us: int) -> bool:
    """Take the next entry, whose instant is the present from now on; False where there is none before ``end_us``."""

def taken_us(queue: Queue) -> int:
    """The instant of the entry taken last."""

def taken_kind(queue: Queue) -> int:
    """Its kind."""

def taken_by(queue: Queue) -> Any:
    """Its actor or function; to be asked for once."""

def taken_argument(queue: Queue) -> Any:
    """Its argument; to be asked for once."""

def next_us(queue: Queue) -> int | None:
    """The instant of the next entry."""

def set_now(queue: Queue, now_us: int) -> bool:
    """The present instant: nothing before it is left, and nothing can be scheduled there; True."""

def large_pages() -> bool:
    """Have Python's small objects lie in huge pages from now on (``_pages.h``); False where the system has none."""
