"""REST calls on their way to the core: the journal sees each of them here, and fault rules strike here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mockrelay.fault_engine import claims_of
from mockrelay.http.bodies import error_answer
from mockrelay.http.unreadable import JsonErrorsH11
from mockrelay.http_faults import refusal_of
from mockrelay.journal_entries import Party
from zentalk_sim.faults import verdicts as do
from zentalk_sim.protocol.errors import SERVICE_UNAVAILABLE
from zentalk_sim.protocol.identity import address_of
from zentalk_sim.protocol.rest_types import Request

if TYPE_CHECKING:
    from mockrelay.fault_engine import FaultEngine
    from mockrelay.journal import Journal

_MAX_KEPT_BYTES: Final = 65_536
"""A larger body, such as a picture's, is not kept in the journal."""
_TOKEN_PATH: Final = "/api/token"
_TRANSPORT: Final = "mockrelay.transport"


class _TokenAsked(msgspec.Struct):
    identity_key: bytes | None = None
    device_id: str | None = None


class ReachableH11(JsonErrorsH11):
    """uvicorn's HTTP/1.1, with the transport in reach of the application, so that a rule can reset it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        inner: Any = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_TRANSPORT] = transport
            await inner(scope, receive, send)

        self.app = app


class _Unanswered(Response):
    """No answer: the connection is reset, or at least ends, without one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        transport = scope.get("extensions", {}).get(_TRANSPORT)
        if transport is not None:
            sock = transport.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError, TypeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        await super().__call__(scope, receive, send)


async def answered(
    faults: FaultEngine,
    journal: Journal,
    request: HttpRequest,
    asked: Request,
    go_on: Callable[[], Awaitable[Response]],
) -> Response:
    """The answer to a REST call: what the rules make of it, or else what ``go_on``, the core's part, gives."""
    body = asked.body if isinstance(asked.body, bytes) else None
    party = Party(None, *(_who_asks_for_a_token(body) if asked.path == _TOKEN_PATH else claims_of(asked.bearer)))
    firing = faults.at_rest(party, asked.method, asked.path, body)
    facts: dict[str, Any] = {"method": asked.method, "path": asked.path}
    kept = body if body is None or len(body) <= _MAX_KEPT_BYTES else None
    journal.write("rest", party, kept, firing=firing, facts=facts)
    if firing is not None:
        refusal = refusal_of(firing)
        if refusal is not None:
            facts["status"] = refusal.status
            answer = error_answer(refusal.status, refusal.error_code, refusal.message, **refusal.details)
            answer.headers.update(refusal.headers)
            return answer
        verdict = firing.verdict
        if isinstance(verdict, do.Stall) or (isinstance(verdict, do.Delay) and not await _waited(faults, verdict)):
            return await _stalled(faults, request)
        if isinstance(verdict, do.Abort):
            return _Unanswered()
    response = await go_on()
    facts["status"] = response.status_code
    return response


def _who_asks_for_a_token(body: bytes | None) -> tuple[str | None, str | None]:
    """Address and device of ``POST /api/token``, which has no bearer; nothing is checked here."""
    try:
        asked = msgspec.json.decode(body or b"{}", type=_TokenAsked)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None, None
    key = asked.identity_key
    return (address_of(key) if key is not None and len(key) == 32 else None), asked.device_id


async def _waited(faults: FaultEngine, verdict: do.Delay) -> bool:
    """Wait by the space's clock; False where the space ended meanwhile."""
    due = asyncio.Event()
    timer = faults.timers.call_at(faults.now_us + verdict.ms * 1000, due.set)
    waits = [asyncio.ensure_future(event.wait()) for event in (due, faults.closed)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        faults.timers.cancel(timer)
        for wait in waits:
            wait.cancel()
    return due.is_set()


async def _stalled(faults: FaultEngine, request: HttpRequest) -> Response:
    """Never answer: wait until the client goes away, or the space ends."""
    gone = asyncio.ensure_future(_gone(request))
    ended = asyncio.ensure_future(faults.closed.wait())
    try:
        await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        ended.cancel()
    return error_answer(503, SERVICE_UNAVAILABLE, "the relay ended while a rule had stalled this request")


async def _gone(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


__all__ = ["ReachableH11", "answered"]
