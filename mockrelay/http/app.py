"""The relay's HTTP application: ``/api`` answered by the core, media, health, keys, metrics, and ``/admin``.

All of it stands once for the relay itself and again under ``/spaces/{id}`` for each space: the prefix is taken off
and the space noted before anything else looks at the request. CORS stands on ``/api`` alone and for admitted origins
alone, so that no other page can read an answer; never on ``/admin``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mockrelay.http import (
    bot_routes,
    clock_routes,
    connection_routes,
    document_routes,
    events,
    inspector_routes,
    journal_routes,
    media_routes,
    relay_routes,
    rule_routes,
    user_routes,
)
from mockrelay.http.bodies import SPACE_KEY, answer, error_answer, space_of
from mockrelay.http.control import Guard
from mockrelay.http.metrics import metrics_of
from mockrelay.http.rest import rest
from mockrelay.http.space_routes import SpaceRoutes
from mockrelay.spaces import Space, Spaces
from zentalk_sim.protocol.errors import FORBIDDEN, INTERNAL_ERROR, INVALID_MESSAGE, NOT_FOUND, TOO_LARGE
from zentalk_sim.protocol.upgrade import host_name, origin_admitted

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_ERROR_CODES: Final = {404: NOT_FOUND, 405: INVALID_MESSAGE, 413: TOO_LARGE, 500: INTERNAL_ERROR}
_HSTS_HOST: Final = "relay.zentalk.network"
_SECURITY: Final = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


class _Outer:
    """Finds the space; adds CORS on ``/api`` (the Fetch standard) and HSTS where R-12.3 wants it."""

    def __init__(self, app: ASGIApp, spaces: Spaces) -> None:
        self._app = app
        self._spaces = spaces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            # A compressed body could hold a thousand times what its bytes say.
            message = "send the body as it is: no Content-Encoding is taken"
            await error_answer(415, INVALID_MESSAGE, message)(scope, receive, _adding(send, list(_SECURITY)))
            return
        extra = list(_SECURITY)
        if scope.get("scheme") == "https" and host_name(headers.get("host", "")) == _HSTS_HOST:
            extra.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))
        found = self._spaces.find_path(scope["path"])
        if found is None:
            message = f"no space at {scope['path'][:100]}; it was deleted, or not used for its ttl_s"
            await error_answer(404, NOT_FOUND, message)(scope, receive, _adding(send, extra))
            return
        space, path = found
        scope = {**scope, "path": path, "raw_path": path.encode(), SPACE_KEY: space}
        if path.startswith("/api/"):
            extra.append((b"vary", b"Origin"))
            origin = headers.get("origin")
            admitted = origin is not None and origin_admitted(origin, space.config.upgrade)
            if origin is not None and admitted:
                extra.append((b"access-control-allow-origin", origin.encode("latin-1")))
                extra.append((b"access-control-expose-headers", b"Retry-After"))
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(origin or "", admitted)(scope, receive, _adding(send, extra))
                return
        await self._app(scope, receive, _adding(send, extra))


def _preflight(origin: str, admitted: bool) -> Response:
    if not admitted:
        name = origin[:200]
        message = f"Origin {name!r} is not admitted; --allow-origin {name} would admit it"
        return error_answer(403, FORBIDDEN, message)
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers=allowed)


def _adding(send: Send, extra: list[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            said = {name for name, _ in headers}
            message = {**message, "headers": [*headers, *(pair for pair in extra if pair[0] not in said)]}
        await send(message)

    return sending


def _http_error(request: HttpRequest, error: Exception, routes: Sequence[Route]) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        # A path's methods are routes of their own; RFC 9110 §15.5.6 wants them all named.
        kinds = [route.methods or set() for route in routes if route.matches(request.scope)[0] is not Match.NONE]
        allowed = sorted(set().union(*kinds))
        response = error_answer(405, INVALID_MESSAGE, f"{request.method} is not allowed here", allowed=allowed)
        response.headers["Allow"] = ", ".join(allowed)
        return response
    message = f"no resource at {request.scope['path'][:100]}" if error.status_code == 404 else str(error.detail)
    response = error_answer(error.status_code, _ERROR_CODES.get(error.status_code, INVALID_MESSAGE), message)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _internal_error(request: HttpRequest, error: Exception) -> Response:
    """A fault of ours; uvicorn logs it."""
    return error_answer(500, INTERNAL_ERROR, "the relay failed on this request")


async def _gone(request: HttpRequest, error: Exception) -> Response:
    """The client went away amid its request; nobody reads this answer."""
    return Response(status_code=400)


async def _jwks(request: HttpRequest) -> Response:
    return answer(200, space_of(request).driver.relay.jwks())


async def _health(request: HttpRequest) -> Response:
    return answer(200, {"status": "ok"})


def open_routes(spaces: Spaces, is_ready: Callable[[Space], bool]) -> list[Route]:
    """What needs no admin token, but for ``/api``, which the core answers, and the inspector's page."""

    async def ready(request: HttpRequest) -> Response:
        if is_ready(space_of(request)):
            return answer(200, {"status": "ready"})
        return answer(503, {"status": "stopping" if space_of(request).driver.away is None else "store away"})

    return [
        Route("/health", _health),
        Route("/ready", ready),
        Route("/metrics", metrics_of(spaces)),
        Route("/.well-known/jwks.json", _jwks),
        *document_routes.routes(),
        *media_routes.routes(),
    ]


def control_routes(spaces: Spaces, shut_down: Callable[[], None]) -> list[Route]:
    """The control API, as yet unguarded."""
    return [
        *user_routes.routes(),
        *connection_routes.routes(),
        *clock_routes.routes(),
        *journal_routes.routes(space_of),
        *rule_routes.routes(space_of),
        *bot_routes.routes(space_of),
        *relay_routes.routes(),
        *inspector_routes.control_routes(),
        *events.routes(),
        *SpaceRoutes(spaces, shut_down).routes(),
    ]


def application(
    spaces: Spaces, admin_token: str, is_ready: Callable[[Space], bool], shut_down: Callable[[], None]
) -> ASGIApp:
    """The ASGI application of a relay and its spaces."""
    guard = Guard(admin_token, spaces.default.initial_config.upgrade)

    async def http_error(request: HttpRequest, error: Exception) -> Response:
        """404 and 405; under ``/admin`` what there is and what not is told to who may control the relay alone."""
        path = request.scope["path"]
        if (path == "/admin" or path.startswith("/admin/")) and (refused := guard.refusal(request)) is not None:
            return refused
        return _http_error(request, error, routes)

    routes = [
        *open_routes(spaces, is_ready),
        *inspector_routes.routes(guard),
        Route("/api/{path:path}", rest, methods=_METHODS),
        *(guard.guarded(route) for route in control_routes(spaces, shut_down)),
    ]
    handlers: Any = {HTTPException: http_error, ClientDisconnect: _gone, Exception: _internal_error}
    starlette = Starlette(routes=routes, exception_handlers=handlers)
    starlette.router.redirect_slashes = False
    return _Outer(starlette, spaces)
