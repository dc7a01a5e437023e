"""Apps in the relay's own process: their WebSockets are socket pairs, and a case knows when both sides are still."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from mockrelay.certify.drive import Json, LocalDrive
from mockrelay.certify.reference import ReferenceApp
from mockrelay.server import MockRelay
from tests.certify.still_loop import still_loop
from zentalk_sim.live.device import Direct
from zentalk_sim.live.socket import LiveSocket, Owner

Make = Callable[[Callable[[Json], None]], ReferenceApp]
HANGS_S = 300.0
"""What a step may take on a machine that is busy elsewhere; no verdict depends on it."""


class PairSocket(LiveSocket):
    """A WebSocket over a socket pair."""

    relay: MockRelay

    async def _dial(self) -> socket.socket:
        return await still_loop().pair(self.relay._connection)


class InProcess(Direct):
    """A way to a relay in this process."""

    def __init__(self, relay: MockRelay, ws_url: str, http_url: str) -> None:
        super().__init__(ws_url, http_url, None, None)
        self._socket = type("PairSocket", (PairSocket,), {"relay": relay})
        http = relay._http
        assert http is not None
        protocol = partial(http.config.http_protocol_class, http.config, http.server_state, {})
        still_loop().served[urlsplit(http_url).port or 0] = protocol

    def open(self, owner: Owner, query: str, closing_timeout_s: float) -> LiveSocket:
        """See Transport."""
        url = f"{self.ws_url}?{query}"
        found: LiveSocket = self._socket(owner, url, tls=None, origin=None, closing_timeout_s=closing_timeout_s)
        return found


class StillDrive(LocalDrive):
    """Drives an app of this process, on a ``StillLoop``."""

    def __init__(self, make: Make, relay: MockRelay) -> None:
        super().__init__(lambda report: self._placed(make(report), relay), HANGS_S)

    @staticmethod
    def _placed(app: ReferenceApp, relay: MockRelay) -> Any:
        app.transport = lambda ws_url, http_url: InProcess(relay, ws_url, http_url)
        app.turn = still_loop().still
        return app

    async def still(self) -> bool:
        """See Drive."""
        await still_loop().still()
        return True
