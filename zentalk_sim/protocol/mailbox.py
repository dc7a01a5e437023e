"""Mailboxes: copies pushed, announced, confirmed, dropped and expired; every drop is counted with its cause.

Store and forward (R-6.2): a copy leaves at its device's MESSAGE_RECEIVED, at expiry, by overflow or with its
device, and in no other way.
"""

from __future__ import annotations

from typing import Final

from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.effects import NewCopy, Publish
from zentalk_sim.protocol.errors import CloseCode
from zentalk_sim.protocol.frames import MessageDelivered, SyncRequired
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import Message, User

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_PUBLISH: Final[type[Publish]] = Publish
_NEW_COPY: Final[type[NewCopy]] = NewCopy
_DELIVERED: Final[type[MessageDelivered]] = MessageDelivered


def store_copies(node: Node, message: Message, recipient: User, devices: list[str]) -> None:
    """Store a message with a copy for each device, and make room where a mailbox overflows."""
    store = node.store
    store.add_message(message, devices)
    if devices:
        node.note("copies.stored", len(devices), user=message.recipient, message_id=message.id)
    limit = node.max_copies
    address, boxes = message.recipient, store.mailboxes
    for device_id in devices:
        box = boxes[address, device_id]
        # More than one only where the limit was lowered meanwhile.
        while len(box) > limit:
            oldest = next(iter(box))
            store.remove_copy(address, device_id, oldest)
            node.note("copies.dropped.overflow", user=address, device_id=device_id, message_id=oldest)
    if not node.expiry_armed:
        arm_expiry(node)


def push_new(node: Node, message: Message, recipient: User, now: int) -> None:
    """Push a message just stored to the devices that are connected, or wake one if none is (R-6.2, R-6.7)."""
    store, address = node.store, recipient.address
    connected = store.presence.get(address)
    if not connected:
        node.push_wake(recipient)
        return
    message_id = message.id
    for device_id, place in connected.items():
        box = store.mailboxes.get((address, device_id))
        if box is None or message_id not in box:
            continue
        if place.node == node.name:
            push_copy(node, place.conn, message, now)
        else:
            node.out.append(_PUBLISH(place.node, _NEW_COPY(place.conn, message_id)))


def push_copy(node: Node, conn_id: int, message: Message, now: int) -> None:
    """Send MESSAGE_NEW on a connection of this node, unless it may not receive or had it already."""
    conn = node.conns.get(conn_id)
    body = message.body
    if conn is None or conn.state != "ready" or body is None:
        return
    if "receive_message" not in conn.token_capabilities:
        return
    message_id = message.id
    pushed = conn.pushed
    if pushed is None:
        # Made when first needed, since most connections are pushed nothing.
        pushed = conn.pushed = {}
    elif message_id in pushed:
        return
    pushed[message_id] = None
    node.send_message(conn, message_id, body, now)


def announce_backlog(node: Node, conn: Connection, now: int) -> None:
    """SYNC_REQUIRED for what was queued before the connection (R-6.6)."""
    box = node.store.mailbox(conn.user, conn.device_id)
    conn.announced_order = node.store.counters.accepted
    if not box:
        return
    stamps = [message.server_timestamp for message in box.values()]
    oldest = min(stamps)
    node.send(conn, "SYNC_REQUIRED", SyncRequired("offline_messages", len(box), oldest, max(stamps), oldest), now)


def look_again(node: Node, conn: Connection, now: int) -> None:
    """R-12.5: make good what a lost event of the bus failed to bring, a copy or the connection's end."""
    conn.look_due_us += node.look_interval_us
    endings = node.store.endings
    if conn.looked_endings != endings:
        if _end_overdue(node, conn):
            return
        conn.looked_endings = endings
    boxes = node.store.mailboxes
    box = boxes.get((conn.user, conn.device_id)) if boxes else None
    # Copies that left by overflow, or were confirmed by REST on another node, need not be remembered.
    if not box:
        conn.pushed = None
        return
    pushed = conn.pushed
    if pushed is not None and len(pushed) > len(box):
        conn.pushed = {message_id: None for message_id in pushed if message_id in box}
    for message in list(box.values()):
        if message.order > conn.announced_order:
            push_copy(node, conn.id, message, now)


