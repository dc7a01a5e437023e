"""A device's REST connection: HTTP/1.1 kept alive over its own TCP and TLS, one request after another.

A line that has been idle for ``KEEP_ALIVE_US`` is closed. Bodies travel as objects in fidelity ``frames`` and as JSON
in ``wire``; a request that the connection's loss leaves unanswered is reported with status 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from zentalk_sim.model.line import TLS_RECORD_BYTES, Line
from zentalk_sim.protocol.errors import SERVICE_UNAVAILABLE
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.upgrade import parse_target

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device

KEEP_ALIVE_US = 15_000_000
REQUEST_BYTES = 260
"""Request line and headers without path, bearer and body."""
RESPONSE_BYTES = 240
TOKEN_PATH = "/api/token"
_FULL = {
    "error_code": SERVICE_UNAVAILABLE,
    "message": "the node's memory is full",
    "details": {"retry_after": 1},
}

Answered = Callable[[int, Any], None]


class RestLine(Line):
    """One connection for requests. ``answered`` is called with status and body, once for each request."""

    __slots__ = ("_next", "_ready", "_used_us", "_waiting")

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._next = 0
        self._ready = False
        self._used_us = self.start_us
        self._waiting: dict[int, tuple[Request, int, Answered, int]] = {}
        """Requests not yet answered, in order: with size, whom to tell, and when they were made."""

    def usable(self, now_us: int) -> bool:
        """Whether one more request may go over it."""
        if self.over:
            return False
        if not self._waiting:
            return now_us - self._used_us <= KEEP_ALIVE_US
        # A request that the client has given up on: as HTTP clients do, the connection goes with it.
        oldest_us = next(iter(self._waiting.values()))[3]
        return now_us - oldest_us < self.device.client.config.fetch_timeout_ms * 1000

    def request(self, method: str, target: str, bearer: str | None, body: bytes | None, answered: Answered) -> None:
        """Send a request, at once or when the connection is ready."""
        path, query = parse_target(target)
        size = REQUEST_BYTES + TLS_RECORD_BYTES + len(target) + len(bearer or "") + len(body or b"")
        self._next += 1
        self._used_us = self.kernel.now
        request = Request(method, path, query, bearer, body, self.device.ip)
        self._waiting[self._next] = (request, size, answered, self._used_us)
        if self._ready:
            self.up(size, self._at_node, self._next, request)

    def secured(self) -> None:
        self._ready = True
        for number, (request, size, _, _) in self._waiting.items():
            self.up(size, self._at_node, number, request)

    def _at_node(self, number: int, request: Request) -> None:
        node = self.node
        assert node is not None
        if not self._counted:
            return  # It was turned away at its first request; this one was on its way by then.
        self._last_done_us = node.work(
            self.epoch, node.costs.frame_us, self._last_done_us, node.handle_request, self, number, request
        )

    def respond(self, number: int, status: int, body: Any) -> None:
        """The relay has answered."""
        encoded = None
        if self.device.world.wire or self.device.needs_size or self.holds:
            encoded = msgspec.json.encode(body) if body is not None else b""
        size = RESPONSE_BYTES + TLS_RECORD_BYTES + len(encoded or b"")
        self.down(size, self._answer, number, status, encoded if self.device.world.wire else body)

    @staticmethod
    def is_first(number: int) -> bool:
        """Whether that is a connection's first request: only there may a full node turn the connection away."""
        return number == 1

    def refused(self, number: int) -> None:
        """The node has no memory for one more connection: 503, and the connection is over."""
        self.release_node()
        encoded = msgspec.json.encode(_FULL)
        size = RESPONSE_BYTES + TLS_RECORD_BYTES + len(encoded)
        self.down(size, self._was_refused, number, encoded if self.device.world.wire else _FULL)

    def _was_refused(self, number: int, body: Any) -> None:
        found = self._waiting.pop(number, None)
        self.failed("http_503")
        if found is not None:
            found[2](503, body)

    def _answer(self, number: int, status: int, body: Any) -> None:
        found = self._waiting.pop(number, None)
        self._used_us = self.kernel.now
        if found is not None:
            found[2](status, body)
        if not self._waiting and not self.over:
            self.kernel.timer_at(self._used_us + KEEP_ALIVE_US, self._idle, self._used_us)

    def _idle(self, since_us: int) -> None:
        """Nothing was asked since: the device closes the connection."""
        if since_us == self._used_us and not self._waiting and not self.over:
            self.up(TLS_RECORD_BYTES, self.gone, "idle")
            self.over = True
            self.device.rest_line_over(self)

    def abandon(self) -> None:
        """The device lets go of the connection; nothing of it is reported to its client any more."""
        if not self.over:
            self.over = True
            waiting, self._waiting = self._waiting, {}
            self.reset_up("client_aborted")
            self.tcp.close()
            if any(request.path == TOKEN_PATH for request, _, _, _ in waiting.values()):
                self.device.token_request_lost()

    def gone(self, cause: str) -> None:
        """The node's host has dropped the connection."""
        self.release_node()

    def failed(self, cause: str) -> None:
        """RST or a refused SYN: what was asked is not answered."""
        if not self.over:
            self.over = True
            self.device.rest_line_over(self)
            self.tcp.close()
            waiting, self._waiting = self._waiting, {}
            for _, _, answered, _ in waiting.values():
                answered(0, b"")
