"""The app's REST interface, decided in the core so that simulator and relay cannot differ.

A table of routes: method and path pattern → handler. Sources: R-3.3, R-6.6, R-6.8, R-7.1, R-7.3 and the
paths the project fixed. Errors are ``{"error_code", "message", "details"}`` with the specification's HTTP equivalents.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from zentalk_sim.protocol import rest_account, rest_messages
from zentalk_sim.protocol.effects import RequestId, Respond
from zentalk_sim.protocol.errors import (
    FORBIDDEN,
    HTTP_STATUS,
    INVALID_MESSAGE,
    NOT_FOUND,
    SERVICE_UNAVAILABLE,
    UNAUTHORIZED,
    ProtocolError,
)
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.rest_types import Caller, Request
from zentalk_sim.protocol.tokens import Claims, TokenError, token_life

__all__ = ["Request", "handle"]

Answer = tuple[int, Any]
Route = Callable[[Node, Caller, Request, dict[str, str], int], Answer]

ROUTES: Final[tuple[tuple[str, re.Pattern[str], Route, str | None], ...]] = tuple(
    (method, re.compile(pattern), handler, capability)
    for method, pattern, handler, capability in (
        ("GET", r"/api/messages", rest_messages.list_messages, "receive_message"),
        ("POST", r"/api/messages", rest_messages.post_message, "send_message"),
        ("POST", r"/api/messages/ack", rest_messages.acknowledge, "receive_message"),
        ("POST", r"/api/keys", rest_account.publish_keys, None),
        ("GET", r"/api/keys/(?P<address>[^/]+)", rest_account.get_keys, None),
        ("POST", r"/api/devices", rest_account.register_device, None),
        ("GET", r"/api/devices", rest_account.list_devices, None),
        ("DELETE", r"/api/devices/(?P<device_id>[^/]+)", rest_account.remove_device, None),
        ("PUT", r"/api/settings", rest_account.put_settings, None),
        ("GET", r"/api/settings", rest_account.get_settings, None),
    )
)


def handle(node: Node, request_id: RequestId, request: Request, now: int) -> None:
    """Answer one request with Respond."""
    headers: tuple[tuple[str, str], ...] = ()
    try:
        status, body = _dispatch(node, request, now)
    except ProtocolError as error:
        status = HTTP_STATUS[error.code]
        body = {"error_code": error.code, "message": error.message, "details": error.details}
        retry_after = error.details.get("retry_after")
        if error.code == SERVICE_UNAVAILABLE:
            retry_after = node.config.upgrade.retry_after_s
        if retry_after is not None:
            headers = (("Retry-After", str(retry_after)),)
        elif status == 401:
            headers = (("WWW-Authenticate", "Bearer"),)
    if status == 405:
        headers = (("Allow", ", ".join(body["details"]["allowed"])),)
    node.out.append(Respond(request_id, status, body, headers))


def _dispatch(node: Node, request: Request, now: int) -> Answer:
    if request.path == "/api/token" and request.method == "POST":
        return rest_account.issue_token(node, request, now)
    allowed = []
    for method, pattern, handler, capability in ROUTES:
        found = pattern.fullmatch(request.path)
        if found is None:
            continue
        if method != request.method:
            allowed.append(method)
            continue
        node.store.need()
        caller = authenticate(node, request, now)
        if capability is not None and capability not in caller.claims.capabilities:
            raise ProtocolError(FORBIDDEN, f"the token does not grant {capability}", capability=capability)
        return handler(node, caller, request, found.groupdict(), now)
    if allowed or request.path == "/api/token":
        return 405, {
            "error_code": INVALID_MESSAGE,
            "message": f"{request.method} is not allowed here",
            "details": {"allowed": allowed or ["POST"]},
        }
    raise ProtocolError(NOT_FOUND, f"no resource at {request.path[:100]}")


def authenticate(node: Node, request: Request, now: int) -> Caller:
    """Who asks, by the bearer token (R-3.3). Raises ProtocolError ``UNAUTHORIZED`` or, if suspended, ``FORBIDDEN``."""
    if not request.bearer:
        raise ProtocolError(UNAUTHORIZED, "Authorization: Bearer <token> is missing")
    try:
        claims: Claims = node.tokens.verify(request.bearer)
    except TokenError as error:
        raise ProtocolError(UNAUTHORIZED, f"token: {error}") from None
    user = node.store.user(claims.sub.lower())
    if user is None:
        raise ProtocolError(UNAUTHORIZED, "token: its sub is not registered")
    if token_life(claims.exp, now, node.config.token) == "expired":
        raise ProtocolError(UNAUTHORIZED, "token: expired", expired_at=claims.exp * 1000)
    if user.suspended:
        raise ProtocolError(FORBIDDEN, "this account is suspended")
    return Caller(user, claims.device_id.lower(), claims)
