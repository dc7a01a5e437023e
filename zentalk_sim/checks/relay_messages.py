"""Messages on their way: acknowledged, pushed to every device, in order, unchanged; receipts once (R-5.6, R-6)."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from zentalk_sim.checks.client_messages import fetched_ids
from zentalk_sim.checks.registry import Check, Recent, check, mark
from zentalk_sim.checks.world import claims_of
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.trace import events as ev

_LONG_S = 3_600
"""An index kept for so long outlasts every re-send."""


@check("relay.ack_stored", "R-6.2")
class AckStored(Check):
    """MESSAGE_ACK is sent only for what the store holds: a copy for each device it tells of."""

    notes = frozenset(("copies.stored",))

    def begin(self) -> None:
        self.stored: dict[str, Any] = {}

    def on_note(self, event: ev.Note) -> None:
        if event.name == "copies.stored" and event.message_id is not None:
            self.stored[event.message_id.lower()] = event
            self.await_group_end()

    def out_message_ack(self, event: ev.FrameOut) -> None:
        payload = event.payload
        begin = self.world.begin
        if payload.status != "queued" or begin is None or not begin.whole:
            return
        stored = self.stored.get(payload.message_id.lower())
        copies = 0 if stored is None else stored.count
        text = f"acknowledged for {payload.recipient_devices} devices, {copies} copies stored"
        self.judge(copies >= payload.recipient_devices, text, *([] if stored is None else [stored]), event)

    def on_group_end(self, following: Any) -> None:
        self.stored.clear()


@check("relay.ack_once", "R-5.6")
class AckOnce(Check):
    """An id is acknowledged as queued once; later its ACK says duplicate."""

    def begin(self) -> None:
        self.acked: Recent[str, Any] = Recent()

    def out_message_ack(self, event: ev.FrameOut) -> None:
        if event.payload.status == "queued":
            message_id = event.payload.message_id.lower()
            before = self.acked.get(message_id)
            self.acked[message_id] = mark(event)
            if before is None or not self.world.still_indexed(before.t):
                self.seen()
            else:
                self.broken(f"queued again, first in line {before.line}", before, event)


@check("relay.ack_same", "R-5.6")
class AckSame(Check):
    """The ACK of a duplicate repeats the first server_timestamp and recipient_devices."""

    def begin(self) -> None:
        self.acked: Recent[str, tuple[int, int, int]] = Recent()

    def out_message_ack(self, event: ev.FrameOut) -> None:
        payload = event.payload
        message_id = payload.message_id.lower()
        if payload.status == "queued":
            self.acked[message_id] = (payload.server_timestamp, payload.recipient_devices, event.line)
        elif first := self.acked.get(message_id):
            same = (payload.server_timestamp, payload.recipient_devices) == first[:2]
            self.judge(same, f"differs from the first ACK in line {first[2]}", event)


@check("relay.fan_out", "R-6.2")
class FanOut(Check):
    """An accepted message is pushed at once to every connected device of its recipient."""

    def begin(self) -> None:
        self.owed: dict[int, Any] = {}
        self.message_id = ""

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        world = self.world
        begin = world.begin
        if ack.payload.status != "queued" or begin is None or not begin.whole:
            return
        sender = world.conn(send.c)
        self.message_id = send.id
        self.await_group_end()
        for device, c in world.places.get(send.payload.to.lower(), {}).items():
            conn = world.conns.get(c)
            if conn is None or (conn.user == sender.user and device == sender.device):
                continue
            # a device that was removed receives nothing any more.
            if "receive_message" in conn.capabilities and device in world.person(conn.user or "").devices:
                self.owed[c] = ack

    def out_message_new(self, event: ev.FrameOut) -> None:
        if event.id == self.message_id and self.owed.pop(event.c, None) is not None:
            self.seen()

    def on_publish(self, event: ev.Publish) -> None:
        # Another node pushes it, or makes good for the loss of this word later.
        if self.owed.pop(event.c, None) is not None:
            self.seen()

    def on_group_end(self, following: Any) -> None:
        for c, ack in self.owed.items():
            self.broken(f"not pushed to connection {c}", ack)
        self.owed.clear()
        self.message_id = ""


@check("relay.order", "R-6.2")
class Order(Check):
    """On a connection messages are pushed in the order in which they were accepted."""

    def begin(self) -> None:
        self.accepted: Recent[str, int] = Recent()
        self.count = 0
        self.last: dict[int, tuple[int, Any]] = {}

    def out_message_ack(self, event: ev.FrameOut) -> None:
        if event.payload.status == "queued":
            self.count += 1
            self.accepted[event.payload.message_id.lower()] = self.count

    def out_message_new(self, event: ev.FrameOut) -> None:
        order = self.accepted.get(event.id)
        begin = self.world.begin
        if order is None or (begin is not None and begin.nodes > 1):
            # Among several nodes a lost event is made good later, and then out of turn.
            return
        before = self.last.get(event.c)
        if before is None or order > before[0]:
            self.last[event.c] = (order, mark(event))
        if before is None or order > before[0]:
            self.exercised += 1
        else:
            self.broken("pushed after one that was accepted later", *([before[1]] if before else []), event)

    def on_lost(self, event: ev.Lost) -> None:
        self.last.pop(event.c, None)


@check("relay.fetch_order", "R-6.6")
class FetchOrder(Check):
    """GET /api/messages answers in the order of server_timestamp, and counts what it has."""

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        if asked is None or (asked.method, asked.path, event.status) != ("GET", "/api/messages", 200):
            return
        body = event.body if isinstance(event.body, dict) else {}
        messages = body.get("messages")
        if not isinstance(messages, list):
            self.broken("an answer without messages", asked, event)
            return
        times = [m.get("timestamp") for m in messages if isinstance(m, dict)]
        numbers = [time for time in times if isinstance(time, int)]
        total = body.get("total")
        held = len(numbers) == len(messages) and numbers == sorted(numbers)
        counted = isinstance(total, int) and total >= len(messages)
        self.judge(held and counted, "out of order" if counted else "total is less than what is listed", asked, event)


@check("relay.content", "R-6.1")
class Content(Check):
    """MESSAGE_NEW brings what was sent: ciphertext, nonce, type, sender, and the ACK's server_timestamp."""

    def begin(self) -> None:
        # Of the ciphertext its hash is enough: memory stays small.
        self.sent: Recent[str, tuple[Any, ...]] = Recent()

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        payload = send.payload
        if ack.payload.status != "queued":
            return
        sender = self.world.conn(send.c).user
        told = (hash(payload.ciphertext), payload.nonce, payload.message_type, ack.payload.server_timestamp, sender)
        self.sent[send.id] = told

    def out_message_new(self, event: ev.FrameOut) -> None:
        told = self.sent.get(event.id)
        if told is not None:
            p = event.payload
            got = (hash(p.ciphertext), p.nonce, p.message_type, p.timestamp, p.sender if told[4] else None)
            self.judge(got == told, "differs from what was sent", event)


