"""Messages over REST: the queued ones, one sent, many acknowledged (R-6.6)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.protocol import mailbox, messages
from zentalk_sim.protocol.frames import MessageSend, Uuid
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.rest_types import Caller, Request, body_of, number_of

_MAX_PAGE = 200


class _Post(MessageSend, frozen=True, kw_only=True):
    """A MESSAGE_SEND payload with its ``id``."""

    id: Uuid


class _Acknowledge(Struct):
    message_ids: list[str]


def list_messages(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """The mailbox of the token's device in (server_timestamp, acceptance) order."""
    limit = number_of(request, "limit", 100, 1, _MAX_PAGE)
    offset = number_of(request, "offset", 0, 0, None)
    box = node.store.mailbox(caller.user.address, caller.device_id)
    ordered = sorted(box.values(), key=lambda message: (message.server_timestamp, message.order))
    page = [
        {
            "type": "MESSAGE_NEW",
            "id": message.id,
            "timestamp": message.server_timestamp,
            "payload": message.body,
        }
        for message in ordered[offset : offset + limit]
    ]
    return 200, {"messages": page, "total": len(box)}


def post_message(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """One message sent; answered as MESSAGE_ACK's payload."""
    post = body_of(request, _Post)
    ack, message = messages.accept(node, caller.user, caller.device_id, post.id, post, now)
    if message is not None:
        messages.deliver(node, message, now)
    return 200, ack


def acknowledge(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """MESSAGE_RECEIVED for many at once; ids that are unknown or another's are passed over."""
    count = 0
    for message_id in body_of(request, _Acknowledge).message_ids:
        message = node.store.messages.get(message_id.lower())
        if message is None or message.recipient != caller.user.address:
            continue
        if caller.device_id not in caller.user.devices:
            # A removed device's token lives on; the device receives nothing any more.
            continue
        if message_id.lower() in node.store.mailbox(caller.user.address, caller.device_id):
            count += 1
        mailbox.confirm(node, caller.user, caller.device_id, message, now)
    return 200, {"acked": count}
