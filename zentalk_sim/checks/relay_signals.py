"""Presence, typing and key changes: who is told, and what (R-6.7, R-7.2 to R-7.5).

Where there are several nodes a word may be on the bus while what it tells of changes, so that what depends on the
instant is judged for a single node only.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from zentalk_sim.checks.registry import Check, Recent, check
from zentalk_sim.checks.world import claims_of
from zentalk_sim.protocol import control
from zentalk_sim.trace import events as ev

_SLACK_US = 1_000_000


class _Settings(Check):
    """Base: each user's privacy settings and the status that the user has set."""

    def begin(self) -> None:
        self.settings: dict[str, dict[str, Any]] = {}
        self.status: dict[str, str | None] = {}
        self.before: tuple[int, str, str | None] | None = None
        """Of the PRESENCE_SET under way: connection, user, and the status until then."""

    @property
    def judged(self) -> bool:
        """Whether the trace tells all settings, at their instants."""
        begin = self.world.begin
        return begin is not None and begin.whole and begin.image is not None and begin.nodes == 1

    def on_begin(self, event: ev.Begin) -> None:
        for address, user in event.image.store.users.items() if event.image is not None else ():
            self.settings[address] = msgspec.to_builtins(user.settings)
            self.status[address] = user.status_set

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.ChangeSettings):
            self._change(event.command.address.lower(), event.command.settings)

    def on_request(self, event: ev.Request) -> None:
        claims = claims_of(event.bearer)
        if event.method == "PUT" and event.path == "/api/settings" and event.body is not None and claims is not None:
            try:
                self._change(claims.sub, msgspec.json.decode(event.body, type=dict[str, Any]))
            except (msgspec.MsgspecError, RecursionError, UnicodeError):
                return

    def _change(self, user: str, changes: dict[str, Any]) -> None:
        self.settings.setdefault(user, {}).update(changes)

    def in_presence_set(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        if conn.state == "ready" and conn.user is not None:
            self.before = (event.c, conn.user, self.status.get(conn.user))
            self.status[conn.user] = event.payload.status
            self.await_group_end()

    def out_error(self, event: ev.FrameOut) -> None:
        if self.before is not None and self.before[0] == event.c:
            self.status[self.before[1]] = self.before[2]

    def on_group_end(self, following: Any) -> None:
        self.before = None

    def hides(self, user: str) -> bool:
        """Whether a user looks offline to others."""
        return self.status.get(user) == "invisible" or self.settings.get(user, {}).get("share_presence") is False


@check("relay.presence_hidden", "R-7.3")
class PresenceHidden(_Settings):
    """Who is invisible or hides looks offline, without last_seen and device_count; last_seen may be hidden alone."""

    def out_presence_update(self, event: ev.FrameOut) -> None:
        if not self.judged:
            return
        payload = event.payload
        user = payload.user_id.lower()
        if self.hides(user):
            plain = (payload.status, payload.last_seen, payload.device_count) == ("offline", UNSET, UNSET)
            self.judge(plain, f"{user} hides, and is told to be {payload.status}", event)
        elif self.settings.get(user, {}).get("show_last_seen") is False:
            self.judge(payload.last_seen is UNSET, f"last_seen of {user}, who does not show it", event)


@check("relay.typing_private", "R-7.3")
class TypingPrivate(_Settings):
    """Typing is not sent to those whom its user excepts."""

    def out_typing_start(self, event: ev.FrameOut) -> None:
        excepted = self.settings.get(event.payload.user_id.lower(), {}).get("typing_disabled_for")
        if self.judged and excepted:
            reader = self.world.conn(event.c).user
            held = reader not in [str(address).lower() for address in excepted]
            self.judge(held, f"typing of {event.payload.user_id} told to {reader}", event)


@check("relay.typing_stop", "R-7.4")
class TypingStop(Check):
    """Without another TYPING_START the relay says TYPING_STOP itself, five seconds later."""

    def begin(self) -> None:
        self.due: dict[tuple[int, str, str], tuple[int, Any]] = {}

    def out_typing_start(self, event: ev.FrameOut) -> None:
        begin = self.world.begin
        if begin is not None and begin.whole and begin.nodes == 1 and len(self.due) < 10_000:
            due_us = event.t + self.world.config.typing.timeout_ms * 1000
            key = (event.c, event.payload.conversation_id, event.payload.user_id)
            self.due.pop(key, None)
            self.due[key] = (due_us, event)
            self.await_group_end()

    def out_typing_stop(self, event: ev.FrameOut) -> None:
        key = (event.c, event.payload.conversation_id, event.payload.user_id)
        if self.due.pop(key, None) is not None:
            self.seen()

    def on_group_end(self, following: Any) -> None:
        # By the node's own clock, which its inputs tell.
        now_us = 0 if self.world.cause is None else self.world.cause.t
        while self.due:
            key, (due_us, event) = next(iter(self.due.items()))
            if due_us + _SLACK_US > now_us:
                self.await_group_end()
                return
            del self.due[key]
            self.broken(f"no TYPING_STOP to connection {key[0]}, due at {due_us} µs", event)

    def _forget(self, event: Any) -> None:
        for key in [key for key in self.due if key[0] == event.c]:
            del self.due[key]

    on_close = on_abort = on_lost = _forget

    def on_control(self, event: ev.Control) -> None:
        # Who is told may be another from now on.
        self.due.clear()

    def on_config(self, event: ev.Config) -> None:
        self.due.clear()

    def on_restart(self, event: ev.Restart) -> None:
        self.due.clear()

    def on_request(self, event: ev.Request) -> None:
        if event.path == "/api/settings":
            self.due.clear()


class Contacts(Check):
    """Base: who is whose contact."""

    notes = frozenset(("copies.stored",))

    def begin(self) -> None:
        self.contacts: dict[str, dict[str, None]] = {}

    @property
    def judged(self) -> bool:
        """Whether all contacts are known."""
        begin = self.world.begin
        return begin is not None and begin.whole and begin.image is not None and not begin.redacted

    def on_begin(self, event: ev.Begin) -> None:
        for address, user in event.image.store.users.items() if event.image is not None else ():
            self.contacts[address] = dict(user.contacts)

    def meet(self, one: str, other: str) -> None:
        """Two users are contacts; nobody is their own."""
        if one == other:
            return
        self.contacts.setdefault(one, {})[other] = None
        self.contacts.setdefault(other, {})[one] = None

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.MakeContacts):
            self.meet(event.command.one.lower(), event.command.other.lower())

    def on_note(self, event: ev.Note) -> None:
        if event.name != "copies.stored" or event.user is None:
            return
        cause = self.world.cause
        if type(cause) is ev.FrameIn:
            sender = self.world.conn(cause.c).user
        else:
            claims = claims_of(cause.bearer) if type(cause) is ev.Request else None
            sender = claims.sub if claims is not None else None
        if sender is not None:
            self.meet(sender, event.user)


