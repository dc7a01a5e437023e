"""``/openapi.json`` and ``/asyncapi.json``: the relay described to programs; made when they are first asked for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.http.bodies import answer, space_of


async def openapi(request: Request) -> Response:
    """The REST interface and the control API, as OpenAPI 3.1."""
    from mockrelay.documents.openapi import document

    space = space_of(request)
    return answer(200, document(space.http_url, is_space=space.id != ""))


async def asyncapi(request: Request) -> Response:
    """The WebSocket with its frames, as AsyncAPI 3."""
    from mockrelay.documents.asyncapi import document

    return answer(200, document(space_of(request).ws_url))


def routes() -> list[Route]:
    """The paths of this module."""
    return [
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/asyncapi.json", asyncapi, methods=["GET"]),
    ]
