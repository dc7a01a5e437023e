"""The inspector: a page that shows a relay, or a space, at work, and drives it through ``/admin``.

Its files hold no secret and are served to whoever asks under an admitted Host; all that is of the relay comes from
``/admin`` with the token, which is in the URL's fragment and so never sent to a server. What apps and peers say is
shown as text nodes; should one ever become markup, the policy below lets it load and run nothing.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Final
from urllib.parse import quote

from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.http.bodies import answer, space_of
from mockrelay.http.control import Guard
from zentalk_sim import __version__

PAGE: Final = "index.html"
_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text becomes markup: the browser itself refuses innerHTML and its like.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The Content-Security-Policy of every file."""
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Asked for again each time, and answered 304 while it is the same: never a page older than its relay.
    "Cache-Control": "no-cache",
}


class _File(Struct, frozen=True):
    content: bytes
    kind: str
    etag: str


@cache
def files() -> dict[str, _File]:
    """The inspector's files by name; read once, when somebody first asks for one."""
    found: dict[str, _File] = {}
    for item in (resources.files("mockrelay") / "inspector").iterdir():
        kind = _KINDS.get("." + item.name.rpartition(".")[2])
        if kind is not None and item.is_file():
            content = item.read_bytes()
            found[item.name] = _File(content, kind, f'"{hashlib.sha256(content).hexdigest()[:24]}"')
    return found


def inspector_url(http_url: str, admin_token: str) -> str:
    """The address that opens the inspector of a relay or a space; the token is in its fragment."""
    return f"{http_url}/#token={quote(admin_token, safe='')}"


def _served(request: Request, name: str) -> Response:
    file = files().get(name)
    if file is None:
        raise HTTPException(404)
    headers = {**_HEADERS, "ETag": file.etag}
    if file.etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(file.content, 200, headers, file.kind)


def routes(guard: Guard) -> list[Route]:
    """The page at ``/`` and its files under ``/inspector/``; only the Host is checked."""

    async def page(request: Request) -> Response:
        return guard.host_refusal(request) or _served(request, PAGE)

    async def file(request: Request) -> Response:
        return guard.host_refusal(request) or _served(request, request.path_params["name"])

    return [Route("/", page, methods=["GET"]), Route("/inspector/{name}", file, methods=["GET"])]


async def _about(request: Request) -> Response:
    """What the page tells of the relay: where apps connect, which space it is, the version."""
    space = space_of(request)
    return answer(
        200,
        {"space": space.id or None, "ws_url": space.ws_url, "http_url": space.http_url, "version": __version__},
    )


def control_routes() -> list[Route]:
    """What the page asks besides the control API's other calls."""
    return [Route("/admin/inspector", _about, methods=["GET"])]
