"""MESSAGE_SEND and what follows from it: acceptance in the order of R-1.8, receipts, reads.

The same function serves the WebSocket and ``POST /api/messages``, so that the two cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import astuple

from zentalk_sim.protocol import mailbox, presence
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.errors import (
    DUPLICATE_ID,
    FORBIDDEN,
    INVALID_MESSAGE,
    KEY_MISMATCH,
    NONCE_REUSED,
    NOT_FOUND,
    RECIPIENT_NOT_FOUND,
    ProtocolError,
)
from zentalk_sim.protocol.frames import (
    MessageAck,
    MessageNew,
    MessageRead,
    MessageReadNotice,
    MessageReceived,
    MessageSend,
    X3dhHeader,
)
from zentalk_sim.protocol.identity import content_hash, conversation_id
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import Message, User
from zentalk_sim.protocol.timers import NEVER

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_ACK: Final[type[MessageAck]] = MessageAck
_NEW: Final[type[MessageNew]] = MessageNew
_READ_NOTICE: Final[type[MessageReadNotice]] = MessageReadNotice
_MESSAGE: Final[type[Message]] = Message
_fields_of: Final[Callable[[Any], Any]] = astuple


def handle_send(node: Node, conn: Connection, user: User, frame_id: str, payload: MessageSend, now: int) -> None:
    """MESSAGE_SEND over the WebSocket."""
    ack, message = accept(node, user, conn.device_id, frame_id, payload, now, conn)
    node.send(conn, "MESSAGE_ACK", ack, now)
    if message is not None:
        presence.activity(node, conn, user, now)
        deliver(node, message, now)


def accept(
    node: Node,
    sender: User,
    device_id: str,
    frame_id: str,
    payload: MessageSend,
    now: int,
    conn: Connection | None = None,
) -> tuple[MessageAck, Message | None]:
    """Check a message and store it; what answers it, and the message, unless it had been accepted before.

    ``deliver`` is then to be called for it, after the ACK is on its way. Raises ProtocolError for the first check that
    fails, and then nothing has changed but the limit's count.
    """
    store = node.store
    message_id = frame_id.lower()
    if message_id == frame_id:
        # The index remembers it for 30 days: no copy of it, where somebody else holds it too.
        message_id = frame_id
    ciphertext: bytes
    nonce: bytes
    # By REST there are more fields than a MESSAGE_SEND's.
    to, ciphertext, nonce, message_type, named, header = _fields_of(payload)[:6]
    to, address = to.lower(), sender.address
    derived = conversation_id(address, to)
    conversation = derived if named is UNSET else named
    hashed = content_hash(to, ciphertext, nonce, message_type, conversation, header or None)
    known = _held(node, message_id)
    if known is not None:
        store.need()
        if known.sender != address or known.content_hash != hashed:
            raise ProtocolError(INVALID_MESSAGE, "this id names another message", reason=DUPLICATE_ID)
        node.note("messages.duplicate", user=sender.address, message_id=message_id)
        return _ACK(message_id, known.server_timestamp, "duplicate", known.recipient_devices), None
    node.admit_device("send_message", node.send_limit, address, device_id, now)
    if conn is not None:
        conn.refused_in_a_row = 0
    since_us = now - node.nonce_window_us
    store.forget_nonces(since_us)
    # Under its own id a nonce may come again, where the index has forgotten the id before the nonce.
    holder = store.nonce_holder(address, nonce, since_us)
    if holder is not None and holder != message_id:
        raise ProtocolError(
            INVALID_MESSAGE, "this nonce was used for another message", reason=NONCE_REUSED, field="payload.nonce"
        )
    recipient = store.users.get(to)
    if recipient is None:
        raise ProtocolError(RECIPIENT_NOT_FOUND, "Recipient address not registered", to=to)
    if conversation != derived:
        _check_membership(node, conversation, sender, recipient)
    if header:
        _check_keys(sender, recipient, header)
    # The last check of. From here on nothing can refuse the message any more.
    store.need()
    if header:
        _use_prekey(node, recipient, header)
    _join(node, conversation, sender, recipient, own=conversation == derived)
    body = _NEW(address, conversation, ciphertext, nonce, message_type, now // 1000, header)
    message = _store(node, sender, device_id, recipient, message_id, body, hashed, now)
    return _ACK(message_id, body.timestamp, "queued", message.recipient_devices), message


def _store(
    node: Node,
    sender: User,
    device_id: str,
    recipient: User,
    message_id: str,
    body: MessageNew,
    hashed: bytes,
    now: int,
) -> Message:
    """Put a checked message into the index and a copy into each mailbox (R-6.2)."""
    registered_devices = recipient.devices
    devices = [d for d in registered_devices if recipient is not sender or d != device_id]
    registered = len(devices)
    if not registered_devices:
        devices = [""]
    counters = node.store.counters
    order = counters.accepted = counters.accepted + 1
    message = _MESSAGE(
        message_id,
        sender.address,
        device_id,
        recipient.address,
        body.conversation_id,
        hashed,
        now,
        order,
        registered,
        body,
        0,
    )
    mailbox.store_copies(node, message, recipient, devices)
    return message


def deliver(node: Node, message: Message, now: int) -> None:
    """Push a message just accepted to the recipient's connected devices."""
    mailbox.push_new(node, message, node.store.users[message.recipient], now)


def _held(node: Node, message_id: str) -> Message | None:
    """The index entry of an id; the Bloom filter answers first (R-5.6)."""
    store = node.store
    oldest = store.oldest()
    if not store.seen_ids.may_hold(message_id, NEVER if oldest is None else oldest.accepted_us):
        return None
    return store.messages.get(message_id)


