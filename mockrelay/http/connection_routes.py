"""``/admin/connections`` and ``/admin/messages``: who is connected, ending it, and sending what an app would see."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.http.bodies import ApiError, answer, read, space_of, whole
from mockrelay.http.user_routes import find_user
from mockrelay.spaces import Space
from mockrelay.websocket import Connection as Socket
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.control import CloseConn, SendFrame
from zentalk_sim.protocol.rest_types import Request as RestRequest
from zentalk_sim.protocol.timers import NEVER

_MAX_REASON_BYTES = 123


class _End(Struct, forbid_unknown_fields=True):
    how: Literal["close", "abort", "blackhole"] = "close"
    code: Annotated[int, Meta(ge=1000, le=4999)] = 1000
    reason: str = ""


class _Send(Struct, forbid_unknown_fields=True):
    frame: dict[str, Any] | None = None
    text: str | None = None
    base64: bytes | None = None


class _Message(Struct, forbid_unknown_fields=True, rename={"sender": "from"}):
    sender: str
    to: str
    payload: dict[str, Any] = {}


def _described(space: Space, conn: Connection) -> dict[str, Any]:
    sink = space.driver.sink_of(conn.id)
    queued = sink.queued() if isinstance(sink, Socket) else (0, 0)
    return {
        "id": conn.id,
        "user": conn.user,
        "name": space.people.name_of(conn.user),
        "device": conn.device_id,
        "state": conn.state,
        "rtt_ms": None if conn.rtt_us == NEVER else conn.rtt_us / 1000,
        "queued": queued[0],
        "queued_bytes": queued[1],
        "ip": conn.ip,
        "session_id": conn.session.session_id if conn.session is not None else None,
    }


def _connection(space: Space, request: Request) -> Connection:
    number = whole(request.path_params["id"], "id")
    conn = space.driver.relay.connections.get(number)
    if conn is None:
        raise ApiError.not_found(f"no connection {number}")
    return conn


async def list_connections(request: Request) -> Response:
    """The open connections, oldest first."""
    space = space_of(request)
    return answer(200, [_described(space, conn) for conn in space.driver.relay.connections.values()])


async def end_connection(request: Request) -> Response:
    """Close with a code, drop without a handshake, or let it go silent."""
    space = space_of(request)
    conn = _connection(space, request)
    asked = await read(request, _End)
    if asked.how == "blackhole":
        gate = space.faults.gates.get(conn.id)
        if gate is None:
            raise ApiError.not_found(f"no connection {conn.id}")
        gate.blackhole()
    else:
        if asked.code in (1005, 1006, 1015) or (1004 <= asked.code < 1007) or (1016 <= asked.code < 3000):
            raise ApiError.malformed(f"code {asked.code} may not be sent in a close frame (RFC 6455 §7.4)", "code")
        if len(asked.reason.encode()) > _MAX_REASON_BYTES:
            raise ApiError.malformed(f"reason holds at most {_MAX_REASON_BYTES} bytes", "reason")
        space.driver.control(CloseConn(conn.id, None if asked.how == "abort" else asked.code, asked.reason))
    space.journal.control(f"connection_{asked.how}", connection=conn.id)
    return answer(200, {"id": conn.id, "how": asked.how})


async def send(request: Request) -> Response:
    """Send a frame, or any text or bytes, to a connection as if the relay had cause to.

    A frame of ``type`` and ``payload`` alone is completed by the core (id, timestamp, ``seq``); one that says more
    is sent as it is said, with a fresh id and the time where it has none.
    """
    space = space_of(request)
    conn = _connection(space, request)
    asked = await read(request, _Send)
    if (asked.frame is not None) + (asked.text is not None) + (asked.base64 is not None) != 1:
        raise ApiError.malformed("say one of frame, text, base64")
    if asked.frame is not None and set(asked.frame) <= {"type", "payload"}:
        kind, payload = asked.frame.get("type"), asked.frame.get("payload", {})
        if not isinstance(kind, str):
            raise ApiError.malformed("frame.type must be a text", "frame.type")
        if not isinstance(payload, dict):
            raise ApiError.malformed("frame.payload must be an object", "frame.payload")
        space.driver.control(SendFrame(conn.id, kind, payload))
    else:
        _send_raw(space, conn, asked)
    space.journal.control("send", connection=conn.id)
    return answer(200, {"id": conn.id})


def _send_raw(space: Space, conn: Connection, asked: _Send) -> None:
    sink = space.driver.sink_of(conn.id)
    if sink is None or conn.state == "ended":
        raise ApiError.not_found(f"no connection {conn.id}")
    if asked.base64 is not None:
        sink.send(asked.base64, True)
    elif asked.text is not None:
        sink.send(asked.text.encode("utf-8", "surrogatepass"), False)
    else:
        stamp = space.clock.now_us() // 1000
        frame = {"id": space.draw_uuid(), "timestamp": stamp, "payload": {}, **(asked.frame or {})}
        sink.send(msgspec.json.encode(frame), False)


async def send_message(request: Request) -> Response:
    """A message as if ``from`` had sent it by REST: all of the relay's checks hold; answered as MESSAGE_ACK.

    What the payload leaves out is filled in: ``to``, a fresh ``id`` and ``nonce``, ``message_type`` text.
    """
    space = space_of(request)
    asked = await read(request, _Message)
    sender, to = find_user(space, asked.sender), find_user(space, asked.to)
    device_id = next(iter(sender.devices), None) or space.draw_uuid()
    token, _ = space.issue_token(sender.address, device_id)
    payload = {
        "id": space.draw_uuid(),
        "message_type": "text",
        "nonce": b64encode(space.draw_secret()[:12]).decode(),
        **asked.payload,
        "to": to.address,
    }
    body = msgspec.json.encode(payload)
    rest = RestRequest("POST", "/api/messages", {}, token, body, "127.0.0.1")
    found = space.driver.request(rest)
    return answer(found.status, found.body, dict(found.headers))


def routes() -> list[Route]:
    """The paths of this module."""
    one = "/admin/connections/{id}"
    return [
        Route("/admin/connections", list_connections, methods=["GET"]),
        Route(one, end_connection, methods=["DELETE"]),
        Route(f"{one}/send", send, methods=["POST"]),
        Route("/admin/messages", send_message, methods=["POST"]),
    ]
