"""Receipts on their way out: MESSAGE_RECEIVED and MESSAGE_READ, first in first out while they cannot go (R-11.4).

A receipt has no acknowledgement. The last few are remembered so that one refused by a limit, or sent just before
the connection was lost, can go again; the relay ignores a receipt repeated (R-6.3).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from zentalk_sim.protocol.client_effects import Count, Effects
from zentalk_sim.protocol.client_host import TRANSIENT, Host
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.errors import RATE_LIMITED, SERVICE_UNAVAILABLE
from zentalk_sim.protocol.frames import MessageRead, MessageReceived, Payload
from zentalk_sim.protocol.timers import NEVER

RECEIVED: Final = "MESSAGE_RECEIVED"
READ: Final = "MESSAGE_READ"
MAX_RECENT: Final = 1_000
"""Receipts remembered until no error can come for them any more; a whole page may be refused at once."""
MAX_AGAIN: Final = 32
"""Reads that go again after the loss of a connection."""

Receipt = tuple[str, str]
"""(type, message id)"""
# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_CONNECTED: Final = ClientState.CONNECTED
_MESSAGE_RECEIVED: Final = MessageReceived
_MESSAGE_READ: Final = MessageRead


class Receipts:
    """The receipts of one client."""

    __slots__ = ("_away", "_drain_us", "_errors", "_host", "_paused", "_recent", "waiting")

    def __init__(self, host: Host) -> None:
        self._host = host
        self.waiting: deque[Receipt] | None = None
        self._recent: dict[str, tuple[str, str, int]] = {}
        self._paused: dict[str, int] = {}
        """Type → until when it may not be sent."""
        self._errors = 0
        self._away = 0
        self._drain_us = 0

    def add(self, kind: str, message_id: str, now: int, out: Effects) -> None:
        """Send a receipt, or have it wait. Only a read waits behind others: it is what the relay limits."""
        if self._host.state is _CONNECTED and self._open(kind, now) and not (self.waiting and kind == READ):
            self._send(kind, message_id, now, out)
            return
        # What waits behind another kind's pause is due from now on, not since whenever the last one was sent.
        self._drain_us = max(self._drain_us, now)
        waiting = self._queue()
        if len(waiting) >= self._host.config.queue.max_receipts:
            waiting.popleft()
            out.append(Count("receipts.dropped"))
        waiting.append((kind, message_id))

    def _queue(self) -> deque[Receipt]:
        if self.waiting is None:
            # Made when first needed: an empty deque takes 600 bytes.
            self.waiting = deque()
        return self.waiting

    def _open(self, kind: str, now: int) -> bool:
        return not self._paused or now >= self._paused.get(kind, 0)

    def _send(self, kind: str, message_id: str, now: int, out: Effects) -> None:
        payload: Payload = _MESSAGE_RECEIVED(message_id) if kind == RECEIVED else _MESSAGE_READ(message_id)
        frame_id = self._host.emit(kind, payload, now, out)
        if len(self._recent) >= MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        self._recent[frame_id] = (kind, message_id, now)

    def connected(self, now: int, out: Effects) -> None:
        """After AUTH_SUCCESS: what waits goes, one per drain interval."""
        self._errors = self._away = 0
        self._pump(now, out)

    def lost(self) -> None:
        """The connection is gone: reads sent just before may be lost with it and go again."""
        again = self._recent_reads()
        if again:
            self._queue().extendleft(reversed(again))
        self._recent.clear()

    def all(self) -> list[Receipt]:
        """What a snapshot keeps: reads sent just now, which may be lost with the application, and what waits."""
        return self._recent_reads() + list(self.waiting or ())

    def _recent_reads(self) -> list[Receipt]:
        recent = list(self._recent.values())[-MAX_AGAIN:]
        return [(kind, message_id) for kind, message_id, _ in recent if kind == READ]

    def forget(self, now: int) -> None:
        """Forget receipts sent so long ago that no error comes for them any more."""
        if not self._recent:
            return
        horizon = now - self._host.config.queue.ack_timeout_ms * 1000
        self._recent = {key: entry for key, entry in self._recent.items() if entry[2] > horizon}

    def refused(self, frame_id: str, code: str, pause_us: int, now: int, out: Effects) -> bool:
        """An ERROR for a receipt (R-11.5); False if it is none of ours."""
        entry = self._recent.pop(frame_id, None)
        if entry is None:
            return False
        kind, message_id, _ = entry
        if code == SERVICE_UNAVAILABLE:
            # The store is away for all: a confirmation that were given up would leave its copy unconfirmed for good.
            pause_us = self._host.backoff_us(self._away)
            self._away += 1
        elif code in TRANSIENT and self._errors < self._host.config.queue.max_retries:
            pause_us = self._host.backoff_us(self._errors)
            self._errors += 1
        elif code != RATE_LIMITED:
            out.append(Count("receipts.refused"))
            return True
        self._drain_us = max(self._drain_us, now)
        self._queue().appendleft((kind, message_id))
        self._paused[kind] = max(self._paused.get(kind, 0), now + pause_us)
        return True

    def _next(self) -> tuple[int, int] | None:
        """(instant, position in the queue) of the receipt that goes next."""
        best: tuple[int, int] | None = None
        seen: set[str] = set()
        for i, (kind, _) in enumerate(self.waiting or ()):
            if kind not in seen:
                seen.add(kind)
                due = max(self._drain_us, self._paused.get(kind, 0))
                if best is None or due < best[0]:
                    best = (due, i)
                if len(seen) == 2:
                    break
        return best

    def _pump(self, now: int, out: Effects) -> None:
        while (found := self._next()) is not None and found[0] <= now:
            waiting = self._queue()
            kind, message_id = waiting[found[1]]
            del waiting[found[1]]
            self._drain_us = now + self._host.config.queue.drain_interval_ms * 1000
            self._send(kind, message_id, now, out)

    def next_us(self) -> int:
        """When the next waiting receipt may go; NEVER without a connection."""
        if not self.waiting or self._host.state is not _CONNECTED:
            return NEVER
        found = self._next()
        return found[0] if found is not None else NEVER

    def fire(self, now: int, out: Effects) -> None:
        """Send what may go now."""
        if self._host.state is _CONNECTED:
            self._pump(now, out)
