"""A recording as HAR 1.2, which the developer tools of Chrome open: a WebSocket entry a connection, an entry a request.

WebSocket messages stand in ``_webSocketMessages``, as Chrome exports them, seen from the client: ``send`` is what it
sent, as far as the relay core heard it. HAR files are made to be passed on, so everything is redacted.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from os import PathLike, fspath
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from zentalk_sim import __version__
from zentalk_sim.protocol.upgrade import PATH
from zentalk_sim.trace.recording import RecordingError
from zentalk_sim.trace.redact import Event, redacted_events
from zentalk_sim.trace.replacing import replacing

_OPCODE: Final = {"text": 1, "bad_text": 1, "send": 1, "binary": 2, "send_binary": 2}
_PHRASES: Final = {101: "Switching Protocols", 200: "OK", 201: "Created", 204: "No Content"}


def _moment(t_us: int) -> str:
    return datetime.fromtimestamp(t_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": str(name), "value": str(value)} for name, value in values.items()]


def _entry(t_us: int, kind: str, method: str, url: str, query: dict[str, str], headers: dict[str, str]) -> Event:
    return {
        "_resourceType": kind,
        "startedDateTime": _moment(t_us),
        "time": 0,
        "request": {
            "method": method,
            "url": url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _pairs(headers),
            "queryString": _pairs(query),
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": _response(0, ""),
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
    }


def _response(status: int, text: str) -> Event:
    content = {"size": len(text.encode()), "mimeType": "application/json" if text else "x-unknown", "text": text}
    return {
        "status": status,
        "statusText": _PHRASES.get(status, ""),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [],
        "content": content,
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": content["size"],
    }


class _Har:
    """The entries as they come up, in the order of their beginning."""

    def __init__(self, header: Event) -> None:
        """``header`` says where clients reached the relay; one of before it did, or of a test, does not."""
        socket = urlsplit(str(header.get("ws_url") or f"ws://relay{PATH}"))
        self._ws_scheme, self._ws_host = socket.scheme, socket.netloc
        self._before_path = socket.path.removesuffix(PATH)
        """A space's own; the core hears of paths within it."""
        self._http_url = header.get("http_url") or "http://relay"
        self.entries: list[Event] = []
        self._connections: dict[int, Event] = {}
        self._began: dict[int, int] = {}
        self._requests: dict[int, Event] = {}

    def take(self, event: Event) -> None:
        """One event."""
        kind, t = event["e"], event["t"]
        if kind == "restart":
            self._connections.clear()
        elif kind == "request":
            self._request(event)
        elif kind == "respond":
            self._respond(event)
        elif kind == "upgrade":
            self._upgrade(event)
        elif kind in _OPCODE:
            self._message(kind, event)
        elif kind in ("accept", "refuse", "close", "abort", "lost"):
            entry = self._of(event["c"], t)
            if kind == "accept":
                entry["response"] = _response(101, "")
            elif kind == "refuse":
                body = {"error_code": event["error_code"], "message": event["message"]}
                entry["response"] = _response(event["status"], json.dumps(body))
            else:
                entry["_ended"] = {name: event[name] for name in ("e", "code", "reason", "cause") if name in event}
            self._lasted(entry, event["c"], t)

    def _upgrade(self, event: Event) -> None:
        query, headers = event["query"], event["headers"]
        url = self._socket_url(event["path"], headers.get("host"))
        if query:
            url += f"?{urlencode(query)}"
        self._open(event["c"], _entry(event["t"], "websocket", "GET", url, query, headers), event["t"])

    def _socket_url(self, path: str, host: str | None = None) -> str:
        return f"{self._ws_scheme}://{host or self._ws_host}{self._before_path}{path}"

    def _open(self, conn: int, entry: Event, t: int) -> None:
        entry["_webSocketMessages"] = []
        self.entries.append(entry)
        self._connections[conn] = entry
        self._began[conn] = t

    def _of(self, conn: int, t: int) -> Event:
        """A connection's entry; one older than the recording gets its own when it first shows."""
        if conn not in self._connections:
            self._open(conn, _entry(t, "websocket", "GET", self._socket_url(PATH), {}, {}), t)
            self._connections[conn]["response"] = _response(101, "")
        return self._connections[conn]

    def _lasted(self, entry: Event, conn: int, t: int) -> None:
        entry["time"] = entry["timings"]["receive"] = (t - self._began[conn]) / 1000

    def _message(self, kind: str, event: Event) -> None:
        conn, t = event["c"], event["t"]
        entry = self._of(conn, t)
        direction = "receive" if kind.startswith("send") else "send"
        message = {"type": direction, "time": t / 1_000_000, "opcode": _OPCODE[kind], "data": event["data"]}
        entry["_webSocketMessages"].append(message)
        self._lasted(entry, conn, t)

    def _request(self, event: Event) -> None:
        query = urlencode(event["query"])
        url = f"{self._http_url}{event['path']}" + (f"?{query}" if query else "")
        entry = _entry(event["t"], "fetch", event["method"], url, event["query"], {})
        body = event.get("body")
        if body is not None:
            entry["request"]["postData"] = {"mimeType": "application/json", "text": body}
            entry["request"]["bodySize"] = len(body.encode())
        self.entries.append(entry)
        self._requests[event["r"]] = entry

    def _respond(self, event: Event) -> None:
        entry = self._requests.pop(event["r"], None)
        if entry is not None:
            text = "" if event.get("body") is None else json.dumps(event["body"])
            entry["response"] = _response(event["status"], text)


def to_har(path: str | PathLike[str]) -> dict[str, Any]:
    """A recording, redacted, as the object of a HAR file.

    Raises RecordingError (``file:line: message``) for what is no recording, OSError where it cannot be read.
    """
    har = _Har({})
    for number, event in enumerate(redacted_events(path), 1):
        try:
            if number == 1:
                har = _Har(event)
            else:
                har.take(event)
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError, OSError) as error:
            raise RecordingError(f"{fspath(path)}:{number}: not an event of a recording ({error!r})") from None
    creator = {"name": "zentalk-sim", "version": __version__}
    return {"log": {"version": "1.2", "creator": creator, "pages": [], "entries": har.entries}}


def write_har(path_in: str | PathLike[str], path_out: str | PathLike[str]) -> int:
    """Write a recording as a HAR file, compressed where its name ends in ``.gz``; how many entries it has.

    Raises as ``to_har``, and ValueError where both paths name one file.
    """
    if os.path.exists(path_out) and os.path.samefile(path_in, path_out):
        raise ValueError(f"{fspath(path_out)}: a recording cannot be written over with its HAR; name another file")
    har = to_har(path_in)
    with replacing(path_out) as out:
        out.write(json.dumps(har, ensure_ascii=False).encode("utf-8", "backslashreplace"))
    return len(har["log"]["entries"])
