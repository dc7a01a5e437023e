"""Who must be told that a key changes, at once or at the next connect, and what they are told (R-7.5, R-6.3).

A user's contacts are known from the trace's snapshot and its messages; topics from what was subscribed to on a
connection since it was opened. So nobody is missed who is not known to be owed the word, but not all are known.
"""

from __future__ import annotations

from typing import Any

from zentalk_sim.checks.registry import Check, Mark, Recent, check, mark
from zentalk_sim.checks.relay_signals import Contacts
from zentalk_sim.checks.world import claims_of, device_asked_for
from zentalk_sim.protocol import control
from zentalk_sim.protocol.identity import fingerprint
from zentalk_sim.protocol.keys import REASONS
from zentalk_sim.trace import events as ev

_MANY_NOTICES = 100
"""A relay that keeps so many notices a device loses none of the few that a trace shows."""


@check("relay.key_change_told", "R-7.5")
class KeyChangeTold(Contacts):
    """A new key or device is told to every contact and to who subscribed: at once, or else at the next connect."""

    def begin(self) -> None:
        super().begin()
        self.changed: dict[str, Any] = {}
        """Users whose keys this group changes, and the event that does."""
        self.told: dict[tuple[int, str], None] = {}
        """Connections told in this group, and of whom; of whom is empty where another node is asked to."""
        self.topics: dict[int, dict[str, None]] = {}
        self.asked: tuple[int, dict[str, None]] | None = None
        """The topics of a connection before the SUBSCRIBE or UNSUBSCRIBE under way."""
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}
        """User and device away → of whose keys they are told at the next connect."""
        self.joined: dict[int, tuple[str, str]] = {}
        """Connections authenticated in this group, with user and device."""

    # --- who asks to be told ------------------------------------------------------------------------

    def in_subscribe(self, event: ev.FrameIn) -> None:
        if self.world.conn(event.c).state == "ready":
            held = self.topics.setdefault(event.c, {})
            self.asked = (event.c, dict(held))
            held.update(dict.fromkeys(t[5:].lower() for t in event.payload.topics[:1000] if t.startswith("keys:")))
            self.await_group_end()

    def in_unsubscribe(self, event: ev.FrameIn) -> None:
        # Whether it is taken or not: who may have left is not waited for.
        for topic in event.payload.topics[:1000]:
            self.topics.get(event.c, {}).pop(topic[5:].lower(), None)

    def out_error(self, event: ev.FrameOut) -> None:
        if self.asked is not None and self.asked[0] == event.c:
            self.topics[event.c] = self.asked[1]

    def _ended(self, event: Any) -> None:
        self.topics.pop(event.c, None)

    on_close = on_abort = on_lost = _ended

    # --- what changes -------------------------------------------------------------------------------

    def _changes(self, user: str, event: Any) -> None:
        if self.judged:
            self.changed[user] = event
            self.await_group_end()

    def _gains(self, user: str, device: str, event: Any) -> None:
        """A device is registered: told where it is not the user's first."""
        person = self.world.person(user)
        most = self.world.config.devices.max_registered
        if person.known and person.devices and device not in person.devices and len(person.devices) < most:
            self._changes(user, event)

    def on_control(self, event: ev.Control) -> None:
        super().on_control(event)
        match event.command:
            case control.RotateKey(address=address, new_key=new_key, reason=reason):
                if len(new_key) == 32 and reason in REASONS:
                    self._changes(address.lower(), event)
            case control.AddDevice(address=address, device_id=device):
                self._gains(address.lower(), device.lower(), event)
            case control.RemoveDevice(address=address, device_id=device):
                self.kept.pop((address.lower(), device.lower()), None)

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        claims = None if asked is None else claims_of(asked.bearer)
        if asked is None or claims is None or not 200 <= event.status < 300:
            return
        device = device_asked_for(asked)
        if device is not None:
            self._gains(claims.sub, device, event)
        elif asked.method == "DELETE":
            for key in [key for key in self.kept if key[0] == claims.sub]:
                del self.kept[key]

    def out_auth_success(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        if conn.user is not None and conn.state != "ended":
            self._gains(conn.user, conn.device, event)
            if self.kept and (conn.user, conn.device) in self.kept:
                self.joined[event.c] = (conn.user, conn.device)
                self.await_group_end()

    def on_restart(self, event: ev.Restart) -> None:
        self.topics.clear()
        self.kept.clear()

    # --- who is told --------------------------------------------------------------------------------

    def out_key_change(self, event: ev.FrameOut) -> None:
        self.told[event.c, event.payload.user_id.lower()] = None
        self.await_group_end()

    def on_publish(self, event: ev.Publish) -> None:
        if self.changed or self.judged:
            self.told[event.c, ""] = None
            self.await_group_end()

    def on_group_end(self, following: Any) -> None:
        for c, key in self.joined.items():
            for user, change in self.kept.pop(key, {}).items():
                held = (c, user) in self.told
                self.judge(held, f"connection {c} was not told at its connect of the keys of {user}", change)
        if type(following) is not ev.Crash:
            for user, event in self.changed.items():
                self._judge(user, event)
        self.asked = None
        for of in (self.changed, self.told, self.joined):
            of.clear()

    def _judge(self, user: str, event: Any) -> None:
        contacts = self.contacts.get(user, {})
        for contact in contacts:
            places = self.world.places.get(contact, {})
            for c in places.values():
                self._judge_one(c, user, event)
            begin = self.world.begin
            if not places and begin is not None and begin.nodes == 1 and self._keeps_enough():
                for device in self.world.person(contact).devices:
                    self.kept.setdefault((contact, device), {})[user] = event
        for c, topics in self.topics.items():
            if user in topics and self.world.conn(c).user not in (*contacts, user):
                self._judge_one(c, user, event)

    def _keeps_enough(self) -> bool:
        return self.world.config.mailbox.max_notices >= _MANY_NOTICES and len(self.kept) < 10_000

    def _judge_one(self, c: int, user: str, event: Any) -> None:
        if self.world.conn(c).state == "ready":
            held = (c, user) in self.told or (c, "") in self.told
            self.judge(held, f"connection {c} was not told of the keys of {user}", event)


@check("relay.key_change_form", "R-7.5")
class KeyChangeForm(Check):
    """KEY_CHANGE has the fingerprint of the new key, that of an old one, and a known reason; it verifies nothing."""

    def out_key_change(self, event: ev.FrameOut) -> None:
        payload = event.payload
        same = payload.old_key_fingerprint == payload.new_key_fingerprint
        if not self.world.redacted and payload.new_key_fingerprint != fingerprint(payload.new_key):
            self.broken("new_key_fingerprint is not that of new_key", event)
        elif payload.reason not in REASONS or payload.verified:
            self.broken(f"reason {payload.reason!r}, verified {payload.verified}", event)
        else:
            self.judge(same or payload.reason != "device_added", "a device was added, and the key is another", event)


@check("relay.prekeys_once", "R-6.8")
class PrekeysOnce(Check):
    """Each one-time pre-key of a user is handed out once."""

    def begin(self) -> None:
        self.handed: Recent[tuple[str, str], Mark] = Recent()

    def on_request(self, event: ev.Request) -> None:
        # Who publishes keys may publish one under an old number again.
        claims = claims_of(event.bearer) if event.method in ("POST", "PUT") and "/keys" in event.path else None
        if claims is not None:
            self._published(claims.sub)
        elif self.world.redacted and event.method in ("POST", "PUT") and "/keys" in event.path:
            # Whose keys are new the pseudonym of the token does not tell.
            self.handed = Recent()

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.RotateKey):
            self._published(event.command.address.lower())

    def _published(self, user: str) -> None:
        """A user's keys are new ones: what was handed out before is no matter."""
        for key in [key for key, _ in self.handed.items() if key[0] == user]:
            self.handed.pop(key)

    def on_response(self, event: ev.Response) -> None:
        asked = self.world.requests.get(event.r)
        if asked is None or asked.method != "GET" or not asked.path.startswith("/api/keys/") or event.status != 200:
            return
        one_time = event.body.get("oneTimePreKey") if isinstance(event.body, dict) else None
        if isinstance(one_time, dict):
            key = (asked.path.removeprefix("/api/keys/").lower(), str(one_time.get("id")))
            before = self.handed.get(key)
            self.handed[key] = mark(event)
            shown = [] if before is None else [before]
            self.judge(before is None, f"pre-key {key[1]} of {key[0]} again", *shown, event)