def _check_membership(node: Node, conversation: str, sender: User, recipient: User) -> None:
    """A conversation that is named must be the two's own, or nobody's yet (R-6.4)."""
    members = node.store.conversations.get(conversation)
    if members is None:
        if not _is_derived_of_some(node, conversation):
            return
    elif sender.address in members and recipient.address in members:
        return
    raise ProtocolError(FORBIDDEN, "sender or recipient is no member of this conversation")


def _join(node: Node, conversation: str, sender: User, recipient: User, *, own: bool) -> None:
    """The first message fixes a conversation's members, and makes them contacts (R-6.4, R-7.2).

    The derived id is the two's ``own``, even where others had named it before both were registered.
    """
    store = node.store
    members = store.conversations.get(conversation)
    if members is None or (own and sender.address not in members):
        store.set_conversation(conversation, (sender.address, recipient.address))
    if sender is not recipient and recipient.address not in sender.contacts:
        sender.contacts[recipient.address] = None
        recipient.contacts[sender.address] = None
        store.save_user(sender)
        store.save_user(recipient)


_MOST_USERS_FOR_PAIRS = 300
_has_derived_form = re.compile(r"conv_[0-9a-f]{16}\Z").match


def _is_derived_of_some(node: Node, conversation: str) -> bool:
    """Whether an unknown conversation id is the derived one of some two registered users (R-6.4).

    Only hashing each pair tells; with many users the pairs are too many, and only ids in use are known.
    """
    if not _has_derived_form(conversation) or len(node.store.users) > _MOST_USERS_FOR_PAIRS:
        return False
    return node.store.derived_ids.is_of_some(node.store.users, conversation)


def find_members(node: Node, conversation: str, user: User) -> tuple[str, str] | None:
    """The two members of a conversation if ``user`` is one; a derived id needs no message to be known (R-6.4)."""
    members = node.store.conversations.get(conversation)
    if members is not None and user.address in members:
        return members
    if _has_derived_form(conversation):
        other = node.store.derived_ids.other_of(node.store.users, user, conversation)
        if other is not None:
            return (user.address, other)
    return None


def members_of(node: Node, conversation: str, user: User) -> tuple[str, str]:
    """The two members of a conversation to which ``user`` must belong.

    Raises ProtocolError ``NOT_FOUND`` for an unknown conversation, ``FORBIDDEN`` for one of others.
    """
    members = find_members(node, conversation, user)
    if members is not None:
        return members
    if conversation in node.store.conversations or _is_derived_of_some(node, conversation):
        raise ProtocolError(FORBIDDEN, "not a member of this conversation")
    raise ProtocolError(NOT_FOUND, "no such conversation")


def _check_keys(sender: User, recipient: User, header: X3dhHeader) -> None:
    """R-6.8: the sender's own identity key, and a one-time pre-key that is published and not yet used up."""
    if header.identity_key != sender.identity_key:
        raise ProtocolError(KEY_MISMATCH, "x3dh_header.identity_key is not the sender's", field="identity_key")
    key_id = header.one_time_key_id
    if isinstance(key_id, int) and (recipient.prekeys is None or key_id not in recipient.prekeys.one_time):
        raise ProtocolError(
            KEY_MISMATCH, "x3dh_header.one_time_key_id is not published or used up", field="one_time_key_id"
        )


def _use_prekey(node: Node, recipient: User, header: X3dhHeader) -> None:
    """Use up the one-time pre-key that a message names."""
    key_id, bundle = header.one_time_key_id, recipient.prekeys
    if isinstance(key_id, int) and bundle is not None:
        del bundle.one_time[key_id]
        bundle.handed_out.pop(key_id, None)
        node.store.save_user(recipient)


def _find(node: Node, message_id: str) -> Message | None:
    """The message of an id in any case; nearly all are as the index has them."""
    messages = node.store.messages
    return messages.get(message_id) or messages.get(message_id.lower())


def _of_recipient(node: Node, user: User, message_id: str) -> Message:
    message = _find(node, message_id)
    if message is None:
        raise ProtocolError(NOT_FOUND, "no such message", message_id=message_id)
    if message.recipient != user.address:
        raise ProtocolError(FORBIDDEN, "not the recipient of this message", message_id=message_id)
    return message


def handle_received(node: Node, conn: Connection, user: User, payload: MessageReceived, now: int) -> None:
    """MESSAGE_RECEIVED: the copy goes, the sender is told once for this device (R-6.3)."""
    node.store.need()
    mailbox.confirm(node, user, conn.device_id, _of_recipient(node, user, payload.message_id), now)


def handle_read(node: Node, conn: Connection, user: User, payload: MessageRead, now: int) -> None:
    """MESSAGE_READ: the first of a user counts, and implies receipt by that device (R-6.3)."""
    node.store.need()
    message_id = payload.message_id
    message = _find(node, message_id)
    if message is not None and message.recipient == user.address and message.first_read_us is not None:
        # A repeated one is ignored; only a device that had not confirmed its copy does so by it.
        if conn.device_id not in message.delivered_to:
            mailbox.confirm(node, user, conn.device_id, message, now)
        presence.activity(node, conn, user, now)
        return
    node.admit("read_receipt", node.read_limit, conn, now)
    message = _of_recipient(node, user, message_id)
    presence.activity(node, conn, user, now)
    mailbox.confirm(node, user, conn.device_id, message, now)
    message.first_read_us = now
    node.store.save_message(message)
    node.note("messages.read", conn=conn, message_id=message.id)
    sender = node.store.user(message.sender)
    if sender is not None and user.settings.send_read_receipts:
        node.notify(sender, "MESSAGE_READ", _READ_NOTICE(message.id, user.address, now // 1000), now)
