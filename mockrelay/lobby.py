"""The connections whose upgrade request is not whole yet: so many, and no more.

The law of this file: whoever is quick is served. A peer that opens connections and sends nothing, or a byte now and
then, holds each of them until its time is up; where too many do, the one that has waited longest goes first, so that
a newcomer who sends its request at once finds room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Guest(Protocol):
    """A connection that waits."""

    def turn_out(self) -> None:
        """It has waited longest, and its place is needed."""
        ...


class Lobby:
    """Those who wait, oldest first."""

    def __init__(self, max_guests: int = 1_000, timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s
        """How long one may wait."""
        self.count: Callable[[str], None] = lambda name: None
        """Told what happens here: ``handshakes.dropped``, ``upgrades.timeout``."""
        self._max_guests = max_guests
        self._guests: dict[Guest, None] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, guest: Guest) -> None:
        """A connection is open and has sent nothing yet."""
        if len(self._guests) >= self._max_guests:
            oldest = next(iter(self._guests))
            del self._guests[oldest]
            self.count("handshakes.dropped")
            oldest.turn_out()
        self._guests[guest] = None

    def leave(self, guest: Guest) -> None:
        """Its request is whole, or it is gone; also for one that is not here."""
        self._guests.pop(guest, None)