def _end_overdue(node: Node, conn: Connection) -> bool:
    """Close a connection whose end was decided on another node, and not heard of here."""
    address, device_id = conn.user, conn.device_id
    user = node.store.users.get(address)
    connected = node.store.presence.get(address)
    place = None if connected is None else connected.get(device_id)
    if user is not None and user.suspended:
        node.close(conn, CloseCode.BANNED, "suspended")
    elif user is None or device_id not in user.devices:
        node.close(conn, CloseCode.NORMAL, "device_removed")
    elif place is None:
        # This node was taken for lost: its device connects anew.
        node.close(conn, CloseCode.GOING_AWAY, "place_lost")
    elif place.conn != conn.id:
        node.close(conn, CloseCode.NORMAL, "replaced")
    else:
        return False
    return True


def confirm(node: Node, user: User, device_id: str, message: Message, now: int) -> bool:
    """A device has received a message: its copy goes, and the sender hears of it once; False if it had before."""
    store, address, message_id = node.store, user.address, message.id
    connected = store.presence.get(address)
    place = None if connected is None else connected.get(device_id)
    if place is not None and place.node == node.name:
        conn = node.conns.get(place.conn)
        if conn is not None and conn.pushed is not None:
            conn.pushed.pop(message_id, None)
    if store.remove_copy(address, device_id, message_id) is not None:
        node.note("copies.confirmed", user=address, device_id=device_id, message_id=message_id)
        if (address, device_id) not in store.mailboxes:
            node.clear_push(user, device_id)
    delivered_to = message.delivered_to
    if device_id in delivered_to:
        return False
    message.delivered_to = (*delivered_to, device_id)
    store.save_message(message)
    node.note("messages.delivered", user=address, device_id=device_id, message_id=message_id)
    sender = store.users[message.sender]
    node.notify(sender, "MESSAGE_DELIVERED", _DELIVERED(message_id, device_id, now // 1000), now)
    return True


def drop_with_device(node: Node, user: User, device_id: str) -> None:
    """A removed device takes its mailbox and kept notices with it (R-7.1)."""
    ids = list(node.store.mailbox(user.address, device_id))
    for message_id in ids:
        node.store.remove_copy(user.address, device_id, message_id)
    if ids:
        node.note("copies.dropped.device_removed", len(ids), user=user.address, device_id=device_id)
    kept = node.store.take_notices((user.address, device_id))
    if kept:
        node.note("notices.dropped.device_removed", len(kept), user=user.address, device_id=device_id)


def arm_expiry(node: Node) -> None:
    """Have a timer stand for the oldest entry of the index."""
    if node.expiry_armed:
        return
    oldest = node.store.oldest()
    if oldest is not None:
        node.expiry_armed = True
        node.timers.arm(oldest.accepted_us + node.config.mailbox.retention_s * 1_000_000, "expire", 0)


def expire(node: Node, now: int) -> None:
    """Drop copies and index entries whose retention is over (R-6.5)."""
    node.expiry_armed = False
    retention_us = node.config.mailbox.retention_s * 1_000_000
    store = node.store
    while (message := store.oldest()) is not None:
        if message.accepted_us + retention_us > now:
            break
        if message.copies:
            user = store.user(message.recipient)
            for device_id in [*(user.devices if user else ()), ""]:
                if store.remove_copy(message.recipient, device_id, message.id) is not None:
                    node.note(
                        "copies.dropped.expired",
                        user=message.recipient,
                        device_id=device_id,
                        message_id=message.id,
                    )
                    if user is not None and not store.mailbox(message.recipient, device_id):
                        node.clear_push(user, device_id)
        store.forget_message(message.id)
    arm_expiry(node)
