"""``GET /admin/events``: the journal as it is written, as server-sent events (the HTML standard, §9.2).

Each listener has a queue of its own; where it is full the oldest entries go, and an event ``dropped`` says how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mockrelay.http.bodies import ApiError, space_of, whole
from mockrelay.journal import Entry, Journal
from mockrelay.spaces import Space
from zentalk_sim.protocol.errors import SERVICE_UNAVAILABLE

_KEEP_ALIVE_S: Final = 15.0


class _Listener:
    """One stream's queue."""

    def __init__(self, journal: Journal, max_queued: int) -> None:
        self._journal = journal
        self._max_queued = max_queued
        self._queue: deque[Entry] = deque()
        self._news = asyncio.Event()
        self._dropped = 0
        journal.listeners.append(self.take)

    def take(self, entry: Entry) -> None:
        if len(self._queue) >= self._max_queued:
            self._queue.popleft()
            self._dropped += 1
            self._journal.count("events.dropped")
        self._queue.append(entry)
        self._news.set()

    async def next(self, closed: asyncio.Event) -> bytes | None:
        """What is to be written next; None when the space has ended."""
        if not self._queue:
            self._news.clear()
            waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(closed.wait())]
            try:
                await asyncio.wait(waits, timeout=_KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if closed.is_set() and not self._queue:
                return None
            if not self._queue:
                return b": quiet\n\n"
        parts: list[bytes] = []
        if self._dropped:
            parts.append(b'event: dropped\ndata: {"count":%d}\n\n' % self._dropped)
            self._dropped = 0
        while self._queue and len(parts) < 100:
            parts.append(_encoded(self._queue.popleft()))
        return b"".join(parts)

    def end(self) -> None:
        self._journal.listeners.remove(self.take)


def _encoded(entry: Entry) -> bytes:
    return b"id: %d\nevent: entry\ndata: %s\n\n" % (entry.n, msgspec.json.encode(entry.as_json()))


async def _stream(space: Space, after: int | None) -> AsyncIterator[bytes]:
    listener = _Listener(space.journal, space.bounds.event_queue)
    try:
        yield b": the journal, entry by entry\n\n"
        if after is not None:
            for entry in space.journal.entries(after)[-space.bounds.event_queue :]:
                yield _encoded(entry)
        while (chunk := await listener.next(space.faults.closed)) is not None:
            yield chunk
    finally:
        listener.end()


async def events(request: Request) -> Response:
    """Entries from now on; ``?after=N``, or the header ``Last-Event-ID``, asks for those kept above N first."""
    space = space_of(request)
    limit = space.bounds.event_listeners
    if sum(isinstance(getattr(take, "__self__", None), _Listener) for take in space.journal.listeners) >= limit:
        space.driver.count("events.refused")
        raise ApiError(503, SERVICE_UNAVAILABLE, f"at most {limit} listeners", limit=limit)
    text = request.query_params.get("after", request.headers.get("last-event-id"))
    after = None if text is None else whole(text, "after")
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_stream(space, after), 200, headers, "text/event-stream")


def routes() -> list[Route]:
    """The paths of this module."""
    return [Route("/admin/events", events, methods=["GET"])]
