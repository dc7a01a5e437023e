"""The relay's HTTP application: ``/api`` answered by the core, health, keys, and ``/admin``.

Every error is JSON, ``{"error_code", "message", "details"}``. CORS stands on ``/api`` alone and for admitted
origins alone, so that no other page can read an answer; never on ``/admin``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mockrelay.driver import Driver
from mockrelay.http.control import Control
from zentalk_sim.protocol.errors import FORBIDDEN, INTERNAL_ERROR, INVALID_MESSAGE, NOT_FOUND, TOO_LARGE
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.upgrade import UpgradeRequest, host_name, origin_admitted, parse_target, peer_ip

MAX_BODY_BYTES: Final = 1 << 20
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_ERROR_CODES: Final = {404: NOT_FOUND, 405: INVALID_MESSAGE, 413: TOO_LARGE, 500: INTERNAL_ERROR}
_HSTS_HOST: Final = "relay.zentalk.network"


def json_response(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer; bytes in it become base64. None is an empty body."""
    content = b"" if body is None else msgspec.json.encode(body)
    kind = None if body is None else "application/json"
    return Response(content, status, {"Cache-Control": "no-store", **(headers or {})}, kind)


def error_response(status: int, error_code: str, message: str, **details: Any) -> Response:
    """An error as all of the relay's are."""
    return json_response(status, {"error_code": error_code, "message": message, "details": details})


class TooLarge(Exception):
    """A body above the bound."""


async def read_body(request: HttpRequest, limit: int = MAX_BODY_BYTES) -> bytes | None:
    """The body, or None where there is none. Raises TooLarge as soon as it exceeds ``limit`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge
    return bytes(body) if body else None


def bearer_of(request: HttpRequest) -> str | None:
    """The token of ``Authorization: Bearer`` (RFC 6750 §2.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class _Rest:
    """Hands ``/api`` to the core."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def __call__(self, request: HttpRequest) -> Response:
        try:
            body = await read_body(request)
        except TooLarge:
            return error_response(413, TOO_LARGE, f"a request's body holds at most {MAX_BODY_BYTES} bytes")
        headers = {name.lower(): value for name, value in request.headers.items()}
        ip = request.client.host if request.client is not None else ""
        config = self._driver.relay.config.upgrade
        query = parse_target("?" + request.scope["query_string"].decode("latin-1"))[1]
        path = request.scope["path"]
        peer = peer_ip(UpgradeRequest(path, query, headers, ip), config)
        answer = self._driver.request(Request(request.method, path, query, bearer_of(request), body, peer))
        return json_response(answer.status, answer.body, dict(answer.headers))


class _Cors:
    """CORS on ``/api`` for the origins that may connect (the Fetch standard), and HSTS where R-12.3 wants it."""

    def __init__(self, app: ASGIApp, driver: Driver) -> None:
        self._app = app
        self._driver = driver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        extra: list[tuple[bytes, bytes]] = []
        if scope.get("scheme") == "https" and host_name(headers.get("host", "")) == _HSTS_HOST:
            extra.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))
        if scope["path"].startswith("/api/"):
            extra.append((b"vary", b"Origin"))
            origin = headers.get("origin")
            admitted = origin is not None and origin_admitted(origin, self._driver.relay.config.upgrade)
            if origin is not None and admitted:
                extra.append((b"access-control-allow-origin", origin.encode("latin-1")))
                extra.append((b"access-control-expose-headers", b"Retry-After"))
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await self._preflight(origin or "", admitted)(scope, receive, _adding(send, extra))
                return
        await self._app(scope, receive, _adding(send, extra) if extra else send)

    def _preflight(self, origin: str, admitted: bool) -> Response:
        if not admitted:
            message = f"Origin {origin[:200]!r} is not admitted; --allow-origin would admit it"
            return error_response(403, FORBIDDEN, message)
        allowed = {
            "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
        }
        return Response(status_code=204, headers=allowed)


def _adding(send: Send, extra: list[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return sending


async def _http_error(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"no resource at {request.scope['path'][:100]}" if error.status_code == 404 else str(error.detail)
    response = error_response(error.status_code, _ERROR_CODES.get(error.status_code, INVALID_MESSAGE), message)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _internal_error(request: HttpRequest, error: Exception) -> Response:
    """A fault of ours; uvicorn logs it."""
    return error_response(500, INTERNAL_ERROR, "the relay failed on this request")


async def _gone(request: HttpRequest, error: Exception) -> Response:
    """The client went away amid its request; nobody reads this answer."""
    return Response(status_code=400)


def application(driver: Driver, control: Control, is_ready: Callable[[], bool]) -> ASGIApp:
    """The ASGI application of one relay."""

    async def health(request: HttpRequest) -> Response:
        return json_response(200, {"status": "ok"})

    async def ready(request: HttpRequest) -> Response:
        return json_response(200, {"status": "ready"}) if is_ready() else json_response(503, {"status": "stopping"})

    async def jwks(request: HttpRequest) -> Response:
        return json_response(200, driver.relay.jwks())

    rest: Callable[[HttpRequest], Awaitable[Response]] = _Rest(driver).__call__
    routes = [
        Route("/health", health),
        Route("/ready", ready),
        Route("/.well-known/jwks.json", jwks),
        Route("/api/{path:path}", rest, methods=_METHODS),
        *control.routes(),
    ]
    handlers: Any = {HTTPException: _http_error, ClientDisconnect: _gone, Exception: _internal_error}
    return _Cors(Starlette(routes=routes, exception_handlers=handlers), driver)
