"""A device's REST side: requests of its client core over one kept-alive connection, and its application's tokens.

A mixin of Device, which keeps the state; here is what becomes of requests and their answers.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import msgspec

from zentalk_sim.model.calendar import Actor
from zentalk_sim.model.rest_line import TOKEN_PATH, RestLine
from zentalk_sim.protocol.client_effects import Fetch, NeedToken

if TYPE_CHECKING:
    from zentalk_sim.model.calendar import Calendar
    from zentalk_sim.model.world import World
    from zentalk_sim.protocol.client import Client

TOKEN_RETRY_US = 5_000_000
"""How long an application waits before it asks for a token again after a failure."""


class RestCalls(Actor):
    """What Device does over REST."""

    __slots__ = ("_token_asked", "client", "kernel", "offline", "rest", "world")

    world: World
    offline: int
    rest: RestLine | None
    client: Client
    kernel: Calendar
    _token_asked: bool

    @abstractmethod
    def now(self) -> int:
        """The time as the device has it."""

    @abstractmethod
    def apply(self, effects: list[Any]) -> None:
        """Do what the client core asks."""

    def _fetch(self, effect: Fetch) -> None:
        def answered(status: int, body: Any) -> None:
            self.apply(self.client.receive_response(effect.fetch, status, body, self.now()))

        self._rest_line().request(effect.method, effect.path, self.client.token, effect.body, answered)

    def _rest_line(self) -> RestLine:
        line = self.rest
        if line is None or not line.usable(self.kernel.now):
            if line is not None:
                line.abandon()
            line = self.rest = self.world.rest_line_type(self)  # type: ignore[arg-type]
            line.open()
        return line

    def _need_token(self, effect: NeedToken) -> None:
        """The application asks the relay for a new connection token (R-3.3), one request at a time."""
        if not self._token_asked:
            self._token_asked = True
            self._ask_token()

    def _ask_token(self) -> None:
        if self.offline:
            # Whoever comes back connects anew, and learns anew that the token is no longer good.
            self._token_asked = False
            return
        body = self.client.token_request(self.now())
        self._rest_line().request("POST", TOKEN_PATH, None, body, self._token_answered)

    def token_request_lost(self) -> None:
        """The connection that carried the request was given up."""
        self.kernel.timer_at(self.kernel.now + TOKEN_RETRY_US, self._ask_token)

    def _token_answered(self, status: int, body: Any) -> None:
        if status != 200:
            self.token_request_lost()
            return
        self._token_asked = False
        found = msgspec.json.decode(body) if isinstance(body, bytes) else msgspec.to_builtins(body)
        self.apply(self.client.renew_token(found["token"], self.now()))
