"""Control of the relay under ``/admin``: a bearer token always, and no web page of another origin may use it.

Host is checked against DNS rebinding, Origin and Sec-Fetch-Site against pages of other origins; the token is
compared in constant time. What may be asked is in the ``*_routes`` modules beside this one.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.http.bodies import Handler, answering, error_answer
from zentalk_sim.protocol.config import UpgradeConfig
from zentalk_sim.protocol.errors import FORBIDDEN, MISDIRECTED, UNAUTHORIZED
from zentalk_sim.protocol.upgrade import host_admitted, host_refusal


class Guard:
    """Who may control the relay, and its spaces."""

    def __init__(self, admin_token: str, upgrade: UpgradeConfig) -> None:
        """``upgrade``: as the relay was started with, so that no change of settings can lock its operator out."""
        self._admin_token = admin_token
        self._upgrade = upgrade

    def host_refusal(self, request: Request) -> Response | None:
        """Why nothing is served under a request's Host (DNS rebinding), or None."""
        host = request.headers.get("host", "")
        if host_admitted(host, self._upgrade):
            return None
        return error_answer(421, MISDIRECTED, host_refusal(host))

    def refusal(self, request: Request) -> Response | None:
        """Why a request may not control the relay, or None."""
        host = request.headers.get("host", "")
        if (refused := self.host_refusal(request)) is not None:
            return refused
        origin = request.headers.get("origin")
        if origin is not None and (urlsplit(origin).netloc != host or origin == "null"):
            return error_answer(403, FORBIDDEN, "pages of other origins may not control the relay")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return error_answer(403, FORBIDDEN, "pages of other sites may not control the relay")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._admin_token.encode()):
            refused = error_answer(401, UNAUTHORIZED, "Authorization: Bearer <admin token> is missing or wrong")
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
        return None

    def guarded(self, route: Route) -> Route:
        """The route, behind the guard; what its handler raises as ApiError is answered."""
        handler: Handler = answering(route.endpoint)

        async def guarded(request: Request) -> Response:
            return self.refusal(request) or await handler(request)

        return Route(route.path, guarded, methods=sorted(route.methods or ()))