@check("relay.presence_contacts", "R-7.2")
class PresenceContacts(Contacts):
    """Presence is told to contacts only."""

    def out_presence_update(self, event: ev.FrameOut) -> None:
        reader, user = self.world.conn(event.c).user, event.payload.user_id.lower()
        if self.judged and reader is not None and reader != user:
            held = user in self.contacts.get(reader, {})
            self.judge(held, f"presence of {user} told to {reader}, who is no contact", event)


@check("relay.key_change", "R-7.5")
class KeyChangeReaders(Contacts):
    """KEY_CHANGE goes to contacts of its user, and to who subscribed to that user's keys."""

    def begin(self) -> None:
        super().begin()
        self.subscribed: Recent[tuple[str, str], bool] = Recent()

    def in_subscribe(self, event: ev.FrameIn) -> None:
        user = self.world.conn(event.c).user
        for topic in event.payload.topics[:1000] if user is not None else ():
            if topic.startswith("keys:"):
                self.subscribed[user or "", topic[5:].lower()] = True

    def out_key_change(self, event: ev.FrameOut) -> None:
        reader, user = self.world.conn(event.c).user, event.payload.user_id.lower()
        if self.judged and reader is not None:
            held = user in self.contacts.get(reader, {}) or (reader, user) in self.subscribed
            self.judge(held, f"KEY_CHANGE of {user} told to {reader}", event)


@check("relay.push_offline", "R-6.7")
class PushOffline(Check):
    """A push notification is sent only to a user who has no device connected."""

    def on_push(self, event: ev.Push) -> None:
        begin = self.world.begin
        if event.pending is not None and begin is not None and begin.whole:
            places = self.world.places.get(event.user, {})
            self.judge(not places, f"a push to {event.user}, who has {len(places)} devices connected", event)
