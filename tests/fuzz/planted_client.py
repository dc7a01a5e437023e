"""Bugs of the client."""

from __future__ import annotations

from typing import Any

from tests.fuzz.planting import Bugs, Patch, planter
from zentalk_sim.protocol import (
    backoff,
    client_connection,
    client_core,
    client_queue,
    client_receipts,
    client_signals,
    client_state,
    client_sync,
    close_policy,
)

BUGS: Bugs = {}
bug = planter(BUGS)


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

    def answer(self: Any, ping: Any, now: int, out: Any) -> None:
        from zentalk_sim.protocol.frames import Pong

        time_ms = self.session.time_ms(now)
        self.emit("PONG", Pong(time_ms, time_ms), now, out)

    return [(client_core.ClientCore, "_answer", answer)]


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
