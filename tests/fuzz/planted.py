"""Bugs planted into the core, one at a time: each a context manager that breaks one rule of relay or client.

``BUGS`` names each with what it does. Its budget is ``MOST_SEEDS`` seeds of the fuzzer, in which a check must find it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import msgspec

from zentalk_sim.model import bus, device
from zentalk_sim.protocol import (
    authentication,
    backoff,
    client_connection,
    client_core,
    client_queue,
    client_receipts,
    client_signals,
    client_state,
    client_sync,
    close_policy,
    heartbeat,
    mailbox,
    messages,
    node,
    pipeline,
    presence,
    ratelimit,
    relay,
    store,
    token_refresh,
    topics,
    typing_indicators,
)

MOST_SEEDS: Final = 40
Patch = tuple[Any, str, Any]
BUGS: dict[str, tuple[str, Callable[[], list[Patch]]]] = {}


def bug(name: str) -> Callable[[Callable[[], list[Patch]]], Callable[[], list[Patch]]]:
    """Plant a bug under a name; its docstring says what is wrong."""

    def keep(make: Callable[[], list[Patch]]) -> Callable[[], list[Patch]]:
        assert name not in BUGS
        BUGS[name] = ((make.__doc__ or "").strip(), make)
        return make

    return keep


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The core with one bug in it."""
    patches = [patch.object(target, attribute, value) for target, attribute, value in BUGS[name][1]()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in reversed(patches):
            each.stop()


# --- the relay: messages


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
        n.config = msgspec.structs.replace(true, mailbox=box)
        original(n, message, recipient, devices)
        n.config = true

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
            message.delivered_to.remove(device_id)
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
        for message_id in list(conn.pushed):
            n.store.remove_copy(conn.user, conn.device_id, message_id)
        original(n, conn, now)

    return [(authentication, "lose", lose)]


@bug("bus event lost silently")
def _() -> list[Patch]:
    """The bus loses an event, and nobody looks at the mailbox again."""
    return [(mailbox, "look_again", _only_reschedule), (bus.Bus, "_drops", lambda self: self.sent % 3 == 0)]


def _only_reschedule(n: Any, conn: Any, now: int) -> None:
    conn.look_due_us += n.config.mailbox.look_interval_ms * 1000


@bug("content mixed up")
def _() -> list[Patch]:
    """MESSAGE_NEW carries the recipient's address as its sender."""
    original = messages.MessageNew
    return [(messages, "MessageNew", lambda sender, *rest: original(sender[:-1] + "0", *rest))]


# --- the relay: what it must refuse


@bug("wrong seq accepted")
def _() -> list[Patch]:
    """A sequence number that is not above the last is taken."""
    original = pipeline._receive_ready

    def receive_ready(n: Any, conn: Any, incoming: Any, now: int) -> None:
        conn.session.seq_in = 0
        original(n, conn, incoming, now)

    return [(pipeline, "_receive_ready", receive_ready)]


@bug("stale time accepted")
def _() -> list[Patch]:
    """Timestamps are not looked at."""
    return [(node.Node, "is_near", lambda self, time_ms, now: True)]


@bug("nonce taken again")
def _() -> list[Patch]:
    """A nonce may be used for two messages."""
    return [(store.MemoryStore, "nonce_holder", lambda self, *_: None)]


@bug("other content under an old id")
def _() -> list[Patch]:
    """An id accepted before is acknowledged whatever it comes with."""
    return [(messages, "content_hash", lambda payload, conversation: b"")]


@bug("MAC not checked")
def _() -> list[Patch]:
    """A wrong MAC is let through, and so is none where one is required."""
    return [(pipeline, "_check_mac", lambda *_: None)]


@bug("expired token accepted")
def _() -> list[Patch]:
    """A session token counts for ever."""
    return [(token_refresh, "check_life", lambda *_: None)]


@bug("limit window wrong")
def _() -> list[Patch]:
    """The window of a limit is half as long as it should be."""
    original = ratelimit.check

    def check(state: Any, limit: Any, now_us: int) -> Any:
        half = msgspec.structs.replace(limit, window_s=max(1, limit.window_s // 2))
        return original(state, half, now_us)

    return [(ratelimit, "check", check)]


@bug("limit one too many")
def _() -> list[Patch]:
    """A limit admits one more than it says."""
    original = node.admit

    def admit(state: Any, limit: Any, now_us: int) -> Any:
        more = msgspec.structs.replace(limit, limit=limit.limit + 1, burst=(limit.burst or limit.limit) + 1)
        return original(state, more, now_us)

    return [(node, "admit", admit)]


@bug("too many devices admitted")
def _() -> list[Patch]:
    """The ceiling of connected devices is not looked at."""
    original = authentication._admit

    def admit(n: Any, conn: Any, user: Any, now: int) -> None:
        true = n.config
        n.config = msgspec.structs.replace(
            true, limits=msgspec.structs.replace(true.limits, connections_per_user="off")
        )
        original(n, conn, user, now)
        n.config = true

    return [(authentication, "_admit", admit)]


@bug("signature not checked")
def _() -> list[Patch]:
    """AUTH_SUCCESS for a signature that does not verify."""

    def handle_response(n: Any, conn: Any, payload: Any, now: int) -> None:
        user = n.store.user(conn.user)
        if user is None or user.suspended:
            n.close(conn, 4003, "suspended")
        else:
            authentication._admit(n, conn, user, now)

    return [(authentication, "handle_response", handle_response)]


# --- the relay: sessions and connections


@bug("stale resume accepted")
def _() -> list[Patch]:
    """Any resume token of a device is good, however old."""
    original = authentication._take_session

    def take_session(n: Any, conn: Any, now: int) -> bool:
        session = n.store.sessions.get((conn.user, conn.device_id))
        if session is not None and conn.resume_token:
            conn.resume_token = session.resume_token
        return original(n, conn, now)

    return [(authentication, "_take_session", take_session)]


@bug("late resume accepted")
def _() -> list[Patch]:
    """A session is resumed however long it was lost."""
    original = authentication._take_session

    def take_session(n: Any, conn: Any, now: int) -> bool:
        session = n.store.sessions.get((conn.user, conn.device_id))
        if session is not None and session.lost_us is not None:
            session.lost_us = now
        return original(n, conn, now)

    return [(authentication, "_take_session", take_session)]


@bug("no heartbeat close")
def _() -> list[Patch]:
    """A silent connection is never dropped."""

    def pong_missed(n: Any, conn: Any, now: int) -> None:
        conn.pong_due_us = None
        conn.ping_missed = True
        n.note("heartbeats.missed", conn=conn)
        conn.ping_due_us = now + heartbeat.interval_us(n, conn)

    return [(heartbeat, "pong_missed", pong_missed)]


@bug("heartbeat early")
def _() -> list[Patch]:
    """The next PING comes one interval after the PONG, not after the PING."""
    original = heartbeat.handle_pong

    def handle_pong(n: Any, conn: Any, payload: Any, now: int) -> None:
        conn.ping_sent_us = now if payload.timestamp == conn.ping_timestamp_ms else conn.ping_sent_us
        original(n, conn, payload, now)

    return [(heartbeat, "handle_pong", handle_pong)]


@bug("older connection kept")
def _() -> list[Patch]:
    """A device that connects again keeps its older connection."""
    return [(authentication, "_replace", lambda n, older: None)]


@bug("suspended stays connected")
def _() -> list[Patch]:
    """Suspending a user closes no connection until its next frame."""
    from zentalk_sim.protocol import control

    return [(control, "_close_all", lambda *_: None)]


@bug("seq of the relay skips")
def _() -> list[Patch]:
    """Every PING takes two sequence numbers."""
    original = heartbeat.send_ping

    def send_ping(n: Any, conn: Any, now: int) -> None:
        conn.session.seq_out += 1
        original(n, conn, now)

    return [(heartbeat, "send_ping", send_ping)]


@bug("malformed run not counted")
def _() -> list[Patch]:
    """Malformed frames never close a connection."""
    original = pipeline.answer

    def answer(n: Any, conn: Any, *rest: Any) -> None:
        conn.malformed_in_a_row = -1
        original(n, conn, *rest)

    return [(pipeline, "answer", answer)]


# --- the relay: signals


@bug("presence of the hidden")
def _() -> list[Patch]:
    """Who is invisible, or hides, is shown as they are."""
    return [(presence, "hides", lambda user: False)]


@bug("presence to strangers")
def _() -> list[Patch]:
    """Anyone may watch anyone's presence."""
    return [(topics, "_check_permission", lambda *_: None)]


@bug("typing to who is disabled")
def _() -> list[Patch]:
    """Typing goes to those as well whom the user excepted."""

    def forward(n: Any, user: Any, members: Any, kind: str, conversation: str, now: int) -> None:
        from zentalk_sim.protocol.frames import TypingUpdate

        targets = [p for a in members if a != user.address for p in n.store.connected(a).values()]
        n.send_to(targets, kind, TypingUpdate(conversation, user.address), now)

    return [(typing_indicators, "_forward", forward)]


@bug("typing never stops")
def _() -> list[Patch]:
    """The relay does not say TYPING_STOP itself."""
    original = typing_indicators.timed_out

    def timed_out(n: Any, key: Any, now: int) -> None:
        entry = n.store.typing.get(key)
        if entry is not None and entry[1] is not None and entry[1] <= now:
            n.store.typing[key] = (entry[0], None)
        original(n, key, now)

    return [(typing_indicators, "timed_out", timed_out)]


# --- the client


@bug("jitter missing")
def _() -> list[Patch]:
    """The backoff has no jitter."""

    def delay_us(config: Any, attempt: int, *_: Any) -> int:
        return backoff.exponential_us(config, attempt)

    return [(backoff, "delay_us", delay_us)]


@bug("counter reset at open")
def _() -> list[Patch]:
    """The row of failures ends when the socket opens, not at AUTH_SUCCESS."""
    original = client_connection.ConnectionLife.connected

    def connected(self: Any, now: int) -> Any:
        self.failures = self._backoffs = 0
        return original(self, now)

    return [(client_connection.ConnectionLife, "connected", connected)]


@bug("reconnects after 4003")
def _() -> list[Patch]:
    """A suspended account is tried again with backoff."""
    policy = {**close_policy.CLOSE_POLICY, 4003: ("backoff", "account suspended")}
    return [(close_policy, "CLOSE_POLICY", policy)]


@bug("no wait after 4002")
def _() -> list[Patch]:
    """After 4002 a client backs off, and does not wait."""
    policy = {**close_policy.CLOSE_POLICY, 4002: ("backoff", "rate limited")}
    return [(close_policy, "CLOSE_POLICY", policy)]


@bug("sent again under a new id")
def _() -> list[Patch]:
    """What is sent again has a fresh id."""
    original = client_queue.Outbox._transmit

    def transmit(self: Any, entry: Any, now: int, out: Any) -> None:
        if entry.first_attempt is not None:
            self.sent.pop(entry.message_id, None)
            entry.message_id = self._host._next_id()
        original(self, entry, now, out)

    return [(client_queue.Outbox, "_transmit", transmit)]


@bug("duplicates shown")
def _() -> list[Patch]:
    """A message that comes twice is shown twice."""
    return [(client_sync.Inbox, "remember", lambda self, sender, message_id: True)]


@bug("duplicates not confirmed")
def _() -> list[Patch]:
    """A message known already is not confirmed again."""
    original = client_sync.Inbox._show
    known: dict[int, bool] = {}

    def show(self: Any, message_id: str, *rest: Any) -> bool:
        known[id(self._host)] = shown = original(self, message_id, *rest)
        return shown

    def confirm(self: Any, message_id: str, now: int, out: Any) -> None:
        if known.get(id(self), True):
            self.receipts.add(client_receipts.RECEIVED, message_id, now, out)

    return [(client_sync.Inbox, "_show", show), (client_core.ClientCore, "confirm", confirm)]


@bug("nothing confirmed")
def _() -> list[Patch]:
    """Messages pushed are not confirmed."""
    return [(client_core.ClientCore, "confirm", lambda *_: None)]


@bug("typing too fast")
def _() -> list[Patch]:
    """TYPING_START is sent as often as the application says."""
    return [
        (client_signals, "TYPING_THROTTLE_US", 0),
        (device_habits(), "TYPING_AGAIN_US", 500_000),
    ]


def device_habits() -> Any:
    """The module of users' habits, whose applications are to say oftener that they type."""
    from zentalk_sim.model import habits

    return habits


@bug("queue oldest first")
def _() -> list[Patch]:
    """The outgoing queue gives its oldest message first."""
    original = client_queue.Outbox._pump

    def pump(self: Any, now: int, out: Any) -> None:
        self.queue.reverse()
        original(self, now, out)
        self.queue.reverse()

    return [(client_queue.Outbox, "_pump", pump)]


@bug("no pace")
def _() -> list[Patch]:
    """Queue and re-sends go out at once, not one each 100 ms."""
    original = client_queue.Outbox._drain_due_us

    def due(self: Any) -> int | None:
        self._drain_us = 0
        found: int | None = original(self)
        return found

    return [(client_queue.Outbox, "_drain_due_us", due)]


@bug("no pause after a limit")
def _() -> list[Patch]:
    """RATE_LIMITED does not pause sending."""
    original = client_queue.Outbox.refused

    def refused(self: Any, message_id: str, code: str, pause_us: int, now: int, out: Any) -> bool:
        return original(self, message_id, code, 0, now, out)

    return [(client_queue.Outbox, "refused", refused)]


@bug("retries without end")
def _() -> list[Patch]:
    """A message is sent again for ever."""
    original = client_queue.Outbox._again

    def again(self: Any, entry: Any, code: str, out: Any) -> None:
        entry.retry_count = 0
        original(self, entry, code, out)

    return [(client_queue.Outbox, "_again", again)]


@bug("queue without bound")
def _() -> list[Patch]:
    """More sends than allowed are without an answer."""
    original = client_queue.Outbox.add

    def add(self: Any, entry: Any, now: int, out: Any) -> None:
        if self._host.state is client_state.ClientState.CONNECTED:
            self._transmit(entry, now, out)
        else:
            original(self, entry, now, out)

    return [(client_queue.Outbox, "add", add)]


@bug("PONG without its echo")
def _() -> list[Patch]:
    """PONG carries the client's own time in the place of the PING's."""

    def ping(self: Any, frame: Any, now: int, out: Any) -> None:
        from zentalk_sim.protocol.frames import Pong

        time_ms = self.session.time_ms(now)
        self.emit("PONG", Pong(time_ms, time_ms), now, out)

    connected = client_state.ClientState.CONNECTED
    handlers = {**client_core._HANDLERS, connected: {**client_core._HANDLERS[connected], "PING": ping}}
    return [(client_core, "_HANDLERS", handlers)]


@bug("seq starts anew on resumption")
def _() -> list[Patch]:
    """A resumed client counts its frames from one again."""
    from zentalk_sim.protocol import client_session

    original = client_session.Session.succeed

    def succeed(self: Any, success: Any, crypto: Any, with_mac: bool) -> None:
        original(self, success, crypto, with_mac)
        self.seq = 0

    return [(client_session.Session, "succeed", succeed)]


@bug("old token after 4001")
def _() -> list[Patch]:
    """After 4001 a client comes again with the token it had."""
    policy = {**close_policy.CLOSE_POLICY, 4001: ("backoff", "token expired")}
    return [(close_policy, "CLOSE_POLICY", policy)]


@bug("fetch stops after a page")
def _() -> list[Patch]:
    """After the first page of a backlog a client asks for no more."""
    original = client_sync.Inbox._take_page

    def take_page(self: Any, page: Any, now: int, out: Any) -> None:
        original(self, page[:1], now, out)
        self._finish(now, out)

    return [(client_sync.Inbox, "_take_page", take_page)]


__all__ = ["BUGS", "MOST_SEEDS", "device", "planted", "relay"]
