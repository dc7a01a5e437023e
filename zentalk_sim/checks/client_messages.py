"""A client's messages: sent again under the same id, confirmed, shown once (R-6.3, R-11.4 to R-11.6)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from zentalk_sim.checks.registry import Check, Mark, Recent, check, mark
from zentalk_sim.checks.world import claims_of
from zentalk_sim.protocol.frames import MessageSend
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.trace import events as ev

_MOST_WAITING: Final = 300
"""Messages a device may have written and not sent; queues hold a hundred."""
_PATIENCE_MS: Final = 60_000
"""A client that holds live messages back while it fetches may take this long to confirm one."""


def hash_of(payload: MessageSend, sender: str | None, redacted: bool) -> int:
    """R-5.6: what makes two sends the same, within this process: every send has it worked out.

    Of a redacted trace all but the conversation, which may be named or not: the same one, but for its pseudonym.
    """
    named = UNSET if redacted else payload.conversation_id
    if named is not UNSET and named == conversation_id(sender or "", payload.to):
        named = UNSET
    header = None if payload.x3dh_header is UNSET else repr(payload.x3dh_header)
    to = payload.to.lower()
    return hash((to, payload.ciphertext, payload.nonce, payload.message_type, str(named), header))


@check("client.resend_same", "R-11.4")
class ResendSame(Check):
    """A message sent again under its id has the same content."""

    def begin(self) -> None:
        self.sent: Recent[tuple[str, str], tuple[int, int]] = Recent()

    def in_message_send(self, event: ev.FrameIn) -> None:
        user = self.world.conn(event.c).user
        key = (user or self.world.conn(event.c).device, event.id)
        hashed = hash_of(event.payload, user, self.world.redacted)
        before = self.sent.get(key)
        if before is None:
            self.sent[key] = (hashed, event.line)
        else:
            self.judge(before[0] == hashed, f"other content than in line {before[1]} under the same id", event)

    def out_error(self, event: ev.FrameOut) -> None:
        payload = event.payload
        if payload.error_code == "KEY_MISMATCH" and isinstance(payload.original_id, str):
            # Sent again with another key bundle, by.
            conn = self.world.conn(event.c)
            self.sent.pop((conn.user or conn.device, payload.original_id.lower()))


class _InFlight(Check):
    """Base: what each connection has sent that is not answered yet."""

    def begin(self) -> None:
        self.sent: dict[int, dict[str, Any]] = {}

    def out_message_ack(self, event: ev.FrameOut) -> None:
        self.sent.get(event.c, {}).pop(event.payload.message_id.lower(), None)

    def out_error(self, event: ev.FrameOut) -> None:
        if isinstance(event.payload.original_id, str):
            self.sent.get(event.c, {}).pop(event.payload.original_id.lower(), None)

    def on_lost(self, event: ev.Lost) -> None:
        self.sent.pop(event.c, None)


@check("client.resend_wait", "R-11.4")
class ResendWait(_InFlight):
    """On one connection a message is sent again only when 10 s have passed without its ACK."""

    def in_message_send(self, event: ev.FrameIn) -> None:
        sent = self.sent.setdefault(event.c, {})
        before = sent.get(event.id)
        if before is not None:
            waited_ms = event.timestamp - before.timestamp
            held = waited_ms >= self.world.client.queue.ack_timeout_ms - 1
            self.judge(held, f"sent again after {waited_ms} ms", before, event)
        if len(sent) < 1_000:
            sent[event.id] = mark(event)


@check("client.unacknowledged", "R-11.4")
class Unacknowledged(_InFlight):
    """At most 100 sends are unacknowledged."""

    def begin(self) -> None:
        super().begin()
        self.tries: Recent[tuple[str, str], int] = Recent()
        """How often a device has sent a message, on whatever connections."""

    def in_message_send(self, event: ev.FrameIn) -> None:
        sent = self.sent.setdefault(event.c, {})
        settings = self.world.client.queue
        key = (self.world.conn(event.c).device, event.id)
        times = (self.tries.get(key) or 0) + 1
        self.tries[key] = times
        sent[event.id] = (times, event.timestamp)
        if len(sent) > settings.max_unacked:
            # What was sent as often as it may be, and its time is over, the client has given up on.
            over_ms = event.timestamp - settings.ack_timeout_ms + 1
            for message_id in [i for i, (n, at) in sent.items() if n > settings.max_retries and at <= over_ms]:
                del sent[message_id]
        held = len(sent) <= settings.max_unacked
        self.judge(held, f"more than {settings.max_unacked} sends without an answer", event)
        if not held:
            sent.clear()


@check("client.retries", "R-11.4")
class Retries(Check):
    """A message is sent again at most five times."""

    def begin(self) -> None:
        self.tries: Recent[tuple[str, str], int] = Recent()

    def in_message_send(self, event: ev.FrameIn) -> None:
        key = (self.world.conn(event.c).device, event.id)
        tries = (self.tries.get(key) or 0) + 1
        self.tries[key] = tries
        if tries > 1:
            most = self.world.client.queue.max_retries
            self.judge(tries != most + 2, f"sent again for the {tries - 1}th time", event)

    def out_error(self, event: ev.FrameOut) -> None:
        payload = event.payload
        key = (self.world.conn(event.c).device, str(payload.original_id).lower())
        # the retry count stays as it was.
        if payload.error_code == "RATE_LIMITED" and (tries := self.tries.get(key)):
            self.tries[key] = tries - 1


@check("client.resend_pace", "R-11.4")
class ResendPace(Check):
    """Messages sent again follow one another at 100 ms at least."""

    def begin(self) -> None:
        self.known: Recent[tuple[str, str], None] = Recent()
        self.last: dict[int, Any] = {}
        self.newest: Recent[str, int] = Recent(200_000)

    def on_upgrade(self, event: ev.Upgrade) -> None:
        self.newest[self.world.conn(event.c).device] = event.c

    def in_message_send(self, event: ev.FrameIn) -> None:
        device = self.world.conn(event.c).device
        if self.newest.get(device) not in (None, event.c):
            # What an older connection brings late was sent before what came over the newer one.
            return
        key = (device, event.id)
        if key not in self.known:
            self.known[key] = None
            return
        before = self.last.get(event.c)
        self.last[event.c] = mark(event)
        if before is not None:
            apart_ms = event.timestamp - before.timestamp
            held = apart_ms >= self.world.client.queue.drain_interval_ms - 1
            self.judge(held, f"two re-sends {apart_ms} ms apart", before, event)

    def on_lost(self, event: ev.Lost) -> None:
        self.last.pop(event.c, None)


class _Confirming(Check):
    """Base: messages a device was given and has not confirmed, by connection."""

    def begin(self) -> None:
        self.owed: dict[int, dict[str, Mark]] = {}
        self.since: dict[int, tuple[str, int]] = {}
        """The oldest message owed, and the client's time of the first frame that shows that the client has it."""

    def owe(self, c: int, message_id: str, given: Mark) -> None:
        """A message is to be confirmed; ``given`` where it was pushed, or else fetched."""
        owed = self.owed.setdefault(c, {})
        if len(owed) < 10_000:
            owed.setdefault(message_id, given)

    def confirmed(self, c: int, message_id: str, device: str) -> None:
        """It was."""
        if self.owed.get(c, {}).pop(message_id, None) is not None:
            self.seen()

    def in_message_received(self, event: ev.FrameIn) -> None:
        self.confirmed(event.c, event.payload.message_id.lower(), self.world.conn(event.c).device)

    def in_message_read(self, event: ev.FrameIn) -> None:
        self.in_message_received(event)

    def on_request(self, event: ev.Request) -> None:
        if event.method != "POST" or event.path != "/api/messages/ack" or event.body is None:
            return
        claims = claims_of(event.bearer)
        c = self.world.places.get(claims.sub, {}).get(claims.device_id) if claims is not None else None
        if (c is None or claims is None) and not self.world.redacted:
            return
        try:
            ids = msgspec.json.decode(event.body, type=dict[str, Any]).get("message_ids")
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return
        for message_id in ids if isinstance(ids, list) else ():
            if not isinstance(message_id, str):
                continue
            if claims is not None and c is not None:
                self.confirmed(c, message_id.lower(), claims.device_id)
            else:
                # Whose request it is the pseudonym of its token does not tell: any that owes this may have made it.
                for one in [one for one, owed in self.owed.items() if message_id.lower() in owed]:
                    self.confirmed(one, message_id.lower(), self.world.conn(one).device)

    def in_any(self, event: ev.FrameIn) -> None:
        """A client that has the message and still speaks a minute later, by its own time, had the time to confirm."""
        owed = self.owed.get(event.c)
        if not owed or event.partial or event.type in ("MESSAGE_RECEIVED", "MESSAGE_READ"):
            return
        message_id, given = next(iter(owed.items()))
        since = self.since.get(event.c)
        if since is None or since[0] != message_id:
            if given.c < 0:
                # An answer to a request, which has no connection.
                since = (message_id, given.t // 1000)
            elif self.world.conn(event.c).heard_us >= given.t:
                since = (message_id, event.timestamp)
            else:
                return
            self.since[event.c] = since
        if event.timestamp - since[1] > _PATIENCE_MS:
            del owed[message_id]
            self.broken(f"{message_id} was not confirmed within a minute", given, event)

    def on_lost(self, event: ev.Lost) -> None:
        self.owed.pop(event.c, None)
        self.since.pop(event.c, None)


@check("client.confirms", "R-6.3")
class Confirms(_Confirming):
    """Every message pushed is confirmed."""

    def begin(self) -> None:
        super().begin()
        self.given: Recent[tuple[str, str], Any] = Recent()

    def out_message_new(self, event: ev.FrameOut) -> None:
        key = (self.world.conn(event.c).device, event.id)
        if key not in self.given:
            given = self.given[key] = mark(event)
            if not self.world.tells_states:
                self.owe(event.c, event.id, given)

    def on_shown(self, event: ev.Shown) -> None:
        """A client that fetches holds live messages back; a simulation tells when it has done with one."""
        given = self.given.get((event.device, event.message_id))
        if given is not None and given.c in self.world.conns:
            self.owe(given.c, event.message_id, given)


@check("client.confirms_again", "R-11.6")
class ConfirmsAgain(Confirms):
    """A message that comes a second time is confirmed a second time."""

    def out_message_new(self, event: ev.FrameOut) -> None:
        key = (self.world.conn(event.c).device, event.id)
        if key in self.given and not (self.world.tells_states and event.c in self.syncing):
            self.owe(event.c, event.id, mark(event))
        self.given[key] = mark(event)

    def begin(self) -> None:
        super().begin()
        self.syncing: dict[int, None] = {}
        """Connections whose client may be holding messages back."""

    def out_sync_required(self, event: ev.FrameOut) -> None:
        self.syncing[event.c] = None

    def on_shown(self, event: ev.Shown) -> None:
        """What is shown is shown for the first time."""

    def on_lost(self, event: ev.Lost) -> None:
        super().on_lost(event)
        self.syncing.pop(event.c, None)


@check("client.confirms_fetched", "R-6.6")
class ConfirmsFetched(_Confirming):
    """Every message fetched is confirmed."""

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        if asked is None or asked.method != "GET" or asked.path != "/api/messages" or event.status != 200:
            return
        claims = claims_of(asked.bearer)
        c = self.world.places.get(claims.sub, {}).get(claims.device_id) if claims is not None else None
        if c is None or claims is None:
            return
        given = mark(event)
        for message_id in fetched_ids(event.body):
            if self.world.tells_states:
                # Whether the answer arrived is known once the message is shown.
                self.fetched[claims.device_id, message_id] = (c, given)
            else:
                self.owe(c, message_id, given)

    def begin(self) -> None:
        super().begin()
        self.fetched: Recent[tuple[str, str], tuple[int, Any]] = Recent()

    def on_shown(self, event: ev.Shown) -> None:
        found = self.fetched.pop((event.device, event.message_id))
        if found is not None and found[0] in self.world.conns:
            self.owe(found[0], event.message_id, found[1])


def fetched_ids(body: Any) -> list[str]:
    """The ids in an answer of ``GET /api/messages``."""
    messages = body.get("messages") if isinstance(body, dict) else None
    found = messages if isinstance(messages, list) else []
    return [m["id"].lower() for m in found if isinstance(m, dict) and isinstance(m.get("id"), str)]


@check("client.queue_order", "R-11.4")
class QueueOrder(Check):
    """In a simulation: of what waits in the outgoing queue the newest message is sent first."""

    def begin(self) -> None:
        self.waiting: Recent[str, dict[str, Mark]] = Recent(10_000)

    def on_wrote(self, event: ev.Wrote) -> None:
        waiting = self.waiting.get(event.device)
        if waiting is None:
            waiting = self.waiting[event.device] = {}
        if len(waiting) < _MOST_WAITING:
            waiting[event.message_id] = mark(event)

    def on_transmitted(self, event: ev.Transmitted) -> None:
        waiting = self.waiting.get(event.device)
        own = waiting.pop(event.message_id, None) if waiting else None
        if own is not None and waiting:
            newer = [other for other in waiting.values() if other.line > own.line]
            self.judge(not newer, f"sent before {len(newer)} newer ones that waited", own, *newer[:1], event)


@check("client.shown_once", "R-11.6")
class ShownOnce(Check):
    """In a simulation: a device shows a message once."""

    def begin(self) -> None:
        self.shown: Recent[tuple[str, str], Any] = Recent()

    def on_shown(self, event: ev.Shown) -> None:
        key = (event.device, event.message_id)
        before = self.shown.get(key)
        self.shown[key] = mark(event)
        self.judge(before is None, "shown a second time", *([before] if before is not None else []), event)
