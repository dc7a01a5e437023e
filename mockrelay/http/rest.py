"""``/api``: the app's REST interface, answered by the core; fault rules for ``rest`` strike on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from mockrelay.http.bodies import TooLarge, answer, read_body, space_of
from mockrelay.http.rest_faults import answered
from zentalk_sim.protocol.rest_types import Request as RestRequest
from zentalk_sim.protocol.upgrade import UpgradeRequest, parse_target, peer_ip


def bearer_of(request: Request) -> str | None:
    """The token of ``Authorization: Bearer`` (RFC 6750 §2.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def asked_of(request: Request, body: bytes | None) -> RestRequest:
    """A request as the core takes it."""
    space = space_of(request)
    path = request.scope["path"]
    headers = {name.lower(): value for name, value in request.headers.items()}
    ip = request.client.host if request.client is not None else ""
    query = parse_target("?" + request.scope["query_string"].decode("latin-1"))[1]
    peer = peer_ip(UpgradeRequest(path, query, headers, ip), space.config.upgrade)
    return RestRequest(request.method, path, query, bearer_of(request), body, peer)


async def through_rules(request: Request, asked: RestRequest, go_on: Callable[[], Awaitable[Response]]) -> Response:
    """What the space's rules make of a call, or else what ``go_on`` answers; the journal sees it."""
    space = space_of(request)
    space.touch()
    return await answered(space.faults, space.journal, request, asked, go_on)


async def rest(request: Request) -> Response:
    """Hand a request to the core."""
    try:
        asked = asked_of(request, await read_body(request))
    except TooLarge as error:
        return error.response()

    async def go_on() -> Response:
        driver = space_of(request).driver
        found = driver.request(asked)
        if found.status == 403 and asked.path == "/api/keys" and "kept" in found.body["details"]:
            driver.count("prekeys.refused")
        return answer(found.status, found.body, dict(found.headers))

    return await through_rules(request, asked, go_on)
