"""A relay's URLs: the WebSocket's as given, and where its REST and control API stand."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

PATH: Final = "/ws/v1"
_MOCKRELAY_PORTS: Final = {8765: 8766}


class UrlError(ValueError):
    """A URL that cannot be used; the text says which and why."""


def ws_url_of(given: str) -> str:
    """A WebSocket URL that ends in ``/ws/v1``, which is added where no path is given. Raises UrlError."""
    parts = urlsplit(given)
    try:
        port = parts.port
    except ValueError as error:
        raise UrlError(f"{given}: {error}") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or port == 0:
        raise UrlError(f"{given}: not a ws:// or wss:// URL, such as ws://127.0.0.1:8765/ws/v1")
    if parts.query or parts.fragment:
        raise UrlError(f"{given}: give the URL without its query; tokens come with the users")
    path = parts.path.rstrip("/")
    if path and not path.endswith(PATH):
        raise UrlError(f"{given}: the path of a relay's WebSocket ends in {PATH}")
    return urlunsplit(parts._replace(path=path or PATH))


def http_url_of(ws_url: str, given: str | None) -> str:
    """The REST URL as given, or the one that goes with a WebSocket URL. Raises UrlError."""
    if given is not None:
        parts = urlsplit(given)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UrlError(f"{given}: not an http:// or https:// URL, such as http://127.0.0.1:8766")
        return given.rstrip("/")
    ws_url = ws_url_of(ws_url)
    parts = urlsplit(ws_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = _MOCKRELAY_PORTS.get(parts.port or 0, parts.port)
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{host}" + (f":{port}" if port else "") + parts.path.removesuffix(PATH)
