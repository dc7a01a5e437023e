"""MESSAGE_SEND and what follows from it: acceptance in the order of R-1.8, receipts, reads.

The same function serves the WebSocket and ``POST /api/messages``, so that the two cannot differ.
"""

from __future__ import annotations

import re

from msgspec import UNSET

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


def handle_send(node: Node, conn: Connection, user: User, message_id: str, payload: MessageSend, now: int) -> None:
    """MESSAGE_SEND over the WebSocket."""
    ack = accept(node, user, conn.device_id, message_id, payload, now, conn)
    node.send(conn, "MESSAGE_ACK", ack, now)
    if ack.status == "queued":
        presence.activity(node, conn, user, now)
        deliver(node, node.store.messages[message_id], now)


def accept(
    node: Node,
    sender: User,
    device_id: str,
    message_id: str,
    payload: MessageSend,
    now: int,
    conn: Connection | None = None,
) -> MessageAck:
    """Check a message and store it; ``deliver`` is then to be called, after the ACK is on its way.

    Raises ProtocolError for the first check that fails, and then nothing has changed but the limit's count.
    """
    store = node.store
    to, address = payload.to.lower(), sender.address
    derived = conversation_id(address, to)
    conversation = derived if payload.conversation_id is UNSET else payload.conversation_id
    hashed = content_hash(payload, conversation)
    known = _held(node, message_id)
    if known is not None:
        store.need()
        if known.sender != sender.address or known.content_hash != hashed:
            raise ProtocolError(INVALID_MESSAGE, "this id names another message", reason=DUPLICATE_ID)
        node.note("messages.duplicate", user=sender.address, message_id=message_id)
        return MessageAck(message_id, known.server_timestamp, "duplicate", known.recipient_devices)
    config = node.config
    node.admit_device("send_message", config.limits.send_message, address, device_id, now)
    if conn is not None:
        conn.refused_in_a_row = 0
    since_us = now - config.dedup.window_s * 1_000_000
    store.forget_nonces(since_us)
    # Under its own id a nonce may come again, where the index has forgotten the id before the nonce.
    holder = store.nonce_holder(address, payload.nonce, since_us)
    if holder is not None and holder != message_id:
        raise ProtocolError(
            INVALID_MESSAGE, "this nonce was used for another message", reason=NONCE_REUSED, field="payload.nonce"
        )
    recipient = store.users.get(to)
    if recipient is None:
        raise ProtocolError(RECIPIENT_NOT_FOUND, "Recipient address not registered", to=to)
    if conversation != derived:
        _check_membership(node, conversation, sender, recipient)
    header = payload.x3dh_header
    if header:
        _check_keys(sender, recipient, header)
    # The last check of. From here on nothing can refuse the message any more.
    store.need()
    if header:
        _use_prekey(node, recipient, header)
    _join(node, conversation, sender, recipient, own=conversation == derived)
    message = _store(node, sender, device_id, recipient, message_id, payload, conversation, hashed, now)
    return MessageAck(message_id, message.server_timestamp, "queued", message.recipient_devices)


def _store(
    node: Node,
    sender: User,
    device_id: str,
    recipient: User,
    message_id: str,
    payload: MessageSend,
    conversation: str,
    hashed: bytes,
    now: int,
) -> Message:
    """Put a checked message into the index and a copy into each mailbox (R-6.2)."""
    devices = [d for d in recipient.devices if recipient is not sender or d != device_id]
    registered = len(devices)
    if not recipient.devices:
        devices = [""]
    counters = node.store.counters
    counters.accepted += 1
    body = MessageNew(
        sender.address,
        conversation,
        payload.ciphertext,
        payload.nonce,
        payload.message_type,
        now // 1000,
        payload.x3dh_header,
    )
    message = Message(
        message_id,
        sender.address,
        device_id,
        recipient.address,
        conversation,
        hashed,
        now,
        counters.accepted,
        registered,
        body,
        0,
        [],
    )
    mailbox.store_copies(node, message, recipient, devices)
    return message


def deliver(node: Node, message: Message, now: int) -> None:
    """Push a message just accepted to the recipient's connected devices."""
    mailbox.push_new(node, message, node.store.users[message.recipient], now)


def _held(node: Node, message_id: str) -> Message | None:
    """The index entry of an id; the Bloom filter answers first (R-5.6)."""
    store = node.store
    oldest = next(iter(store.messages.values()), None)
    if not store.seen_ids.may_hold(message_id, oldest.accepted_us if oldest else None):
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


def _of_recipient(node: Node, user: User, message_id: str) -> Message:
    message = node.store.messages.get(message_id.lower())
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
    message = node.store.messages.get(payload.message_id.lower())
    if message is not None and message.recipient == user.address and message.first_read_us is not None:
        # A repeated one is ignored; only a device that had not confirmed its copy does so by it.
        if conn.device_id not in message.delivered_to:
            mailbox.confirm(node, user, conn.device_id, message, now)
        presence.activity(node, conn, user, now)
        return
    node.admit("read_receipt", node.config.limits.read_receipt, conn, now)
    message = _of_recipient(node, user, payload.message_id)
    presence.activity(node, conn, user, now)
    mailbox.confirm(node, user, conn.device_id, message, now)
    message.first_read_us = now
    node.store.save_message(message)
    node.note("messages.read", conn=conn, message_id=message.id)
    sender = node.store.user(message.sender)
    if sender is not None and user.settings.send_read_receipts:
        node.notify(sender, "MESSAGE_READ", MessageReadNotice(message.id, user.address, now // 1000), now)
