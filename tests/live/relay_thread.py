"""A mock relay in a thread of its own, for code that runs an event loop by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mockrelay.server import MockRelay
from tests.mockrelay.live_support import serving

TOKEN = "let-me"


@contextmanager
def served(*users: str, **options: Any) -> Iterator[MockRelay]:
    """A relay on free ports whose admin token is ``TOKEN``."""
    ready = threading.Event()
    found: list[MockRelay] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def body() -> None:
        ending = asyncio.Event()
        stop.append((asyncio.get_running_loop(), ending))
        async with serving(*users, admin_token=TOKEN, **options) as relay:
            found.append(relay)
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: asyncio.run(body()), daemon=True)
    thread.start()
    try:
        assert ready.wait(20), "the relay does not start"
        yield found[0]
    finally:
        loop, ending = stop[0]
        loop.call_soon_threadsafe(ending.set)
        thread.join(20)
