"""Reading an upgrade request: its headers as the core takes them, and what is answered to one that is none.

The law of this file: a head that is plainly good, as nearly all are, is read here; every other one by ``websockets``,
which alone says what is wrong with it. Both ways have one result.
Sources: RFC 9112 §3 (the request line's and headers' sizes), RFC 6455 §4.2.1 (what an upgrade is).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from mockrelay.frame_reader import library_log
from zentalk_sim.protocol.errors import INVALID_MESSAGE
from zentalk_sim.protocol.upgrade import PATH

_PLAIN_BYTES: Final = 4_096
_PLAIN_LINES: Final = 64
"""Far below the library's limits of a line and of the headers' number."""
_OF_BODIES: Final = ("content-length", "transfer-encoding")
"""Headers that the library has something to say about."""


class Asked(NamedTuple):
    """A request, its headers by lower-case name, repeated ones joined (RFC 9110 §5.3)."""

    method: str
    path: str
    protocol: str
    headers: dict[str, str]


class NoUpgrade(NamedTuple):
    """Why a request is no upgrade, as it is answered."""

    status: int
    message: str
    headers: dict[str, str]
    error_code: str = INVALID_MESSAGE


def path_of(head: bytes) -> str:
    """The request target as it stands in the first line; empty where there is none."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    return words[1].decode("latin-1") if len(words) > 1 else ""


def read_request(head: bytes) -> Asked | None:
    """The request that a whole head is; None where ``websockets`` refuses it."""
    return read_plain(head) or read_by_library(head)


def read_plain(head: bytes) -> Asked | None:
    """A GET whose headers are in printable ASCII, each of another name, and not folded; None for anything else."""
    if len(head) > _PLAIN_BYTES or not head.isascii():
        return None
    first, *lines = head.decode("ascii").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[0] != "GET" or words[2] != "HTTP/1.1" or not words[1].isprintable():
        return None
    # What stands behind the last header's end, and behind the head's, is nothing.
    if len(lines) > _PLAIN_LINES or lines[-2:] != ["", ""]:
        return None
    headers: dict[str, str] = {}
    for line in lines[:-2]:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name.replace("-", "").isalnum() or not value.isprintable():
            return None
        if name in headers or name in _OF_BODIES:
            return None
        headers[name] = value.strip(" ")
    return Asked("GET", words[1], "HTTP/1.1", headers)


def read_by_library(head: bytes) -> Asked | None:
    """As ``read_request``, whatever the head."""
    reader = StreamReader()
    reader.feed_data(head)
    try:
        next(Request.parse(reader.read_line))
    except StopIteration as end:
        request: Request = end.value
        return Asked(request.method, request.path, request.protocol, _headers_of(request))
    except Exception:
        # Which of its classes says what depends on the library's release: see ``unreadable``.
        return None
    return None


def _headers_of(request: Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.raw_items():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def unreadable(head: bytes) -> NoUpgrade:
    """The answer to a request that the library could not read."""
    parser = ServerProtocol(logger=library_log)
    parser.receive_data(head)
    # By name, since older releases of the library tell a bad request from a long one by no class of its own.
    error = type(parser.handshake_exc).__name__
    if error == "RequestLineTooLong":
        return NoUpgrade(414, "the request line is too long", {})
    if error in ("HeaderLineTooLong", "TooManyHeaders"):
        return NoUpgrade(431, "the request's headers are too long or too many", {})
    return NoUpgrade(400, "not an HTTP/1.1 upgrade request", {})


def no_upgrade(request: Asked) -> NoUpgrade | None:
    """The answer to a request that is no upgrade at all (RFC 6455 §4.2.1); None where it is one."""
    headers = request.headers
    if request.method != "GET":
        return NoUpgrade(405, f"{request.method[:20]} is not allowed here", {"Allow": "GET"})
    options = [option.strip().lower() for option in headers.get("connection", "").split(",")]
    protocols = [protocol.strip().lower() for protocol in headers.get("upgrade", "").split(",")]
    if request.protocol != "HTTP/1.1" or "upgrade" not in options or "websocket" not in protocols:
        message = f"{PATH} is a WebSocket endpoint: connect with a WebSocket client"
        return NoUpgrade(426, message, {"Upgrade": "websocket", "Connection": "Upgrade, close"})
    return None
