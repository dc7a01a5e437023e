"""Control of the relay under ``/admin``: a bearer token always, and no web page of another origin may use it.

Host is checked against DNS rebinding, Origin and Sec-Fetch-Site against pages of other origins; the token is
compared in constant time.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.errors import FORBIDDEN, MISDIRECTED, UNAUTHORIZED
from zentalk_sim.protocol.upgrade import host_admitted, host_name

Handler = Callable[[Request], Awaitable[Response]]


def _error(status: int, error_code: str, message: str) -> Response:
    body = {"error_code": error_code, "message": message, "details": {}}
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), status, headers, "application/json")


class Control:
    """The control paths."""

    def __init__(self, admin_token: str, config: Callable[[], RelayConfig], shut_down: Callable[[], None]) -> None:
        self._admin_token = admin_token
        self._config = config
        self._shut_down = shut_down

    def routes(self) -> list[Route]:
        """The routes, each behind the guard."""
        return [Route("/admin/shutdown", self._guarded(self._shutdown), methods=["POST"])]

    def refusal(self, request: Request) -> Response | None:
        """Why a request may not control the relay, or None."""
        host = request.headers.get("host", "")
        if not host_admitted(host, self._config().upgrade):
            name = host_name(host)[:100]
            return _error(421, MISDIRECTED, f"Host {name!r} is not admitted; --allow-host {name} would admit it")
        origin = request.headers.get("origin")
        if origin is not None and (urlsplit(origin).netloc != host or origin == "null"):
            return _error(403, FORBIDDEN, "pages of other origins may not control the relay")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _error(403, FORBIDDEN, "pages of other sites may not control the relay")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._admin_token.encode()):
            return _error(401, UNAUTHORIZED, "Authorization: Bearer <admin token> is missing or wrong")
        return None

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            return self.refusal(request) or await handler(request)

        return guarded

    async def _shutdown(self, request: Request) -> Response:
        """Stop in order, once this is answered."""
        self._shut_down()
        return Response(b'{"status":"stopping"}', 202, media_type="application/json")
