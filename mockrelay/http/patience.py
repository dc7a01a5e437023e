"""uvicorn's HTTP/1.1 for peers that take their time: a request that does not come ends its connection.

The law of this file: a request's head must be whole within the lobby's time-out, however its bytes are spread, and of
its body something must come in that time. Connections that wait for a head are bounded in number, as those of the
WebSocket port are. One whose request is being answered has all the time that the answer takes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11

from mockrelay.http.rest_faults import ReachableH11
from mockrelay.lobby import Lobby

_SLOW: Final = "http.timeout"


def patient(lobby: Lobby) -> type[PatientH11]:
    """The protocol with this lobby."""
    return type("PatientH11", (PatientH11,), {"lobby": lobby})


class PatientH11(ReachableH11):
    """One connection of the HTTP port."""

    lobby: Lobby
    _deadline: asyncio.TimerHandle | None = None
    _waits_for_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        state: Any = self.conn.their_state
        if state is h11.IDLE:
            if not self._waits_for_head:
                self._expect_head()
            return
        self._came()
        if state is h11.SEND_BODY:
            self._deadline = self.loop.call_later(self.lobby.timeout_s, self._timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._came()
        super().connection_lost(exc)

    def turn_out(self) -> None:
        """See ``lobby.Guest``."""
        self._came()
        self.transport.abort()

    def _expect_head(self) -> None:
        self._came()
        self._waits_for_head = True
        self._deadline = self.loop.call_later(self.lobby.timeout_s, self._timed_out)
        self.lobby.enter(self)

    def _came(self) -> None:
        if self._waits_for_head:
            self._waits_for_head = False
            self.lobby.leave(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _timed_out(self) -> None:
        self.lobby.count(_SLOW)
        self.turn_out()
