"""The event loop of a relay that is a process of its own, and its garbage collector.

uvloop's where it is installed (``pip install zentalk-sim[fast]``), else asyncio's; ``MOCKRELAY_LOOP=asyncio`` insists.
A relay within another program takes that program's loop, and leaves its collector alone.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_YOUNG: Final = 5_000
"""How many more objects that may be part of a cycle are made than freed before the collector looks at these. Each look
costs as much an object; of few at a time nobody need wait long for its end."""
_OLDER: Final = 200
"""How many looks at the young there are to one at all that is left of these."""
_SELDOM: Final = 20
"""How many of those to one at everything."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop."""
    if os.environ.get("MOCKRELAY_LOOP") != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop
    return asyncio.new_event_loop


def run(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, on that loop."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)


def settle() -> None:
    """All that was made up to now stays: the collector need not look at it again, and looks seldom.

    What a relay makes a frame is freed by reference counts; cycles come with connections and errors.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _SELDOM)
