"""No acknowledged message is lost: every copy is pending, confirmed, or dropped with a note (R-6.2, R-6.5, R-6.6).

A ledger of each mailbox is kept from the relay's notes and compared with what the relay itself says of its mailboxes:
SYNC_REQUIRED at a connect and the total of a fetch. It holds no more than the mailboxes do.
"""

from __future__ import annotations

from typing import Any

from zentalk_sim.checks.client_messages import fetched_ids
from zentalk_sim.checks.registry import Check, Recent, check, mark
from zentalk_sim.checks.world import claims_of
from zentalk_sim.protocol import control
from zentalk_sim.trace import events as ev

Box = dict[str, int]
"""Message id → the line where it was stored."""


class _Mailboxes(Check):
    """Base: what each device's mailbox must hold, for users whose devices are all known."""

    notes = frozenset(
        (
            "copies.stored",
            "copies.confirmed",
            "copies.dropped.overflow",
            "copies.dropped.expired",
            "copies.dropped.device_removed",
            "connections.authenticated",
        )
    )

    def begin(self) -> None:
        self.boxes: dict[tuple[str, str], Box] = {}

    def on_begin(self, event: ev.Begin) -> None:
        image = event.image
        for user, device, ids in image.store.mailboxes if image is not None else ():
            self.boxes[user, device] = dict.fromkeys(ids, 1)

    @property
    def judged(self) -> bool:
        """Whether the trace shows enough: all that the relay heard and said, and not redacted."""
        begin = self.world.begin
        return begin is not None and begin.whole and not begin.redacted

    def knows(self, user: str) -> bool:
        """Whether all devices of a user are known."""
        return self.judged and self.world.person(user).known

    def _sender_device(self, user: str) -> str | None:
        """The device that sends to its own user, which gets no copy."""
        cause = self.world.cause
        if type(cause) is ev.FrameIn:
            conn = self.world.conn(cause.c)
            return conn.device if conn.user == user else None
        claims = claims_of(cause.bearer) if type(cause) is ev.Request else None
        return claims.device_id if claims is not None and claims.sub == user else None

    def on_note(self, event: ev.Note) -> None:
        user, message_id = event.user, (event.message_id or "").lower()
        if user is None or not self.knows(user):
            return
        if event.name == "copies.stored":
            devices = self.world.person(user).devices
            sender = self._sender_device(user)
            for device in [d for d in devices if d != sender] if devices else [""]:
                self.boxes.setdefault((user, device), {})[message_id] = event.line
        elif event.name == "copies.confirmed" or event.name in ("copies.dropped.overflow", "copies.dropped.expired"):
            self.boxes.get((user, event.device or ""), {}).pop(message_id, None)
        elif event.name == "copies.dropped.device_removed":
            self.boxes.pop((user, event.device or ""), None)
        elif event.name == "connections.authenticated" and event.device:
            # The first device that a user without any connects with.
            self.adopted(user, event.device)

    def box(self, user: str, device: str) -> Box:
        """What a device's mailbox must hold."""
        devices = self.world.person(user).devices
        if len(devices) == 1 and device in devices:
            self.adopted(user, device)
        return self.boxes.get((user, device), {})

    def adopted(self, user: str, device: str) -> None:
        """A user's first device gets what waited for one (R-6.2)."""
        waiting = self.boxes.pop((user, ""), None)
        if waiting:
            self.boxes.setdefault((user, device), {}).update(waiting)

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.AddDevice):
            self.adopted(event.command.address.lower(), event.command.device_id.lower())


@check("relay.accounted", "R-6.2")
class Accounted(_Mailboxes):
    """No acknowledged message is unaccounted for: SYNC_REQUIRED counts exactly what is stored and not yet confirmed."""

    def begin(self) -> None:
        super().begin()
        self.success: Any = None

    def out_any(self, event: ev.FrameOut) -> None:
        if event.type == "SYNC_REQUIRED":
            if self.success is not None and self.success.c == event.c and event.payload is not None:
                self._judge(event, event.payload.pending_count)
                self.success = None
            return
        self._nothing_announced()
        if event.type == "AUTH_SUCCESS" and self.world.conn(event.c).user is not None:
            self.success = event
            self.await_group_end()

    def on_group_end(self, following: Any) -> None:
        if type(following) is not ev.Crash:
            self._nothing_announced()
        self.success = None

    def _nothing_announced(self) -> None:
        success, self.success = self.success, None
        if success is not None:
            self._judge(success, 0)

    def _judge(self, event: ev.FrameOut, told: int) -> None:
        conn = self.world.conn(event.c)
        if conn.user is None or not self.knows(conn.user):
            return
        held = len(self.box(conn.user, conn.device))
        self.judge(told == held, f"the mailbox must hold {held} copies, {told} were announced", event)


@check("relay.fetch_complete", "R-6.6")
class FetchComplete(_Mailboxes):
    """GET /api/messages has in its total every copy that is stored and not yet confirmed, and lists no other."""

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        if asked is None or (asked.method, asked.path, event.status) != ("GET", "/api/messages", 200):
            return
        claims = claims_of(asked.bearer)
        body = event.body
        if claims is None or not self.knows(claims.sub) or not isinstance(body, dict):
            return
        box = self.box(claims.sub, claims.device_id)
        total = body.get("total")
        self.judge(total == len(box), f"the mailbox must hold {len(box)} copies, total is {total!r}", asked, event)


@check("relay.retention", "R-6.5")
class Retention(Check):
    """Nothing is pushed, and nothing fetched, once its retention is over."""

    def begin(self) -> None:
        self.accepted: Recent[str, Any] = Recent()

    def out_message_ack(self, event: ev.FrameOut) -> None:
        if event.payload.status == "queued":
            self.accepted[event.payload.message_id.lower()] = mark(event)

    def _still_kept(self, message_id: str, event: Any) -> None:
        ack = self.accepted.get(message_id)
        if ack is not None and self.world.comparable:
            kept_us = self.world.config.mailbox.retention_s * 1_000_000
            self.judge(event.t - ack.t <= kept_us, f"{message_id} after {event.t - ack.t} µs", ack, event)

    def out_message_new(self, event: ev.FrameOut) -> None:
        self._still_kept(event.id, event)

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        if asked is not None and (asked.method, asked.path, event.status) == ("GET", "/api/messages", 200):
            for message_id in fetched_ids(event.body):
                self._still_kept(message_id, event)


@check("relay.drops_noted", "R-6.5")
class DropsNoted(_Mailboxes):
    """A mailbox holds no more copies than its limit: the oldest are dropped, each with a note."""

    def begin(self) -> None:
        super().begin()
        self.grown: str | None = None
        self.stored: Any = None

    def on_note(self, event: ev.Note) -> None:
        super().on_note(event)
        if event.name == "copies.stored":
            self.grown, self.stored = event.user, event
            self.await_group_end()

    def on_group_end(self, following: Any) -> None:
        user, self.grown = self.grown, None
        if user is None or not self.knows(user) or type(following) is ev.Crash:
            return
        most = self.world.config.mailbox.max_copies
        for device in self.world.person(user).devices:
            held = len(self.boxes.get((user, device), {}))
            self.judge(held <= most, f"the mailbox of {device} holds {held} copies, at most {most}", self.stored)
