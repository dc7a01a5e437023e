"""uvicorn's HTTP/1.1 for peers that take their time: a request that does not come ends its connection.

The law of this file: a request's head must be whole within the lobby's time-out, however its bytes are spread. A body
must be whole within the same time, or have brought its least rate's worth of bytes, and so on in each such span after
it: one that trickles ends, one that a slow line brings does not. While we do not read, nothing is wanted. Connections
that wait for a head are bounded in number, as those of the WebSocket port are. One whose request is being answered has
all the time that the answer takes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11

from mockrelay.http.rest_faults import ReachableH11
from mockrelay.lobby import Lobby

_SLOW: Final = "http.timeout"


def patient(lobby: Lobby, body_bytes_per_s: int) -> type[PatientH11]:
    """The protocol with this lobby, whose bodies come at this rate at least, in bytes per second."""
    return type("PatientH11", (PatientH11,), {"lobby": lobby, "body_bytes_per_s": body_bytes_per_s})


class PatientH11(ReachableH11):
    """One connection of the HTTP port."""

    lobby: Lobby
    body_bytes_per_s: int
    _deadline: asyncio.TimerHandle | None = None
    _waits_for_head = False
    _waits_for_body = False
    _body_bytes = 0
    """Received in the present span, the request's head among it where it came with the first of them."""

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
        elif state is h11.SEND_BODY:
            if not self._waits_for_body:
                self._expect_body()
            self._body_bytes += len(data)
        else:
            self._came()

    def on_response_complete(self) -> None:
        """See uvicorn's: a request that was sent behind the last one begins here, with no byte more of it to come."""
        super().on_response_complete()
        state: Any = self.conn.their_state
        if state is h11.SEND_BODY and not self.transport.is_closing():
            self._expect_body()

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

    def _expect_body(self) -> None:
        self._came()
        self._waits_for_body = True
        self._body_bytes = 0
        self._deadline = self.loop.call_later(self.lobby.timeout_s, self._body_due)

    def _body_due(self) -> None:
        if self._body_bytes >= self.body_bytes_per_s * self.lobby.timeout_s or self.flow.read_paused:
            self._expect_body()
        else:
            self._timed_out()

    def _came(self) -> None:
        self._waits_for_body = False
        if self._waits_for_head:
            self._waits_for_head = False
            self.lobby.leave(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _timed_out(self) -> None:
        self.lobby.count(_SLOW)
        self.turn_out()
