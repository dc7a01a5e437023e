"""``/api/v1/upload-media`` and ``/api/v1/media/{id}``: what apps upload, handed back as an attachment and nothing else.

A browser that opens such a URL must never run what is behind it: no type is guessed, and the page is sandboxed.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mockrelay.http.bodies import ApiError, Handler, answer, space_of
from mockrelay.http.rest import asked_of, through_rules
from mockrelay.media import MediaError, MediaTooLarge, read_chunks
from zentalk_sim.protocol.errors import SERVICE_UNAVAILABLE, TOO_LARGE
from zentalk_sim.protocol.rest_types import Request as RestRequest

_HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Content-Disposition": "attachment",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def _authenticate(request: Request, asked: RestRequest) -> None:
    """The bearer token of the app's own API, checked by the core, which is asked for something that any token may."""
    probe = replace(asked, method="GET", path="/api/settings", query={})
    found = space_of(request).driver.request(probe)
    if found.status != 200:
        body = found.body
        raise ApiError(found.status, body["error_code"], body["message"], **body["details"])


def _through(handler: Handler) -> Handler:
    """A handler behind the rules and the token's check."""

    async def handled(request: Request) -> Response:
        asked = asked_of(request, None)

        async def go_on() -> Response:
            try:
                _authenticate(request, asked)
                return await handler(request)
            except ApiError as error:
                return error.response()

        return await through_rules(request, asked, go_on)

    handled.__doc__ = handler.__doc__
    return handled


async def upload(request: Request) -> Response:
    """Keep a raw body, or the part ``file`` of a multipart one."""
    space = space_of(request)
    try:
        media_id, media = await space.media.add(request.stream(), request.headers.get("content-type", ""))
    except MediaTooLarge:
        limit = space.media.max_bytes
        space.driver.count("media.refused")
        message = f"media hold at most {limit} bytes; --bound media_bytes=N allows more"
        raise ApiError(413, TOO_LARGE, message, limit=limit) from None
    except MediaError as error:
        raise ApiError.malformed(str(error)) from None
    except OSError as error:
        raise ApiError(503, SERVICE_UNAVAILABLE, f"the upload cannot be kept: {error.strerror}") from None
    url = f"{space.http_url}/api/v1/media/{media_id}"
    return answer(201, {"id": media_id, "url": url, "bytes": media.size})


async def download(request: Request) -> Response:
    """What was uploaded."""
    media = space_of(request).media.get(request.path_params["id"])
    if media is None:
        raise ApiError.not_found("no such media")
    headers = {**_HEADERS, "Content-Length": str(media.size)}
    return StreamingResponse(read_chunks(media), 200, headers, "application/octet-stream")


def routes() -> list[Route]:
    """The paths of this module."""
    return [
        Route("/api/v1/upload-media", _through(upload), methods=["POST"]),
        Route("/api/v1/media/{id}", _through(download), methods=["GET"]),
    ]
