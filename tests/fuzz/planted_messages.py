"""Bugs of the relay: messages and their mailboxes."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.fuzz.planting import Bugs, Patch, planter
from zentalk_sim.model import bus
from zentalk_sim.protocol import (
    authentication,
    mailbox,
    messages,
    node,
    pipeline,
)

BUGS: Bugs = {}
bug = planter(BUGS)


@bug("no dedup")
def _() -> list[Patch]:
    """The relay takes a message sent again for a new one."""
    return [(messages, "_held", lambda *_: None)]


@bug("ack before store")
def _() -> list[Patch]:
    """MESSAGE_ACK goes out, and the copies are stored only where the recipient is connected."""
    original = mailbox.store_copies

    def store_copies(n: Any, message: Any, recipient: Any, devices: list[str]) -> None:
        original(n, message, recipient, [d for d in devices if d in n.store.connected(recipient.address)])

    return [(mailbox, "store_copies", store_copies)]


@bug("mailbox off by one")
def _() -> list[Patch]:
    """A mailbox holds one copy more than its limit."""
    original = mailbox.store_copies

    def store_copies(n: Any, message: Any, recipient: Any, devices: list[str]) -> None:
        true = n.config
        box = msgspec.structs.replace(true.mailbox, max_copies=true.mailbox.max_copies + 1)
        n.configure(msgspec.structs.replace(true, mailbox=box))
        original(n, message, recipient, devices)
        n.configure(true)

    return [(mailbox, "store_copies", store_copies)]


@bug("overflow drops the newest")
def _() -> list[Patch]:
    """A full mailbox loses the copy that came last."""

    def store_copies(n: Any, message: Any, recipient: Any, devices: list[str]) -> None:
        n.store.add_message(message, devices)
        if devices:
            n.note("copies.stored", len(devices), user=recipient.address, message_id=message.id)
        for device_id in devices:
            box = n.store.mailbox(recipient.address, device_id)
            while len(box) > n.config.mailbox.max_copies:
                newest = next(reversed(box))
                n.store.remove_copy(recipient.address, device_id, newest)
                n.note("copies.dropped.overflow", user=recipient.address, device_id=device_id, message_id=newest)
        mailbox.arm_expiry(n)

    return [(mailbox, "store_copies", store_copies)]


@bug("silent overflow")
def _() -> list[Patch]:
    """What a full mailbox drops is not noted."""
    original = node.Node.note

    def note(self: Any, name: str, *args: Any, **more: Any) -> None:
        if name != "copies.dropped.overflow":
            original(self, name, *args, **more)

    return [(node.Node, "note", note)]


@bug("retention off")
def _() -> list[Patch]:
    """Copies never expire."""
    return [(mailbox, "expire", lambda n, now: None)]


@bug("receipts twice")
def _() -> list[Patch]:
    """A repeated MESSAGE_RECEIVED is reported to the sender again."""
    original = mailbox.confirm

    def confirm(n: Any, user: Any, device_id: str, message: Any, now: int) -> bool:
        if device_id in message.delivered_to:
            message.delivered_to = tuple(d for d in message.delivered_to if d != device_id)
        return original(n, user, device_id, message, now)

    return [(mailbox, "confirm", confirm)]


@bug("reads twice")
def _() -> list[Patch]:
    """Every MESSAGE_READ is reported, not the first alone."""
    original = messages.handle_read

    def handle_read(n: Any, conn: Any, user: Any, payload: Any, now: int) -> None:
        message = n.store.messages.get(payload.message_id.lower())
        if message is not None:
            message.first_read_us = None
        original(n, conn, user, payload, now)

    return [(messages, "handle_read", handle_read), _handler("MESSAGE_READ", handle_read)]


def _handler(kind: str, function: Any) -> Patch:
    """The table of handlers with another function for one frame type."""
    capability, _ = pipeline.HANDLERS[kind]
    return (pipeline, "HANDLERS", {**pipeline.HANDLERS, kind: (capability, function)})


@bug("one device is not told")
def _() -> list[Patch]:
    """A message is pushed to the first connected device of its recipient only."""

    def push_new(n: Any, message: Any, recipient: Any, now: int) -> None:
        for device_id, place in list(n.store.connected(recipient.address).items())[:1]:
            if message.id in n.store.mailbox(recipient.address, device_id) and place.node == n.name:
                mailbox.push_copy(n, place.conn, message, now)

    return [(mailbox, "push_new", push_new)]


@bug("sync count includes one more")
def _() -> list[Patch]:
    """SYNC_REQUIRED counts one copy too many."""
    original = mailbox.SyncRequired
    return [(mailbox, "SyncRequired", lambda reason, count, *times: original(reason, count + 1, *times))]


@bug("copies lost with their connection")
def _() -> list[Patch]:
    """When a connection is lost, the copies pushed on it are taken for delivered."""
    original = authentication.lose

    def lose(n: Any, conn: Any, now: int) -> None:
        for message_id in list(conn.pushed or ()):
            n.store.remove_copy(conn.user, conn.device_id, message_id)
        original(n, conn, now)

    return [(authentication, "lose", lose)]


@bug("bus event lost silently")
def _() -> list[Patch]:
    """The bus loses an event, and nobody looks at the mailbox again."""
    return [(mailbox, "look_again", _only_reschedule), (bus.Bus, "_drops", lambda self: self.sent % 3 == 0)]


def _only_reschedule(n: Any, conn: Any, now: int) -> None:
    conn.look_due_us += n.look_interval_us


@bug("content mixed up")
def _() -> list[Patch]:
    """MESSAGE_NEW carries the recipient's address as its sender."""
    original = messages.MessageNew
    return [(messages, "_NEW", lambda sender, *rest: original(sender[:-1] + "0", *rest))]