@check("relay.conversation_id", "R-6.4")
class ConversationId(Check):
    """MESSAGE_NEW names the conversation that was named, or else the one that its two users have."""

    def begin(self) -> None:
        self.named: Recent[str, str] = Recent()

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        user, payload = self.world.conn(send.c).user, send.payload
        if ack.payload.status != "queued" or user is None:
            return
        named = payload.conversation_id
        if named is not UNSET:
            self.named[send.id] = named
        elif not self.world.redacted:
            self.named[send.id] = conversation_id(user, payload.to)

    def out_message_new(self, event: ev.FrameOut) -> None:
        named, told = self.named.get(event.id), event.payload.conversation_id
        if named is not None:
            self.judge(told == named, f"tells {told}, it is {named}", event)


@check("relay.delivered_once", "R-6.3")
class DeliveredOnce(Check):
    """A device of the sender is told once of each device that received a message."""

    def begin(self) -> None:
        self.told: Recent[tuple[str, str, str], Any] = Recent()

    def out_message_delivered(self, event: ev.FrameOut) -> None:
        payload = event.payload
        key = (self.world.conn(event.c).device, payload.message_id.lower(), payload.device_id.lower())
        before = self.told.get(key)
        self.told[key] = mark(event)
        # An id that the index forgets soon may be accepted anew, and its receipts come anew.
        if self.world.config.mailbox.retention_s >= _LONG_S:
            self.judge(before is None, f"told again, first in line {before.line if before else 0}", event)


@check("relay.read_once", "R-6.3")
class ReadOnce(Check):
    """A device of the sender is told once that a message was read."""

    def begin(self) -> None:
        self.told: Recent[tuple[str, str], Any] = Recent()

    def out_message_read(self, event: ev.FrameOut) -> None:
        key = (self.world.conn(event.c).device, event.payload.message_id.lower())
        before = self.told.get(key)
        self.told[key] = mark(event)
        # An id that the index forgets soon may be accepted anew, and its receipts come anew.
        if self.world.config.mailbox.retention_s >= _LONG_S:
            self.judge(before is None, f"told again, first in line {before.line if before else 0}", event)


@check("relay.receipt_fan_out", "R-6.3")
class ReceiptFanOut(Check):
    """The receipt of a message goes at once to every connected device of its sender."""

    notes = frozenset(("messages.delivered",))

    def begin(self) -> None:
        self.senders: Recent[str, str] = Recent()
        self.owed: dict[tuple[int, str], Any] = {}

    def out_message_ack(self, event: ev.FrameOut) -> None:
        user = self.world.conn(event.c).user
        if event.payload.status == "queued" and user is not None:
            self.senders[event.payload.message_id.lower()] = user

    def on_note(self, event: ev.Note) -> None:
        begin, message_id = self.world.begin, (event.message_id or "").lower()
        sender = self.senders.get(message_id)
        if event.name == "messages.delivered" and sender and begin is not None and begin.whole:
            for c in self.world.places.get(sender, {}).values():
                self.owed[c, message_id] = event
                self.await_group_end()

    def out_message_delivered(self, event: ev.FrameOut) -> None:
        if self.owed.pop((event.c, event.payload.message_id.lower()), None) is not None:
            self.seen()

    def on_publish(self, event: ev.Publish) -> None:
        for key in [key for key in self.owed if key[0] == event.c][:1]:
            del self.owed[key]
            self.seen()

    def on_group_end(self, following: Any) -> None:
        for (c, message_id), note in self.owed.items():
            self.broken(f"MESSAGE_DELIVERED for {message_id} not sent to connection {c}", note)
        self.owed.clear()


@check("relay.fetch_known", "R-6.6")
class FetchKnown(Check):
    """What a device fetches it has not confirmed before."""

    notes = frozenset(("copies.confirmed",))

    def begin(self) -> None:
        self.confirmed: Recent[tuple[str, str, str], Any] = Recent()

    def on_note(self, event: ev.Note) -> None:
        if event.name == "copies.confirmed" and event.user and event.device and event.message_id:
            self.confirmed[event.user, event.device, event.message_id.lower()] = mark(event)

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        if asked is None or asked.path != "/api/messages" or asked.method != "GET":
            return
        claims = claims_of(asked.bearer)
        for message_id in fetched_ids(event.body) if claims is not None else ():
            before = self.confirmed.get((claims.sub, claims.device_id, message_id)) if claims is not None else None
            held = before is None or not self.world.still_indexed(before.t)
            self.judge(held, f"{message_id} again", *([before] if before is not None else []), event)
